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

inline uint32_t first_lanes(int32_t count) {
  return count >= kLanes ? (1u << kLanes) - 1u : (1u << count) - 1u;
}

/// Blocks that name the next, and what in them may be chosen.
class Linked {
 public:
  explicit Linked(const Siblings& siblings) : blocks_(siblings.blocks), at_(siblings.first) {}
  bool more() const { return at_ != kNoBlock; }
  void next() { at_ = block().next; }
  const ChildBlock& block() const { return blocks_[at_]; }
  uint32_t index() const { return at_; }
  uint32_t used() const { return first_lanes(block().count); }

 private:
  const ChildBlock* blocks_;
  uint32_t at_;
};

/// Blocks of edges that lie side by side, read without their links.
class SideBySide {
 public:
  explicit SideBySide(const Siblings& siblings)
      : blocks_(siblings.blocks), at_(siblings.first), left_(siblings.side_by_side) {}
  bool more() const { return left_ > 0; }
  void next() { ++at_, left_ -= kLanes; }
  const ChildBlock& block() const { return blocks_[at_]; }
  uint32_t index() const { return at_; }
  uint32_t used() const { return first_lanes(left_); }

 private:
  const ChildBlock* blocks_;
  uint32_t at_;
  int32_t left_;
};

// Values near the end of the single precision may make a score that is not a number, which equals
// nothing: then the first child stands for the best.
inline __attribute__((always_inline)) void take_better(Choice& best, const Lanes& score,
                                                       uint32_t open, uint32_t block) {
  const float top = largest(score, open);
  if (best.slot != kNoSlot && !(top > best.score)) return;
  const uint32_t equal = lanes_equal(score, top) & open;
  const auto lane = static_cast<uint32_t>(__builtin_ctz(equal != 0 ? equal : open));
  best = {block * kLanes + lane, top};
}

template <Formula formula, VirtualLoss loss>
Choice best_child(const Siblings& siblings, const ScoreTerms& terms, uint32_t epoch,
                  uint32_t skip) {
  Choice best;
  for (Linked chain(siblings); chain.more(); chain.next()) {
    const ChildBlock& block = chain.block();
    uint32_t open = chain.used() & ~static_cast<uint32_t>(block.closed);
    if (block.busy_epoch == epoch) open &= ~static_cast<uint32_t>(block.busy);
    if (skip / kLanes == chain.index()) open &= ~(1u << (skip % kLanes));
    if (open == 0) continue;
    take_better(best, score_block<formula, loss>(block, terms), open, chain.index());
  }
  return best;
}

// The scores of a few blocks of edges stay in registers until their best is known.
template <Formula formula, int kBlocks>
inline __attribute__((always_inline)) void take_better_edge(Choice& best, SideBySide& chain,
                                                            const ScoreTerms& terms) {
  const Lanes none = Lanes::all(-__builtin_inff());
  Lanes scores[kBlocks];
  Lanes highest = none;
  const uint32_t first = chain.index();
  for (int i = 0; i < kBlocks; ++i, chain.next()) {
    const Lanes score = score_block<formula, VirtualLoss::kNone>(chain.block(), terms);
    scores[i] = where(chain.used(), score, none);
    highest = larger(highest, scores[i]);
  }
  const float top = largest(highest, first_lanes(kLanes));
  if (best.slot != kNoSlot && !(top > best.score)) return;
  uint64_t equal = 0;
  for (int i = 0; i < kBlocks; ++i) {
    equal |= static_cast<uint64_t>(lanes_equal(scores[i], top)) << (i * kLanes);
  }
  const auto lane = static_cast<uint32_t>(__builtin_ctzll(equal != 0 ? equal : 1));
  best = {first * kLanes + lane, top};
}

template <Formula formula>
inline __attribute__((always_inline)) Choice best_edge(const Siblings& siblings,
                                                       const ScoreTerms& terms) {
  Choice best;
  SideBySide chain(siblings);
  int32_t left = (siblings.side_by_side + kLanes - 1) / kLanes;
  for (; left >= 4; left -= 4) take_better_edge<formula, 4>(best, chain, terms);
  if (left == 3) take_better_edge<formula, 3>(best, chain, terms);
  if (left == 2) take_better_edge<formula, 2>(best, chain, terms);
  if (left == 1) take_better_edge<formula, 1>(best, chain, terms);
  return best;
}

template <typename Chain>
double prior_of_visited(const Siblings& siblings) {
  bool all = true;
  for (Chain chain(siblings); chain.more() && all; chain.next()) {
    all = (visited_lanes(chain.block().visits) & chain.used()) == chain.used();
  }
  if (all) return 0.0;
  double sum = 0.0;
  for (Chain chain(siblings); chain.more(); chain.next()) {
    const uint32_t visited = visited_lanes(chain.block().visits) & chain.used();
    for (uint32_t left = visited; left != 0; left &= left - 1) {
      sum += chain.block().prior[__builtin_ctz(left)];
    }
  }
  return sum;
}

template <typename Chain>
inline __attribute__((always_inline)) ValueRange range_of_visited(const Siblings& siblings) {
  const Lanes none = Lanes::all(-__builtin_inff());
  Lanes high = none;
  Lanes low = none;  // negated
  for (Chain chain(siblings); chain.more(); chain.next()) {
    const uint32_t visited = visited_lanes(chain.block().visits);
    const Lanes value = Lanes::load(chain.block().value);
    high = larger(high, where(visited, value, none));
    low = larger(low, where(visited, Lanes::all(0.0f) - value, none));
  }
  return {-largest(low, first_lanes(kLanes)), largest(high, first_lanes(kLanes))};
}

double visited_prior(const Siblings& siblings) {
  return siblings.side_by_side > 0 ? prior_of_visited<SideBySide>(siblings)
                                   : prior_of_visited<Linked>(siblings);
}
inline __attribute__((always_inline)) ValueRange visited_range(const Siblings& siblings) {
  return siblings.side_by_side > 0 ? range_of_visited<SideBySide>(siblings)
                                   : range_of_visited<Linked>(siblings);
}

template <Formula formula>
void best_edges(EdgeQuery* queries, int32_t count, Choice* found) {
  constexpr Formula kScored = formula == Formula::kUct ? Formula::kUct : Formula::kPuct;
  constexpr uint32_t kNoEpoch = 0;  // searches count theirs from 1
  if constexpr (formula == Formula::kMuZero) {
    for (EdgeQuery* query = queries; query < queries + count; ++query) {
      place_between(visited_range(query->siblings), query->own, query->terms);
    }
  }
  for (int32_t i = 0; i < count; ++i) {
    const auto& [siblings, terms, own] = queries[i];
    found[i] = siblings.side_by_side > 0
                   ? best_edge<kScored>(siblings, terms)
                   : best_child<kScored, VirtualLoss::kNone>(siblings, terms, kNoEpoch, kNoSlot);
  }
}

constexpr ScoreKernels kKernels = {
    {{best_child<Formula::kPuct, VirtualLoss::kVisits>,
      best_child<Formula::kPuct, VirtualLoss::kWeighted>,
      best_child<Formula::kPuct, VirtualLoss::kNone>},
     {best_child<Formula::kUct, VirtualLoss::kVisits>,
      best_child<Formula::kUct, VirtualLoss::kWeighted>,
      best_child<Formula::kUct, VirtualLoss::kNone>}},
    {best_edges<Formula::kPuct>, best_edges<Formula::kUct>, best_edges<Formula::kMuZero>},
    visited_prior,
    visited_range,
};

}  // namespace
}  // namespace treeward
