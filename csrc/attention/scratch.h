// Memory that attention calls reuse: grown when a call needs more, never freed between calls.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <vector>

#include "attention/kernels.h"

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

/// Scratch of one call at a time. Two threads that attend at once need one each.
struct AttentionScratch {
  AlignedBuffer partial_max, partial_sum;  // [partials of the pass, heads of the pass]
  AlignedBuffer partial_values;            // the same, x padded head_dim
  std::vector<AlignedBuffer> threads;      // workspace of each thread
  std::vector<int32_t> row_of_partial;     // [n_partials] of check_plan
  std::vector<int32_t> place_of_partial;   // [n_partials] where its state lies in this pass
  std::vector<ChunkTask> tasks;
};

}  // namespace treeward
