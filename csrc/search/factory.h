// Machines by name.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "search/machine.h"

namespace treeward {

/// greedy, best_of_n, beam, best_first, mcts, guided, accept. An unknown name or option raises
/// InvalidArgument listing the known ones.
std::unique_ptr<Machine> make_machine(const std::string& algorithm, std::shared_ptr<Arena> arena,
                                      const Options& options, uint64_t seed);
std::vector<std::string> algorithm_names();

// One maker an algorithm; each lives beside its algorithm. Not for callers.
using Maker = std::unique_ptr<Machine> (*)(std::shared_ptr<Arena>, OptionReader&, uint64_t);
std::unique_ptr<Machine> make_greedy(std::shared_ptr<Arena>, OptionReader&, uint64_t);
std::unique_ptr<Machine> make_best_of_n(std::shared_ptr<Arena>, OptionReader&, uint64_t);
std::unique_ptr<Machine> make_best_first(std::shared_ptr<Arena>, OptionReader&, uint64_t);
std::unique_ptr<Machine> make_beam(std::shared_ptr<Arena>, OptionReader&, uint64_t);
std::unique_ptr<Machine> make_mcts(std::shared_ptr<Arena>, OptionReader&, uint64_t);
std::unique_ptr<Machine> make_guided(std::shared_ptr<Arena>, OptionReader&, uint64_t);
std::unique_ptr<Machine> make_accept(std::shared_ptr<Arena>, OptionReader&, uint64_t);

}  // namespace treeward
