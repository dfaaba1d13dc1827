// Independent walkers from the root to an end; the answers vote.
#include <algorithm>
#include <deque>

#include "search/factory.h"

namespace treeward {
namespace {

// A walker is a node that waits for its next step. Walkers that draw the same step share a node,
// whose draw count keeps their votes apart. n = 0: a new walker starts whenever one could run and
// nothing else waits.
class BestOfN final : public Machine {
 public:
  BestOfN(std::shared_ptr<Arena> arena, OptionReader& reader, uint64_t seed)
      : Machine(std::move(arena), reader, seed) {
    n_ = reader.integer("n", 8, 0);
    set_selection(read_selection(reader));
    failures_allowed_ = std::max(64, 4 * max_in_flight());
  }

 private:
  bool may_start() const {
    if (!can_grow(root_index())) return false;
    if (n_ > 0) return started_ < n_;
    return failures_ < failures_allowed_ && repeats_ < kRepeatsAllowed;
  }
  bool has_work() const override { return !waiting_.empty() || may_start(); }

  bool next(Request& request) override {
    if (!waiting_.empty()) {
      request.node = waiting_.front();
      waiting_.pop_front();
      return true;
    }
    if (!may_start()) return false;
    ++started_;
    request.node = root_index();
    return true;
  }

  void received(const Task& task, const std::vector<Arrival>& arrivals) override {
    if (arrivals.empty()) ++failures_;
    for (const Arrival& arrival : arrivals) {
      if (arrival.created) repeats_ = 0;
      if (can_grow(arrival.node)) {
        waiting_.push_back(arrival.node);
      } else if (tree().has(arrival.node, kTerminal) || at_max_depth(arrival.node)) {
        failures_ = 0;
        if (!arrival.created) ++repeats_;
      } else {
        ++failures_;
      }
    }
    if (!tree().has(task.node.index, kDead)) return;
    // Nothing follows this node: the walkers that wait there are at their end.
    failures_ += static_cast<int>(
        std::erase_if(waiting_, [&](NodeIndex node) { return node == task.node.index; }));
  }

  void cancelled(const Task& task) override { waiting_.push_front(task.node.index); }

  int32_t n_;
  int32_t started_ = 0;
  // Walkers in a row that reached no end. The limit keeps n = 0 from running on in a tree where
  // every path breaks off.
  int failures_ = 0;
  int failures_allowed_;
  // Walkers in a row that only went where others had been. Repeats cost no tokens, so where all
  // that the model says is known a budget would never be spent: what a thousand walkers miss has,
  // but for one case in a hundred, a probability below 1/200.
  static constexpr int kRepeatsAllowed = 1000;
  int repeats_ = 0;
  std::deque<NodeIndex> waiting_;
};

}  // namespace

std::unique_ptr<Machine> make_best_of_n(std::shared_ptr<Arena> arena, OptionReader& reader,
                                        uint64_t seed) {
  return std::make_unique<BestOfN>(std::move(arena), reader, seed);
}

}  // namespace treeward
