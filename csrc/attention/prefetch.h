// Keys and values of the next chunk, asked for while this one is computed.
// Included by the file of one instruction set.
#pragma once

#include "attention/elements.h"

namespace treeward::TREEWARD_ISA {

/// Which pages come next is not for the processor to guess, and only few reads fit in flight: so
/// they are asked for one cache line at a time, all along the work on the chunk before. Full tiles
/// leave that to others: where there are many rows, memory does not hold them up.
class Prefetcher {
 public:
  void start(const KvLayer& layer, const int32_t* slots, int n_tokens, int32_t head) {
    const int64_t element = layer.type == ElementType::f32 ? 4 : 2;
    bytes_ = static_cast<int>(layer.head_dim * element);
    n_rows_ = 2 * n_tokens;
    row_ = at_ = 0;
    for (int i = 0; i < n_tokens; ++i) {
      const int64_t offset = slot_offset(layer, slots[i], head) * element;
      rows_[i] = static_cast<const char*>(layer.keys) + offset;
      rows_[n_tokens + i] = static_cast<const char*>(layer.values) + offset;
    }
  }

  void next_line() {
    if (row_ >= n_rows_) return;
    __builtin_prefetch(rows_[row_] + at_, 0, 2);
    at_ += kLine;
    if (at_ < bytes_) return;
    at_ = 0;
    ++row_;
  }

  void next_lines(int n) {
    for (int i = 0; i < n; ++i) next_line();
  }

  void finish() {
    while (row_ < n_rows_) next_line();
  }

 private:
  static constexpr int kLine = 64;
  const char* rows_[2 * kChunkTokens];
  int n_rows_ = 0, bytes_ = 0, row_ = 0, at_ = 0;
};

}  // namespace treeward::TREEWARD_ISA
