// The most probable continuation, step after step.
#include "search/factory.h"
#include "search/path_machine.h"

namespace treeward {
namespace {

class Greedy final : public PathMachine {
 public:
  Greedy(std::shared_ptr<Arena> arena, OptionReader& reader, uint64_t seed)
      : PathMachine(std::move(arena), reader, seed) {}

 private:
  void fill(Request& request) const override { request.mode = Mode::kGreedy; }
  void received(const Task&, const std::vector<Arrival>& arrivals) override {
    if (arrivals.empty()) {
      end();
    } else {
      advance(arrivals.front().node);
    }
  }
};

}  // namespace

std::unique_ptr<Machine> make_greedy(std::shared_ptr<Arena> arena, OptionReader& reader,
                                     uint64_t seed) {
  return std::make_unique<Greedy>(std::move(arena), reader, seed);
}

}  // namespace treeward
