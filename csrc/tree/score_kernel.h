// The passes over a chain of child blocks, once for every instruction set. A file that includes
// this defines `Lanes` first: sixteen numbers with + - * /, and the functions named below. Nothing
// here is fused or reordered, so every instruction set gives the same bits.
#pragma once

#include "tree/score.h"

namespace treeward {
namespace {

// Lanes::load(const float*), Lanes::load(const int32_t*) converts, Lanes::all(float)
// larger(Lanes, Lanes), root(Lanes), where(uint32_t lanes, Lanes then, Lanes otherwise)
// visited_lanes(const int32_t*) -> a bit a lane; largest(Lanes, uint32_t lanes) -> float;
// lanes_equal(Lanes, float) -> a bit a lane

template <Formula formula, VirtualLoss loss>
inline __attribute__((always_inline)) Lanes score_block(const ChildBlock& block,
                                                        const ScoreTerms& terms) {
  const Lanes visits = Lanes::load(block.visits);
  const Lanes normal =
      (Lanes::load(block.value) - Lanes::all(terms.low)) * Lanes::all(terms.inverse_range);
  Lanes value = where(visited_lanes(block.visits), normal, Lanes::all(terms.first_play));
  // Adding nothing to a count changes no bit, so kNone differs from kVisits in what it reads only.
  Lanes pending = Lanes::all(0.0f);
  if constexpr (loss != VirtualLoss::kNone) pending = Lanes::load(block.in_flight);
  if constexpr (loss == VirtualLoss::kWeighted) {
    pending = pending * Lanes::all(terms.loss_weight);
    const Lanes pull = pending / (pending + larger(visits, Lanes::all(0.25f)));
    value = value + (Lanes::all(terms.loss_value) - value) * pull;
  }
  if constexpr (formula == Formula::kPuct) {
    const Lanes tries = Lanes::all(1.0f) + visits + pending;
    return value + Lanes::all(terms.scale) * Lanes::load(block.prior) / tries;
  } else {
    const Lanes tries = larger(visits + pending, Lanes::all(1.0f));
    return value + Lanes::all(terms.exploration) * root(Lanes::all(terms.scale) / tries);
  }
}

template <Formula formula, VirtualLoss loss>
Choice best_child(const ChildBlock* blocks, uint32_t first, const ScoreTerms& terms, uint32_t epoch,
                  uint32_t skip) {
  Choice best;
  for (uint32_t b = first; b != kNoBlock; b = blocks[b].next) {
    const ChildBlock& block = blocks[b];
    uint32_t open = ((1u << block.count) - 1u) & ~static_cast<uint32_t>(block.closed);
    if (block.busy_epoch == epoch) open &= ~static_cast<uint32_t>(block.busy);
    if (skip / kLanes == b) open &= ~(1u << (skip % kLanes));
    if (open == 0) continue;
    const Lanes score = score_block<formula, loss>(block, terms);
    const float top = largest(score, open);
    if (best.slot != kNoSlot && !(top > best.score)) continue;
    const uint32_t lane = static_cast<uint32_t>(__builtin_ctz(lanes_equal(score, top) & open));
    best = {b * kLanes + lane, top};
  }
  return best;
}

double visited_prior(const ChildBlock* blocks, uint32_t first) {
  bool all = true;
  for (uint32_t b = first; b != kNoBlock && all; b = blocks[b].next) {
    const uint32_t used = (1u << blocks[b].count) - 1u;
    all = (visited_lanes(blocks[b].visits) & used) == used;
  }
  if (all) return 0.0;
  double sum = 0.0;
  for (uint32_t b = first; b != kNoBlock; b = blocks[b].next) {
    const uint32_t used = (1u << blocks[b].count) - 1u;
    for (uint32_t left = visited_lanes(blocks[b].visits) & used; left != 0; left &= left - 1) {
      sum += blocks[b].prior[__builtin_ctz(left)];
    }
  }
  return sum;
}

constexpr ScoreKernels kKernels = {
    {{best_child<Formula::kPuct, VirtualLoss::kVisits>,
      best_child<Formula::kPuct, VirtualLoss::kWeighted>,
      best_child<Formula::kPuct, VirtualLoss::kNone>},
     {best_child<Formula::kUct, VirtualLoss::kVisits>,
      best_child<Formula::kUct, VirtualLoss::kWeighted>,
      best_child<Formula::kUct, VirtualLoss::kNone>}},
    visited_prior,
};

}  // namespace
}  // namespace treeward
