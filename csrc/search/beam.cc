// Step-level beam search, with rounds of doubling width over the same tree.
#include <algorithm>

#include "search/factory.h"

namespace treeward {
namespace {

// A level: every node of the beam owes `branching` children (the root width * branching in the
// current width). When all have come, or a node has no more, the live children of the beam are
// ranked and the first `width` are the next beam. A child that is terminal leaves the beam and
// takes no place in it. A node whose children are known from an earlier round is ranked without
// being asked; only what is missing is asked. A short answer is taken as it is: no padding.
class Beam final : public Machine {
 public:
  Beam(std::shared_ptr<Arena> arena, OptionReader& reader, uint64_t seed)
      : Machine(std::move(arena), reader, seed) {
    width_ = reader.integer("width", 4, 1, kMaxWidth);
    branching_ = reader.integer("branching", 4, 1, kMaxWidth);
    root_branching_ = reader.integer("root_branching", 0, 0, kMaxWidth);
    distinct_ = reader.flag("distinct", true);
    rounds_ = reader.integer("rounds", 1, 0);
    set_selection(read_selection(reader));
    start_round();
    settle();
  }

 private:
  static constexpr int32_t kMaxWidth = 1 << 20;

  bool has_work() const override { return !over_; }

  bool next(Request& request) override {
    if (to_ask_.empty()) return false;
    request.node = to_ask_.back();
    to_ask_.pop_back();
    request.count = missing(request.node);
    request.mode = distinct_ ? Mode::kDistinct : Mode::kSample;
    return true;
  }

  void received(const Task&, const std::vector<Arrival>& arrivals) override {
    for (const Arrival& arrival : arrivals) news_ = news_ || arrival.created;
    settle();
  }
  void cancelled(const Task& task) override { to_ask_.push_back(task.node.index); }

  int32_t missing(NodeIndex node) const {
    int64_t owed = branching_;
    if (node == root_index()) {
      owed = root_branching_ > 0 ? root_branching_ : static_cast<int64_t>(width_) * branching_;
      // Later rounds ask the root for more, or a fixed root would starve the wider beam.
      if (root_branching_ > 0) owed *= width_scale_;
      owed = std::min<int64_t>(owed, kMaxWidth);
    }
    // With replacement a duplicate is a draw like any other, so draws are counted, not children.
    const int64_t known = distinct_ ? at(node).child_count : at(node).next_draw;
    return static_cast<int32_t>(std::max<int64_t>(owed - known, 0));
  }

  void start_round() {
    ++round_;
    news_ = false;
    enter({root_index()});
  }

  void enter(std::vector<NodeIndex> beam) {
    beam_ = std::move(beam);
    // Popped from the back, so the best node of the beam is asked first.
    for (auto node = beam_.rbegin(); node != beam_.rend(); ++node) {
      if (!tree().has(*node, kExhausted) && missing(*node) > 0) to_ask_.push_back(*node);
    }
  }

  /// Moves on, over as many levels and rounds as need no question.
  void settle() {
    while (to_ask_.empty() && outstanding() == 0 && !over_) {
      if (!beam_.empty()) {
        enter(rank());
        continue;
      }
      const bool verified = stop_when_verified() && verified_node(tree(), root_index()) != kNoNode;
      if (verified || !news_ || (rounds_ > 0 && round_ >= rounds_) || width_ >= kMaxWidth) {
        over_ = true;
        return;
      }
      width_ = std::min(width_ * 2, kMaxWidth);
      width_scale_ *= 2;
      start_round();
    }
  }

  std::vector<NodeIndex> rank() {
    std::vector<NodeIndex> live;
    for (const NodeIndex node : beam_) {
      for (const NodeIndex child : tree().children(node)) {
        if (can_grow(child)) live.push_back(child);
      }
    }
    std::ranges::stable_sort(live,
                             [&](NodeIndex a, NodeIndex b) { return ranks_before(tree(), a, b); });
    const size_t kept = std::min<size_t>(live.size(), static_cast<size_t>(width_));
    for (size_t i = 0; i < live.size(); ++i) {
      if (i < kept) {
        tree().clear_flags(live[i], kPruned);
      } else {
        tree().set_flags(live[i], kPruned);
        news_ = true;  // a wider beam would go on from here
      }
    }
    live.resize(kept);
    return live;
  }

  int32_t width_;
  int32_t branching_;
  int32_t root_branching_;
  bool distinct_;
  int32_t rounds_;
  int32_t round_ = 0;
  int64_t width_scale_ = 1;
  bool news_ = false;  // this round found a node or left one out; without news no further round
  bool over_ = false;
  std::vector<NodeIndex> beam_;
  std::vector<NodeIndex> to_ask_;
};

}  // namespace

std::unique_ptr<Machine> make_beam(std::shared_ptr<Arena> arena, OptionReader& reader,
                                   uint64_t seed) {
  return std::make_unique<Beam>(std::move(arena), reader, seed);
}

}  // namespace treeward
