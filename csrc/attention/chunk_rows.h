// Where the keys and values of a chunk lie.
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

}  // namespace treeward::TREEWARD_ISA
