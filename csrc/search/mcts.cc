// Monte Carlo tree search over segments, with progressive widening and many leaves in flight.
#include <algorithm>
#include <cmath>
#include <deque>
#include <limits>
#include <optional>
#include <vector>

#include "search/factory.h"
#include "search/select_options.h"

namespace treeward {
namespace {

constexpr float kNever = -1e9f;  // of widen_below: no value is less

// One descent, from the root (tree/select.h has the formulas):
//   1. a node that was never visited, below the root, starts `rollouts` walkers (rollout mode);
//   2. a node with fewer children than limit(N) = max(k0, ceil(k N^alpha)) asks for up to
//      widen_batch distinct ones, one such task a node at a time;
//   3. otherwise selection goes down to a child that is neither closed nor busy; where there is
//      none the node itself is busy until the next tell (a collision), and the descent backs up
//      by one. After max_collisions of them no descent starts before the next tell: slots stay
//      empty rather than being filled with leaves that selection ranks low.
// All leaves of one ask are gathered in one walk: a descent begins where it parts from the one
// before, which is the first node on the old path at which the child taken, with its new virtual
// visits, has fallen behind the runner-up. Everything else on the path is as it was, so the leaves
// and their order are those of separate descents from the root.
// A node whose children are all closed is widened past its limit, so no open node is ever stuck.
// What comes back:
//   reward mode   every new child with a value is one visit with that value; if no new child has
//                 one, the asking node gets one visit worth missing_value;
//   rollout mode  new children wait for their first visit; a walker draws step after step to an
//                 end, which is one visit: the verdict, else the value, else missing_value.
// A terminal (or a node at max_depth) is visited once for every arrival and closed. A node is
// closed when it is exhausted and all its children are closed; a closed root ends the search.
class Mcts final : public Machine {
 public:
  Mcts(std::shared_ptr<Arena> arena, OptionReader& reader, uint64_t seed)
      : Machine(std::move(arena), reader, seed) {
    rule_ = read_select_rule(reader);
    rule_.virtual_loss =
        static_cast<VirtualLoss>(reader.choice("virtual_loss", {"visits", "weighted"}));
    rule_.loss_weight = reader.number("virtual_loss_weight", rule_.loss_weight, 0.0, 1e6);
    rule_.loss_value = reader.number("virtual_loss_value", rule_.loss_value, -1e9, 1e9);
    rollout_mode_ = reader.choice("evaluation", {"reward", "rollout"}) == 1;
    rollouts_ = reader.integer("rollouts", 1, 1, 1 << 16);
    first_limit_ = reader.integer("widen_initial", 4, 1, 1 << 20);
    widen_factor_ = reader.number("widen_factor", 1.0, 0.0, 1e6);
    widen_power_ = reader.number("widen_power", 0.5, 0.0, 1.0);
    widen_batch_ = reader.integer("widen_batch", 4, 1, 1 << 20);
    widen_below_ = static_cast<float>(reader.number("widen_below", kNever, kNever, 1e9));
    widen_most_ = reader.integer("widen_most", 8, 1, 1 << 20);
    mass_left_ = reader.number("mass_left", 0.0, 0.0, 1.0);
    missing_value_ = reader.number("missing_value", 0.0, -1e9, 1e9);
    simulations_ = reader.integer("simulations", 0, 0);
    max_collisions_ = reader.integer("max_collisions", 0, 0);
    by_visits_ = reader.choice("result", {"selection", "most_visited"}) == 1;
    selector_.emplace(rule_);
    set_selection(read_selection(reader, true));
    set_whole_path_in_flight();
  }

  Backup backup_mode() const override { return rule_.backup; }

 private:
  /// A node that a descent went through, and where to.
  struct Step {
    NodeIndex node;
    ScoreTerms terms;  // the same for every descent of an ask: no visit ends in between
    Choice best;
    Choice runner_up;  // of the children at the time when `best` was chosen
    bool knows_runner_up;
  };

  /// What was busy may have work again.
  void new_epoch() {
    ++epoch_;
    collisions_ = 0;
  }

  bool may_descend() const {
    return !tree().has(root_index(), kClosed) && (simulations_ == 0 || started_ < simulations_);
  }
  bool has_work() const override { return !walkers_.empty() || may_descend(); }

