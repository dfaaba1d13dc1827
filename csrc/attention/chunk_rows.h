// Where the keys and values of a chunk lie, and asking for those of the next one in time.
// Included by the file of one instruction set.
#pragma once

#include "attention/elements.h"

namespace treeward::TREEWARD_ISA {

/// Addresses of the keys of a chunk's tokens, then of their values.
struct ChunkRows {
  const char* rows[2 * kChunkTokens];
  int n_tokens = 0;

  template <class T>
  const T* key(int token) const {
    return reinterpret_cast<const T*>(rows[token]);
  }
  template <class T>
  const T* value(int token) const {
    return reinterpret_cast<const T*>(rows[n_tokens + token]);
  }

  void find(const KvLayer& layer, const int32_t* slots, int n, int32_t head) {
    n_tokens = n;
    const int64_t element = layer.type == ElementType::f32 ? 4 : 2;
    const int64_t bytes = layer.head_dim * element;
    for (int i = 0; i < n;) {
      int64_t offset = slot_offset(layer, slots[i], head) * element;
      // Tokens side by side in a page are the rule; divisions are slow.
      int left = layer.page_size - slots[i] % layer.page_size;
      do {
        rows[i] = static_cast<const char*>(layer.keys) + offset;
        rows[n + i] = static_cast<const char*>(layer.values) + offset;
        offset += bytes;
        ++i;
      } while (--left > 0 && i < n && slots[i] == slots[i - 1] + 1);
    }
  }
};

/// Which pages come next is not for the processor to guess, and only few reads fit in flight: so
/// they are asked for a row at a time, all along the work on the chunk before. Full tiles leave
/// that to others: where there are many rows, memory does not hold them up.
class Prefetcher {
 public:
  void start(const ChunkRows& next, int row_bytes) {
    next_ = &next;
    n_rows_ = 2 * next.n_tokens;
    bytes_ = row_bytes;
    row_ = 0;
  }

  void next_row() {
    if (row_ >= n_rows_) return;
    const char* row = next_->rows[row_++];
    for (int at = 0; at < bytes_; at += kLine) __builtin_prefetch(row + at, 0, 2);
  }

  void next_rows(int n) {
    for (int i = 0; i < n; ++i) next_row();
  }

  void finish() {
    while (row_ < n_rows_) next_row();
  }

 private:
  static constexpr int kLine = 64;
  const ChunkRows* next_ = nullptr;
  int n_rows_ = 0, bytes_ = 0, row_ = 0;
};

}  // namespace treeward::TREEWARD_ISA
