#include "sampling/gumbel.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "common/errors.h"
#include "common/random.h"

namespace treeward {
namespace {

// High word of the counters used here ("GUMB"), so that a caller who draws uniforms at the same
// (key, counter) gets numbers independent of the noise.
constexpr uint64_t kGumbelStream = 0x47554D42ull << 32;

double weight_of(double weight) { return weight; }
double weight_of(const Candidate& candidate) { return candidate.weight; }

// Both checks of a weight; returns it.
double checked(double weight, size_t index) {
  if (!std::isfinite(weight)) {
    throw NotFinite("weight " + std::to_string(index) + " is " + std::to_string(weight));
  }
  if (weight < 0) {
    throw InvalidArgument("weight " + std::to_string(index) + " is negative");
  }
  return weight;
}

// Standard Gumbel noise. A uniform of exactly 0 would give -inf; half of the smallest step
// stands in for it.
double gumbel_noise(uint64_t key, uint64_t counter, uint64_t index) {
  const double uniform = philox_uniform(key, counter, kGumbelStream | index);
  return -std::log(-std::log(std::max(uniform, 0x1.0p-54)));
}

template <typename Item>
std::vector<GumbelDraw> draw(std::span<const Item> items, int32_t k, uint64_t key,
                             uint64_t counter) {
  if (k < 0) throw InvalidArgument("k must be at least 0, got " + std::to_string(k));
  std::vector<GumbelDraw> draws;
  draws.reserve(items.size());
  for (size_t i = 0; i < items.size(); ++i) {
    const double weight = checked(weight_of(items[i]), i);
    if (weight > 0) {
      draws.push_back({static_cast<int32_t>(i), std::log(weight) + gumbel_noise(key, counter, i)});
    }
  }
  const size_t kept = std::min(static_cast<size_t>(k), draws.size());
  std::partial_sort(draws.begin(), draws.begin() + static_cast<std::ptrdiff_t>(kept), draws.end(),
                    [](const GumbelDraw& a, const GumbelDraw& b) {
                      return a.score > b.score || (a.score == b.score && a.index < b.index);
                    });
  draws.resize(kept);
  return draws;
}

template <typename Item>
int32_t pick_one(std::span<const Item> items, double uniform) {
  if (!(uniform >= 0 && uniform < 1)) {
    throw InvalidArgument("uniform must be in [0, 1), got " + std::to_string(uniform));
  }
  double total = 0;
  for (size_t i = 0; i < items.size(); ++i) total += checked(weight_of(items[i]), i);
  if (!std::isfinite(total)) throw NotFinite("the sum of the weights is infinite");
  const double target = uniform * total;
  int32_t last = -1;
  double reached = 0;
  for (size_t i = 0; i < items.size(); ++i) {
    const double weight = weight_of(items[i]);
    if (!(weight > 0)) continue;
    last = static_cast<int32_t>(i);
    reached += weight;
    if (target < reached) return last;
  }
  // The product may round up to the total; the last positive entry is then meant.
  if (last < 0) throw InvalidArgument("no weight is positive");
  return last;
}

}  // namespace

std::vector<GumbelDraw> gumbel_top_k(std::span<const double> weights, int32_t k, uint64_t key,
                                     uint64_t counter) {
  return draw(weights, k, key, counter);
}

std::vector<GumbelDraw> gumbel_top_k(std::span<const Candidate> candidates, int32_t k, uint64_t key,
                                     uint64_t counter) {
  return draw(candidates, k, key, counter);
}

int32_t pick(std::span<const double> weights, double uniform) { return pick_one(weights, uniform); }

int32_t pick(std::span<const Candidate> candidates, double uniform) {
  return pick_one(candidates, uniform);
}

int32_t blend(std::span<const Candidate> candidates, std::span<const double> rewards,
              double weight) {
  if (candidates.empty()) throw InvalidArgument("blend needs at least one candidate");
  if (candidates.size() != rewards.size()) {
    throw InvalidArgument("blend got " + std::to_string(candidates.size()) + " candidates and " +
                          std::to_string(rewards.size()) + " rewards");
  }
  if (!std::isfinite(weight)) {
    throw InvalidArgument("weight must be finite, got " + std::to_string(weight));
  }
  constexpr double lowest = -std::numeric_limits<double>::infinity();
  size_t best = 0;
  double best_score = lowest;
  for (size_t i = 0; i < candidates.size(); ++i) {
    const double logprob = candidates[i].logprob;
    if (!std::isfinite(rewards[i])) {
      throw NotFinite("reward " + std::to_string(i) + " is " + std::to_string(rewards[i]));
    }
    if (!std::isfinite(logprob) && logprob != lowest) {
      throw NotFinite("logprob " + std::to_string(i) + " is " + std::to_string(logprob));
    }
    // Not the sum: -inf plus a product that overflows would be NaN.
    const double score = logprob == lowest ? lowest : logprob + weight * rewards[i];
    if (score > best_score ||
        (score == best_score && candidates[i].token < candidates[best].token)) {
      best = i;
      best_score = score;
    }
  }
  return static_cast<int32_t>(best);
}

}  // namespace treeward