  bool next(Request& request) override {
    // Walkers first: a half-finished rollout has cost tokens and has told nothing yet.
    if (!walkers_.empty()) {
      request.node = walkers_.front();
      walkers_.pop_front();
      return true;
    }
    if (max_collisions_ > 0 && collisions_ >= max_collisions_) return false;
    if (!may_descend() || !descend(request)) return false;
    ++started_;
    return true;
  }

  int64_t limit(NodeIndex node) const {
    const double wide = std::ceil(widen_factor_ * std::pow(at(node).visits, widen_power_));
    return std::max<int64_t>(first_limit_, static_cast<int64_t>(std::min(wide, 1e9)));
  }

  void ask_begins() override { walk_.clear(); }

  bool descend(Request& request) {
    for (NodeIndex node = resume();;) {
      if (asks_for(node, request)) return true;
      walk_.push_back({node, selector_->terms(tree(), node), {}, {}, false});
      while (!choose(walk_.back())) {
        const NodeIndex stuck = walk_.back().node;
        walk_.pop_back();
        if (walk_.empty()) return false;
        if (++collisions_ == max_collisions_) return false;
        tree().mark_busy(stuck, epoch_);
      }
      node = child_of(walk_.back());
    }
  }

  /// Where the next descent leaves the path of the one before: below the steps that it would take
  /// again.
  NodeIndex resume() {
    NodeIndex node = root_index();
    for (size_t i = 0; i < walk_.size(); ++i) {
      if (!stays_best(walk_[i])) {
        // Another child takes over, and there is one: the runner-up.
        walk_.resize(i + 1);
        choose(walk_[i]);
        return child_of(walk_[i]);
      }
      node = child_of(walk_[i]);
    }
    return node;
  }

  bool choose(Step& step) {
    step.best = selector_->best(tree(), step.node, step.terms, epoch_);
    step.knows_runner_up = false;
    return step.best.slot != kNoSlot;
  }

  /// Whether the child that the last descent took is still ahead of the others, whose scores have
  /// not changed. An even score is for choose() to decide.
  bool stays_best(Step& step) const {
    if (!step.knows_runner_up) {
      step.runner_up = selector_->best(tree(), step.node, step.terms, epoch_, step.best.slot);
      step.knows_runner_up = true;
    }
    return step.runner_up.slot == kNoSlot ||
           selector_->score(tree(), step.best.slot, step.terms) > step.runner_up.score;
  }

  NodeIndex child_of(const Step& step) const {
    return tree().block(step.best.slot / kLanes).child[step.best.slot % kLanes];
  }

  /// Fills in the task that this node asks for, if it asks for one.
  bool asks_for(NodeIndex node, Request& request) {
    request.node = node;
    const int64_t known = at(node).child_count;
    if (rollout_mode_ && node != root_index() && known == 0 && at(node).visits == 0 &&
        at(node).in_flight == 0) {
      request.mode = Mode::kSample;
      request.count = rollouts_;
      return true;
    }
    if ((at(node).flags & (kExhausted | kExpanding)) != 0) return false;
    int64_t wanted = limit(node) - known;
    // Nothing here is good enough to go down to: one more child is the better use of tokens.
    const bool may_widen = widen_below_ > kNever && wanted <= 0 && known < widen_most_;
    if (may_widen && best_value_below(node) < widen_below_) wanted = 1;
    // A rollout under way may still bring the first child of an unvisited node.
    if (wanted <= 0 && tree().all_children_closed(node)) wanted = widen_batch_;
    if (wanted <= 0) return false;
    tree().set_flags(node, kExpanding);
    request.mode = Mode::kDistinct;
    request.count = static_cast<int32_t>(std::min<int64_t>(wanted, widen_batch_));
    return true;
  }

  /// The best value among the children that are still open; -inf without one.
  double best_value_below(NodeIndex node) const {
    double best = -std::numeric_limits<double>::infinity();
    for (uint32_t b = at(node).first_block; b != kNoBlock; b = tree().block(b).next) {
      const ChildBlock& block = tree().block(b);
      for (int lane = 0; lane < block.count; ++lane) {
        const bool open = ((block.closed >> lane) & 1u) == 0 && block.visits[lane] > 0;
        if (open) best = std::max(best, static_cast<double>(block.value[lane]));
      }
    }
    return best;
  }

