// Draws from weighted candidates. Every draw is a pure function of its arguments: randomness
// enters as a key and a counter (common/random.h) or as a uniform number.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sampling/logits_row.h"

namespace treeward {

/// One draw of Gumbel-top-k.
struct GumbelDraw {
  int32_t index;  ///< position among the candidates
  double score;   ///< log(weight) + Gumbel noise; may serve as the key of a sequential search
};

/// Draws k distinct candidates without replacement, each in turn with probability proportional
/// to its weight among those left (Kool, van Hoof and Welling, "Stochastic beams and where to
/// find them", ICML 2019).
///
/// Returns min(k, number of positive weights) draws by descending score, ties by lower index.
/// Weights need not sum to 1. The noise of candidate i is a function of (key, counter, i) alone;
/// its counter block is set apart from philox_uniform(key, counter, n) for n < 2^32. Throws
/// InvalidArgument for k < 0 or a negative weight, NotFinite for one that is NaN or infinite.
std::vector<GumbelDraw> gumbel_top_k(std::span<const double> weights, int32_t k, uint64_t key,
                                     uint64_t counter);
std::vector<GumbelDraw> gumbel_top_k(std::span<const Candidate> candidates, int32_t k, uint64_t key,
                                     uint64_t counter);

/// Inverse of the cumulative distribution: the index at which the running sum of weights first
/// exceeds uniform * total. Never an entry of weight 0. Weights need not sum to 1.
///
/// Throws InvalidArgument if `uniform` is outside [0, 1), a weight is negative or none is
/// positive; NotFinite if a weight or their sum is NaN or infinite.
int32_t pick(std::span<const double> weights, double uniform);
int32_t pick(std::span<const Candidate> candidates, double uniform);

/// Index of the largest logprob + weight * reward, ties by lower token id.
///
/// `rewards` has one entry a candidate. A logprob of -inf is legal and loses to any finite one.
/// Throws NotFinite for a reward that is NaN or infinite and for a logprob that is NaN or +inf,
/// InvalidArgument for no candidates, lengths that differ or a `weight` that is not finite.
int32_t blend(std::span<const Candidate> candidates, std::span<const double> rewards,
              double weight);

}  // namespace treeward
