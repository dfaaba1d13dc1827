#include "tree/select.h"

#include <algorithm>
#include <cmath>

namespace treeward {
namespace {

double weight_of(const SelectRule& rule, int32_t visits) {
  return rule.formula == Formula::kUct
             ? std::log(visits + 1.0)
             : rule.c_init + std::log((visits + rule.c_base + 1.0) / rule.c_base);
}

}  // namespace

Selector::Selector(const SelectRule& rule, int32_t tabled_visits) : rule_(rule) {
  if (tabled_visits <= 0) return;
  for (int32_t visits = 0; visits <= tabled_visits; ++visits) {
    weights_.push_back(weight_of(rule, visits));
    roots_.push_back(std::sqrt(static_cast<double>(visits)));
  }
}

double Selector::scale(int32_t visits, int32_t below) const {
  const bool tabled = static_cast<size_t>(visits) < weights_.size();
  const double weight = tabled ? weights_[visits] : weight_of(rule_, visits);
  if (rule_.formula == Formula::kUct) return weight;
  return weight * (tabled ? roots_[below] : std::sqrt(static_cast<double>(below)));
}

void Selector::set_values(const Arena& arena, NodeIndex node, ScoreTerms& terms) const {
  const Node& parent = arena.at(node);
  double first_play = rule_.fpu_value;
  if (rule_.first_play == FirstPlay::kReduction && parent.visits > 0) {
    first_play = arena.value_of(node, rule_.backup);
    if (rule_.fpu_reduction > 0.0) {
      const double seen = score_kernels().visited_prior(arena.siblings(node));
      first_play -= rule_.fpu_reduction * std::sqrt(seen);
    }
  }
  terms.low = 0.0f;
  terms.inverse_range = 1.0f;
  terms.first_play = static_cast<float>(first_play);
  if (rule_.normalise) {
    const Tree& tree = arena.tree_of(node);
    const bool spread = tree.high > tree.low;
    // Without a spread every value is the same; all children then stand at 0.
    terms.low = spread ? static_cast<float>(tree.low) : 0.0f;
    terms.inverse_range = spread ? static_cast<float>(1.0 / (tree.high - tree.low)) : 0.0f;
    terms.first_play = std::clamp((terms.first_play - terms.low) * terms.inverse_range, 0.0f, 1.0f);
  }
}

void Selector::set_scale(const Arena& arena, NodeIndex node, ScoreTerms& terms) const {
  const Node& parent = arena.at(node);
  const int32_t own = rule_.formula == Formula::kMuZero ? 0 : parent.ended;
  terms.scale = static_cast<float>(scale(parent.visits, std::max(parent.visits - own, 1)));
  terms.exploration = static_cast<float>(rule_.exploration);
  terms.loss_weight = static_cast<float>(rule_.loss_weight);
  terms.loss_value = static_cast<float>(rule_.loss_value);
}

ScoreTerms Selector::terms(const Arena& arena, NodeIndex node) const {
  ScoreTerms terms;
  if (rule_.formula == Formula::kMuZero) {
    const ValueRange visited = score_kernels().visited_range(arena.siblings(node));
    place_between(visited, own_value(arena, node), terms);
  } else {
    set_values(arena, node, terms);
  }
  set_scale(arena, node, terms);
  return terms;
}

float Selector::score(const Arena& arena, uint32_t slot, const ScoreTerms& terms) const {
  const ChildBlock& block = arena.block(slot / kLanes);
  const uint32_t lane = slot % kLanes;
  const float visits = static_cast<float>(block.visits[lane]);
  const float normal = (block.value[lane] - terms.low) * terms.inverse_range;
  float value = block.visits[lane] > 0 ? normal : terms.first_play;
  const bool counts = rule_.virtual_loss != VirtualLoss::kNone;
  float pending = counts ? static_cast<float>(block.in_flight[lane]) : 0.0f;
  if (rule_.virtual_loss == VirtualLoss::kWeighted) {
    pending = pending * terms.loss_weight;
    value = value + (terms.loss_value - value) * (pending / (pending + std::max(visits, 0.25f)));
  }
  if (rule_.formula == Formula::kUct) {
    return value + terms.exploration * std::sqrt(terms.scale / std::max(visits + pending, 1.0f));
  }
  return value + terms.scale * block.prior[lane] / (1.0f + visits + pending);
}

NodeIndex select_child(const Arena& arena, NodeIndex node, const SelectRule& rule, uint32_t epoch) {
  const Selector selector(rule);
  const Choice best = selector.best(arena, node, selector.terms(arena, node), epoch);
  return best.slot == kNoSlot ? kNoNode : arena.block(best.slot / kLanes).child[best.slot % kLanes];
}

}  // namespace treeward
