// Where the keys and values of a chunk lie, and asking for those of the next one in time.
// Included by the file of one instruction set.
#pragma once

#include "attention/elements.h"
#include "attention/visibility.h"

namespace treeward::TREEWARD_ISA {

/// Addresses of the keys of a chunk's tokens, then of their values.
struct ChunkRows {
  const char* rows[2 * kChunkTokens];
  int n_tokens = 0;

  const char* const* keys() const { return rows; }
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

/// Addresses of the keys [first, first + N): for a token outside the range, which must not be read,
/// that of one inside.
template <int N>
inline const char* const* block_of_keys(const ChunkRows& chunk, int first, KeyRange range,
                                        const char* (&room)[N]) {
  if (first >= range.begin && first + N <= range.end) return chunk.keys() + first;
  for (int i = 0; i < N; ++i) room[i] = chunk.keys()[clamp(first + i, range.begin, range.end - 1)];
  return room;
}

/// Which pages come next is not for the processor to guess, and only few reads fit in flight: so
/// their lines are asked for a few at a time, evenly all along the work on the chunk before. Full
/// tiles leave that to others: where there are many rows, memory does not hold them up.
class Prefetcher {
 public:
  /// `calls`: how often advance() will be called, about.
  void start(const ChunkRows& next, int row_bytes, int calls) {
    next_ = next.rows;
    n_rows_ = 2 * next.n_tokens;
    bytes_ = row_bytes;
    row_ = 0;
    at_ = 0;
    const int lines = n_rows_ * ((row_bytes + kLine - 1) / kLine);
    lines_a_call_ = calls > 0 ? (lines + calls - 1) / calls : 0;
    idle_rounds_ = calls >= 2 * lines ? 1 : 0;
  }

  /// In round `round` of a loop.
  __attribute__((always_inline)) void advance(int round = 0) {
    if ((round & idle_rounds_) == 0 && row_ < n_rows_) ask_for(lines_a_call_);
  }

  void finish() {
    while (row_ < n_rows_) ask_for(1);
  }

 private:
  // A call from a loop over registers would put them all in memory.
  __attribute__((always_inline)) void ask_for(int lines) {
    for (int i = 0; i < lines && row_ < n_rows_; ++i) {
      __builtin_prefetch(next_[row_] + at_, 0, 2);
      at_ += kLine;
      if (at_ >= bytes_) {
        at_ = 0;
        ++row_;
      }
    }
  }

  static constexpr int kLine = 64;
  const char* const* next_ = nullptr;
  int n_rows_ = 0, bytes_ = 0, row_ = 0, at_ = 0, lines_a_call_ = 0, idle_rounds_ = 0;
};

}  // namespace treeward::TREEWARD_ISA
