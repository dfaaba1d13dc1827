#include "search/factory.h"

#include <map>

#include "common/errors.h"

namespace treeward {
namespace {

const std::map<std::string, Maker>& makers() {
  static const std::map<std::string, Maker> table = {
      {"accept", make_accept},       {"beam", make_beam},     {"best_first", make_best_first},
      {"best_of_n", make_best_of_n}, {"greedy", make_greedy}, {"guided", make_guided},
      {"mcts", make_mcts},
  };
  return table;
}

}  // namespace

std::vector<std::string> algorithm_names() {
  std::vector<std::string> names;
  for (const auto& [name, maker] : makers()) names.push_back(name);
  return names;
}

std::unique_ptr<Machine> make_machine(const std::string& algorithm, std::shared_ptr<Arena> arena,
                                      const Options& options, uint64_t seed) {
  const auto found = makers().find(algorithm);
  if (found == makers().end()) {
    std::string known;
    for (const auto& name : algorithm_names()) known += (known.empty() ? "" : ", ") + name;
    throw InvalidArgument("unknown algorithm '" + algorithm + "'; known: " + known);
  }
  OptionReader reader(algorithm, options);
  auto machine = found->second(std::move(arena), reader, seed);
  reader.finish();
  machine->set_defaults(reader.defaults());
  return machine;
}

}  // namespace treeward