  /// Probability of the known children under the policy: exact, since they are distinct.
  double known_mass(NodeIndex node) const {
    double mass = 0.0;
    for (const NodeIndex child : tree().children(node)) mass += std::exp(at(child).logprob);
    return mass;
  }

  bool is_end(NodeIndex node) const { return !can_grow(node); }

  double outcome(NodeIndex node) const {
    const double reward = at(node).reward;
    const int verdict = at(node).verdict;
    const bool judged = verdict >= 0 && (rollout_mode_ || std::isnan(reward));
    return judged ? verdict : std::isnan(reward) ? missing_value_ : reward;
  }

  void visit(NodeIndex node) { tree().backup(node, outcome(node), rule_.backup); }

  void received(const Task& task, const std::vector<Arrival>& arrivals) override {
    new_epoch();
    const NodeIndex node = task.node.index;
    if (task.mode == Mode::kDistinct) {
      tree().clear_flags(node, kExpanding);
      expanded(node, arrivals);
      if (mass_left_ > 0.0 && known_mass(node) >= 1.0 - mass_left_) {
        tree().set_flags(node, kExhausted);
      }
    } else {
      walked(task, arrivals);
    }
    for (const Arrival& arrival : arrivals) {
      if (is_end(arrival.node)) tree().close(arrival.node);
    }
    for (NodeIndex up = node; up != kNoNode; up = at(up).parent) {
      if (!tree().has(up, kExhausted) || !tree().all_children_closed(up)) break;
      tree().close(up);
    }
  }

  void expanded(NodeIndex node, const std::vector<Arrival>& arrivals) {
    bool visited = false;
    bool created = false;
    for (const Arrival& arrival : arrivals) {
      if (!arrival.created) continue;
      created = true;
      const bool scored = !rollout_mode_ && !std::isnan(at(arrival.node).reward);
      if (!scored && !is_end(arrival.node)) continue;
      visit(arrival.node);
      visited = true;
    }
    if (created && !visited && !rollout_mode_) tree().backup(node, missing_value_, rule_.backup);
  }

  void walked(const Task& task, const std::vector<Arrival>& arrivals) {
    for (const Arrival& arrival : arrivals) {
      if (is_end(arrival.node)) {
        visit(arrival.node);
      } else {
        walkers_.push_back(arrival.node);
      }
    }
    // A walker whose draw brought nothing ends where it stands.
    for (int i = static_cast<int>(arrivals.size()); i < task.count; ++i) visit(task.node.index);
  }

  void cancelled(const Task& task) override {
    new_epoch();
    if (task.mode == Mode::kDistinct) {
      tree().clear_flags(task.node.index, kExpanding);
      --started_;
    } else {
      walkers_.insert(walkers_.begin(), task.count, task.node.index);
    }
  }

  NodeIndex favourite() const override {
    if (!by_visits_) return Machine::favourite();
    NodeIndex node = root_index();
    for (;;) {
      NodeIndex best = kNoNode;
      for (const NodeIndex child : tree().children(node)) {
        if (best == kNoNode || at(child).visits > at(best).visits) best = child;
      }
      if (best == kNoNode) return node;
      node = best;
    }
  }

  // The path of the last descent of this ask, root first.
  std::vector<Step> walk_;
  SelectRule rule_;
  std::optional<Selector> selector_;
  bool rollout_mode_;
  int32_t rollouts_;
  int32_t first_limit_;
  double widen_factor_;
  double widen_power_;
  int32_t widen_batch_;
  float widen_below_;   // a node without an open child of this value gets one more
  int32_t widen_most_;  // but not beyond so many children
  double mass_left_;    // with less of the policy's probability unknown, a node is exhausted
  double missing_value_;
  int32_t simulations_;
  int32_t max_collisions_;  // 0: no limit
  bool by_visits_;
  int32_t started_ = 0;
  uint32_t epoch_ = 1;
  int32_t collisions_ = 0;  // in this epoch
  std::deque<NodeIndex> walkers_;
};

}  // namespace

std::unique_ptr<Machine> make_mcts(std::shared_ptr<Arena> arena, OptionReader& reader,
                                   uint64_t seed) {
  return std::make_unique<Mcts>(std::move(arena), reader, seed);
}

}  // namespace treeward
