// Best-first search over segments: always draw under the node whose next draw is worth most.
#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include "search/factory.h"

namespace treeward {
namespace {

// Every node that may grow stands in one queue. Its promise is
//
//   promise = V * unseen ^ decay * depth_factor ^ depth,    unseen = 1 - sum_c p_c (1 - V_c)
//
// V: the node's value read as a probability (clipped to [0, 1]; root_value at the root). A node
// without a value is worth missing_value, by default what the root is: where nothing has a value,
// depth and the unseen probability alone decide. An end with neither value nor answer is worth 0.
// c: its known children, p_c their probability under the policy, exact because they are distinct.
// `unseen` falls with the probability that is already known to lead nowhere: measured on recorded
// searches, a state whose likely continuations failed is much less likely to be right than its
// value says, and not more, as an exact account of the value's remainder would have it. A node
// leaves the queue while a task of it is out, when it is exhausted, and when less than mass_left of
// the policy's probability is outside its children. Equal promises: first come, first served.
class BestFirst final : public Machine {
 public:
  BestFirst(std::shared_ptr<Arena> arena, OptionReader& reader, uint64_t seed)
      : Machine(std::move(arena), reader, seed) {
    branching_ = reader.integer("branching", 1, 1, 1 << 20);
    root_value_ = reader.number("root_value", 0.5, 0.0, 1.0);
    decay_ = reader.number("decay", 2.0, 0.0, 1e3);
    depth_factor_ = reader.number("depth_factor", 1.5, 1e-3, 1e3);
    mass_left_ = reader.number("mass_left", 0.01, 0.0, 1.0);
    expansions_ = reader.integer("expansions", 0, 0);
    missing_value_ = reader.number("missing_value", root_value_, 0.0, 1.0);
    set_selection(read_selection(reader));
    enqueue(root_index());
  }

 private:
  bool has_work() const override {
    return !queue_.empty() && (expansions_ == 0 || asked_ < expansions_);
  }

  bool next(Request& request) override {
    if (!has_work()) return false;
    ++asked_;
    const auto front = queue_.begin();
    request.node = front->node;
    request.mode = Mode::kDistinct;
    request.count = branching_;
    queue_.erase(front);
    return true;
  }

  void received(const Task& task, const std::vector<Arrival>& arrivals) override {
    for (const Arrival& arrival : arrivals) {
      if (arrival.created && can_grow(arrival.node)) enqueue(arrival.node);
    }
    const NodeIndex node = task.node.index;
    if (mass_left_ > 0.0 && known_mass(node) >= 1.0 - mass_left_)
      tree().set_flags(node, kExhausted);
    if (!tree().has(node, kExhausted)) enqueue(node);
  }

  void cancelled(const Task& task) override {
    --asked_;
    enqueue(task.node.index);
  }

  void enqueue(NodeIndex node) { queue_.insert({promise(node), arrived_++, node}); }

  double value(NodeIndex node) const {
    if (node == root_index()) return root_value_;
    const double reward = at(node).reward;
    if (!std::isnan(reward)) return std::clamp(reward, 0.0, 1.0);
    return tree().has(node, kTerminal) && at(node).answer < 0 ? 0.0 : missing_value_;
  }

  /// Logarithm of the promise: deep trees would overflow the number itself.
  double promise(NodeIndex node) const {
    double unseen = 1.0;
    for (const NodeIndex child : tree().children(node)) {
      unseen -= std::exp(at(child).logprob) * (1.0 - value(child));
    }
    const double faded = decay_ > 0.0 ? decay_ * std::log(std::max(unseen, 0.0)) : 0.0;
    return std::log(value(node)) + faded + at(node).depth * std::log(depth_factor_);
  }

  double known_mass(NodeIndex node) const {
    double mass = 0.0;
    for (const NodeIndex child : tree().children(node)) mass += std::exp(at(child).logprob);
    return mass;
  }

  struct Entry {
    double promise;
    uint64_t arrived;  // indices of nodes are shared with other trees, so they break no tie
    NodeIndex node;
    bool operator<(const Entry& other) const {
      return promise != other.promise ? promise > other.promise : arrived < other.arrived;
    }
  };

  int32_t branching_;
  double root_value_;
  double decay_;
  double depth_factor_;
  double mass_left_;
  int32_t expansions_;  // 0: no limit
  double missing_value_;
  std::set<Entry> queue_;  // the best first
  uint64_t arrived_ = 0;
  int32_t asked_ = 0;
};

}  // namespace

std::unique_ptr<Machine> make_best_first(std::shared_ptr<Arena> arena, OptionReader& reader,
                                         uint64_t seed) {
  return std::make_unique<BestFirst>(std::move(arena), reader, seed);
}

}  // namespace treeward
