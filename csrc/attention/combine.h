// How two softmax states become one. Included by the file of one instruction set, after its Vec.
#pragma once

#include "attention/kernels.h"
#include "attention/vector_math.h"

namespace treeward::TREEWARD_ISA {

/// Index of the first of a key-value head's states at a place.
inline int64_t first_state(const PartialStates& states, int32_t kv_head, int64_t place) {
  return (int64_t{kv_head - states.head_begin} * states.n_places + place) * states.group;
}

/// The maximum of two states, and what each is multiplied by: for Vec::kWidth pairs of states. One
/// of the two weights is exp(0) = 1, so a single exponential does. A NaN maximum makes a NaN
/// weight, and so stays visible.
inline void combine_weights(const float* first_max, const float* second_max, float* max,
                            float* first, float* second) {
  const Vec::Reg a = Vec::load(first_max), b = Vec::load(second_max), one = Vec::set1(1.0f);
  const Vec::Reg difference = Vec::where_less(a, b, Vec::sub(a, b), Vec::sub(b, a));
  const Vec::Reg smaller = exp_nonpositive(difference);
  Vec::store(max, Vec::where_less(a, b, b, a));
  Vec::store(first, Vec::where_less(a, b, smaller, one));
  Vec::store(second, Vec::where_less(a, b, one, smaller));
}

/// out = first * first_weight + second * second_weight; out may be one of them.
inline void combine_values(float first_weight, float second_weight, const float* first,
                           const float* second, int dim_padded, float* out) {
  const Vec::Reg a = Vec::set1(first_weight), b = Vec::set1(second_weight);
  for (int d = 0; d < dim_padded; d += Vec::kWidth) {
    Vec::store(out + d, Vec::fma(Vec::load(second + d), b, Vec::mul(Vec::load(first + d), a)));
  }
}

}  // namespace treeward::TREEWARD_ISA
