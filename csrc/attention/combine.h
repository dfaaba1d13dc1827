// How two softmax states become one. Included by the file of one instruction set, after its Vec.
#pragma once

#include "attention/vector_math.h"

namespace treeward::TREEWARD_ISA {

/// What two states are multiplied by, and the maximum of both.
struct CombineWeights {
  float max, first, second;
};

/// One of the two weights is exp(0) = 1, so a single exponential does. A NaN maximum makes a NaN
/// weight, and so stays visible.
inline CombineWeights combine_weights(float first_max, float second_max) {
  const bool first_is_larger = first_max >= second_max;
  const float difference = first_is_larger ? second_max - first_max : first_max - second_max;
  const float smaller = Vec::first(exp_nonpositive(Vec::set1(difference)));
  if (first_is_larger) return {first_max, 1.0f, smaller};
  return {second_max, smaller, 1.0f};
}

/// out = first * weights.first + second * weights.second; out may be one of them.
inline void combine_values(const CombineWeights& weights, const float* first, const float* second,
                           int dim_padded, float* out) {
  const Vec::Reg a = Vec::set1(weights.first), b = Vec::set1(weights.second);
  for (int d = 0; d < dim_padded; d += Vec::kWidth) {
    Vec::store(out + d, Vec::fma(Vec::load(second + d), b, Vec::mul(Vec::load(first + d), a)));
  }
}

}  // namespace treeward::TREEWARD_ISA
