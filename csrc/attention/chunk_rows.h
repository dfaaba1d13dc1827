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
      const int64_t offset = slot_offset(layer, slots[i], head) * element;
      // Tokens side by side in a page are the rule; divisions are slow.
      const int in_page = layer.page_size - slots[i] % layer.page_size;
      const int in_row = side_by_side(slots + i, in_page < n - i ? in_page : n - i);
      const char *key = static_cast<const char*>(layer.keys) + offset,
                 *value = static_cast<const char*>(layer.values) + offset;
      for (int k = 0; k < in_row; ++k) {
        rows[i + k] = key + k * bytes;
        rows[n + i + k] = value + k * bytes;
      }
      i += in_row;
    }
  }

 private:
  /// How many of n slots follow one another from the first on.
  static int side_by_side(const int32_t* slots, int n) {
    int32_t jumps = 0;
    for (int k = 0; k < n; ++k) jumps |= slots[k] - slots[0] - k;  // no exit: vectors
    if (jumps == 0) return n;
    int k = 1;
    while (slots[k] == slots[0] + k) ++k;
    return k;
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
