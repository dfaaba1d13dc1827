// Memory that attention calls reuse: grown when a call needs more, never freed between calls.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <vector>

#include "attention/kernels.h"
#include "attention/pass_layout.h"

namespace treeward {

/// Floats aligned to a cache line, with contents lost when it grows.
class AlignedBuffer {
 public:
  float* reserve(size_t n) {
    if (n > capacity_) {
      n = std::max(n, capacity_ + capacity_ / 2);  // so that slow growth allocates rarely
      data_.reset();                               // first, so that old and new never coexist
      capacity_ = 0;
      data_.reset(static_cast<float*>(::operator new(n * sizeof(float), kAlignment)));
      capacity_ = n;
    }
    return data_.get();
  }
  float* data() const { return data_.get(); }

 private:
  static constexpr std::align_val_t kAlignment{64};
  struct Delete {
    void operator()(float* data) const { ::operator delete(data, kAlignment); }
  };
  std::unique_ptr<float, Delete> data_;
  size_t capacity_ = 0;
};

/// What a layout was made for, beside its plan.
struct LayoutKey {
  int32_t row_begin = 0, row_end = 0, group = 0;
  int64_t wanted_tasks = 0;
  bool operator==(const LayoutKey&) const = default;
};

/// Scratch of one call at a time. Two threads that attend at once need one each.
struct AttentionScratch {
  AlignedBuffer partial_max, partial_sum;  // [places of the pass, heads of the pass]
  AlignedBuffer partial_values;            // the same, x padded head_dim
  std::vector<AlignedBuffer> threads;      // workspace of each thread
  std::vector<int32_t> row_of_partial;     // [n_partials] of check_plan

  // The layers of a model share a plan: what was found out about it stays. 0: nothing.
  uint64_t checked_plan = 0, built_plan = 0;
  int64_t checked_slots = 0;
  LayoutKey built_key;
  PassLayout layout;
};

}  // namespace treeward
