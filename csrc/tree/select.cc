#include "tree/select.h"

#include <algorithm>
#include <cmath>

namespace treeward {
namespace {

// What all lanes of a node share, in the precision of the lanes.
struct Shared {
  float low, inverse_range;  // normalisation: (q - low) * inverse_range
  float first_play;          // already normalised
  float scale;               // PUCT: c sqrt(S); UCT: log(N + 1)
  float exploration;
  float loss_weight, loss_value;
};

Shared prepare(const Arena& arena, NodeIndex node, const SelectRule& rule) {
  const NodeColumns& c = arena.columns();
  const int32_t visits = c.visits[node];
  double first_play = rule.fpu_value;
  if (rule.first_play == FirstPlay::kReduction && visits > 0) {
    double seen = 0.0;
    for (uint32_t b = c.first_block[node]; b != kNoBlock; b = arena.block(b).next) {
      const ChildBlock& block = arena.block(b);
      for (int lane = 0; lane < block.count; ++lane) {
        if (block.visits[lane] > 0) seen += block.prior[lane];
      }
    }
    first_play = arena.value_of(node, rule.backup) - rule.fpu_reduction * std::sqrt(seen);
  }
  Shared shared;
  shared.low = 0.0f;
  shared.inverse_range = 1.0f;
  shared.first_play = static_cast<float>(first_play);
  if (rule.normalise) {
    const Tree& tree = arena.tree_of(node);
    const bool spread = tree.high > tree.low;
    // Without a spread every value is the same; all children then stand at 0.
    shared.low = spread ? static_cast<float>(tree.low) : 0.0f;
    shared.inverse_range = spread ? static_cast<float>(1.0 / (tree.high - tree.low)) : 0.0f;
    shared.first_play =
        std::clamp((shared.first_play - shared.low) * shared.inverse_range, 0.0f, 1.0f);
  }
  if (rule.formula == Formula::kPuct) {
    const double below = std::max(visits - c.ended[node], 1);
    const double weight = rule.c_init + std::log((visits + rule.c_base + 1.0) / rule.c_base);
    shared.scale = static_cast<float>(weight * std::sqrt(below));
  } else {
    shared.scale = static_cast<float>(std::log(visits + 1.0));
  }
  shared.exploration = static_cast<float>(rule.exploration);
  shared.loss_weight = static_cast<float>(rule.loss_weight);
  shared.loss_value = static_cast<float>(rule.loss_value);
  return shared;
}

// Both choices are template arguments, so the loop has no branch and becomes vector code.
template <Formula formula, VirtualLoss loss>
void score_block(const ChildBlock& block, const Shared& shared, float* score) {
  for (int lane = 0; lane < kLanes; ++lane) {
    const float visits = static_cast<float>(block.visits[lane]);
    const float normal = (block.value[lane] - shared.low) * shared.inverse_range;
    float value = block.visits[lane] > 0 ? normal : shared.first_play;
    float pending = static_cast<float>(block.in_flight[lane]);
    if constexpr (loss == VirtualLoss::kWeighted) {
      pending = pending * shared.loss_weight;
      value = value + (shared.loss_value - value) * (pending / (pending + std::max(visits, 0.25f)));
    }
    if constexpr (formula == Formula::kPuct) {
      score[lane] = value + shared.scale * block.prior[lane] / (1.0f + visits + pending);
    } else {
      score[lane] =
          value + shared.exploration * std::sqrt(shared.scale / std::max(visits + pending, 1.0f));
    }
  }
}

}  // namespace

NodeIndex select_child(const Arena& arena, NodeIndex node, const SelectRule& rule, uint32_t epoch) {
  const Shared shared = prepare(arena, node, rule);
  const bool puct = rule.formula == Formula::kPuct;
  const bool weighted = rule.virtual_loss == VirtualLoss::kWeighted;
  const auto score_lanes = puct ? (weighted ? score_block<Formula::kPuct, VirtualLoss::kWeighted>
                                            : score_block<Formula::kPuct, VirtualLoss::kVisits>)
                                : (weighted ? score_block<Formula::kUct, VirtualLoss::kWeighted>
                                            : score_block<Formula::kUct, VirtualLoss::kVisits>);
  NodeIndex best = kNoNode;
  float best_score = 0.0f;
  for (uint32_t b = arena.columns().first_block[node]; b != kNoBlock; b = arena.block(b).next) {
    const ChildBlock& block = arena.block(b);
    uint32_t blocked = block.closed;
    if (block.busy_epoch == epoch) blocked |= block.busy;
    alignas(64) float score[kLanes];
    score_lanes(block, shared, score);
    for (int lane = 0; lane < block.count; ++lane) {
      if ((blocked >> lane) & 1u) continue;
      if (best != kNoNode && !(score[lane] > best_score)) continue;
      best = block.child[lane];
      best_score = score[lane];
    }
  }
  return best;
}

}  // namespace treeward
