// Merge of a row's partial states into its output.
// Included by the file of one instruction set, after its Vec.
#pragma once

#include "attention/elements.h"
#include "attention/kernels.h"
#include "attention/vector_math.h"

namespace treeward::TREEWARD_ISA {

/// out = sum_i exp(max_i - max) values_i / sum_i exp(max_i - max) sum_i, in the order of the plan.
/// States that saw no key are left out, since -inf - -inf is not a number; a row without any
/// state gets zeros.
template <class T>
void merge(const MergeCall& call, int32_t row, float* workspace) {
  constexpr int kWidth = Vec::kWidth;
  const PartialStates& states = call.states;
  const int dim_padded = states.dim_padded;
  const int32_t begin = call.reduce_begin[row], end = call.reduce_begin[row + 1];
  for (int32_t h = 0; h < states.n_heads; ++h) {
    const auto state_of = [&](int32_t i) {
      const int32_t partial = call.reduce_partials[i];
      const int64_t place = call.place_of_partial[partial];
      return place * states.n_heads + h;
    };
    float max = -__builtin_inff();
    for (int32_t i = begin; i < end; ++i) {
      const float x = states.max[state_of(i)];
      if (x > max) max = x;
    }
    for (int d = 0; d < dim_padded; d += kWidth) Vec::store(workspace + d, Vec::set1(0.0f));
    float total = 0.0f;
    bool any = false;
    for (int32_t i = begin; i < end; ++i) {
      const int64_t state = state_of(i);
      if (states.sum[state] == 0.0f) continue;  // a state that saw a key has a sum of at least 1
      any = true;
      const Vec::Reg weight = exp_nonpositive(Vec::set1(states.max[state] - max));
      total += Vec::first(weight) * states.sum[state];
      const float* values = states.values + state * dim_padded;
      for (int d = 0; d < dim_padded; d += kWidth) {
        Vec::store(workspace + d,
                   Vec::fma(weight, Vec::load(values + d), Vec::load(workspace + d)));
      }
    }
    const Vec::Reg inverse = Vec::set1(any ? 1.0f / total : 0.0f);
    for (int d = 0; d < dim_padded; d += kWidth) {
      Vec::store(workspace + d, Vec::mul(Vec::load(workspace + d), inverse));
    }
    T* out = static_cast<T*>(call.out.data) + row * call.out.row_stride +
             (states.head_begin + h) * call.out.head_stride;
    for (int d = 0; d < call.head_dim; ++d) from_float(workspace[d], out + d);
  }
}

}  // namespace treeward::TREEWARD_ISA
