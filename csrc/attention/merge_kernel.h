// Merge of a row's states into its output.
// Included by the file of one instruction set, after its Vec.
#pragma once

#include "attention/combine.h"
#include "attention/elements.h"
#include "attention/kernels.h"

namespace treeward::TREEWARD_ISA {

/// States taken in one after the other. Values stay where they are until a second state comes.
struct MergedState {
  float max = 0.0f, sum = 0.0f;
  const float* values = nullptr;
  float* room;

  bool empty() const { return values == nullptr; }

  void add(float other_max, float other_sum, const float* other_values, int dim_padded) {
    if (other_sum == 0.0f) return;  // it saw no key: one that did has a sum of at least 1
    if (empty()) {
      max = other_max;
      sum = other_sum;
      values = other_values;
      return;
    }
    float first[Vec::kWidth], second[Vec::kWidth], larger[Vec::kWidth];
    Vec::store(first, Vec::set1(max));
    Vec::store(second, Vec::set1(other_max));
    combine_weights(first, second, larger, first, second);
    max = larger[0];
    sum = sum * first[0] + other_sum * second[0];
    combine_values(first[0], second[0], values, other_values, dim_padded, room);
    values = room;
  }
};

/// out = values / sum of all states of the row, for the query heads of a key-value head: first
/// those of a segment in order, then the segments in order. A row without any state gets zeros.
template <class T>
void merge(const MergeCall& call, int32_t row, int32_t kv_head, float* workspace) {
  constexpr int kWidth = Vec::kWidth;
  const PartialStates& states = call.states;
  const int dim_padded = states.dim_padded;
  const int32_t begin = call.begin[row - call.first_row];
  const int32_t end = call.begin[row - call.first_row + 1];
  for (int32_t h = 0; h < states.group; ++h) {
    MergedState all{.room = workspace}, segment{.room = workspace + dim_padded};
    for (int32_t i = begin; i < end; ++i) {
      const MergeEntry& entry = call.entries[i];
      if (entry.first_of_segment && !segment.empty()) {
        all.add(segment.max, segment.sum, segment.values, dim_padded);
        // The segment's room is written next: what `all` points at must not lie there.
        if (all.values == segment.room) {
          for (int d = 0; d < dim_padded; d += kWidth) {
            Vec::store(all.room + d, Vec::load(all.values + d));
          }
          all.values = all.room;
        }
        segment.values = nullptr;
      }
      const int64_t state = first_state(states, kv_head, entry.place) + h;
      segment.add(states.max[state], states.sum[state], states.values + state * dim_padded,
                  dim_padded);
    }
    if (!segment.empty()) all.add(segment.max, segment.sum, segment.values, dim_padded);
    if (all.empty()) {
      for (int d = 0; d < dim_padded; d += kWidth) Vec::store(workspace + d, Vec::set1(0.0f));
    } else {
      const Vec::Reg inverse = Vec::set1(1.0f / all.sum);
      for (int d = 0; d < dim_padded; d += kWidth) {
        Vec::store(workspace + d, Vec::mul(Vec::load(all.values + d), inverse));
      }
    }
    T* out = static_cast<T*>(call.out.data) + row * call.out.row_stride +
             (int64_t{kv_head} * states.group + h) * call.out.head_stride;
    for (int d = 0; d < call.head_dim; ++d) from_float(workspace[d], out + d);
  }
}

}  // namespace treeward::TREEWARD_ISA
