// Segment acceptance (CARDS, RSD): draw a step, keep it if its reward reaches a threshold, draw
// again if not; after the last redraw the best of the draws is kept.
#include <cmath>

#include "search/factory.h"
#include "search/path_machine.h"

namespace treeward {
namespace {

// A step without a reward is below every threshold.
class Accept final : public PathMachine {
 public:
  Accept(std::shared_ptr<Arena> arena, OptionReader& reader, uint64_t seed)
      : PathMachine(std::move(arena), reader, seed) {
    // In the precision of rewards: one that equals the threshold reaches it.
    threshold_ = static_cast<float>(reader.number("threshold", 0.5, -1e30, 1e30));
    max_redraws_ = reader.integer("max_redraws", 4, 0);
  }

 private:
  void fill(Request& request) const override { request.mode = Mode::kSample; }

  void received(const Task&, const std::vector<Arrival>& arrivals) override {
    ++draws_;
    for (const Arrival& arrival : arrivals) {
      const float value = at(arrival.node).reward;
      if (!std::isnan(value) && value >= threshold_) return keep(arrival.node);
      if (best_ == kNoNode || ranks_before(tree(), arrival.node, best_)) best_ = arrival.node;
    }
    // A draw that brought nothing uses up a redraw too, so a barren node cannot hold the search.
    if (draws_ <= max_redraws_) return;
    if (best_ == kNoNode) return end();
    keep(best_);
  }

  /// Until the first step is kept, the best draw so far is all there is.
  NodeIndex favourite() const override {
    return head() == root_index() && best_ != kNoNode ? best_ : head();
  }

  void keep(NodeIndex node) {
    advance(node);
    best_ = kNoNode;
    draws_ = 0;
  }

  float threshold_;
  int32_t max_redraws_;
  NodeIndex best_ = kNoNode;  // best of the draws under the head
  int32_t draws_ = 0;
};

}  // namespace

std::unique_ptr<Machine> make_accept(std::shared_ptr<Arena> arena, OptionReader& reader,
                                     uint64_t seed) {
  return std::make_unique<Accept>(std::move(arena), reader, seed);
}

}  // namespace treeward
