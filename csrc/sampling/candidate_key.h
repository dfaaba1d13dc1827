// A candidate as one number whose order is that of candidates: by descending logit, ties by
// ascending token.
//
//   bits  63 .................. 32   31 ............... 0
//         logit, ordered downwards        token
#pragma once

#include <bit>
#include <cstdint>
#include <vector>

namespace treeward {

inline uint64_t key_of(float logit, int64_t token) {
  const uint32_t bits = std::bit_cast<uint32_t>(logit + 0.0f);  // the sum turns -0 into +0
  const uint32_t flip = (0u - (bits >> 31)) | 0x80000000u;
  return (static_cast<uint64_t>(~(bits ^ flip)) << 32) | static_cast<uint64_t>(token);
}

inline int32_t token_of(uint64_t key) { return static_cast<int32_t>(key & 0xFFFFFFFFu); }

inline float logit_of(uint64_t key) {
  const uint32_t ordered = ~static_cast<uint32_t>(key >> 32);
  const uint32_t flip = ((ordered >> 31) - 1u) | 0x80000000u;
  return std::bit_cast<float>(ordered ^ flip);
}

/// Sorts keys[0, n), which must come by ascending token; `spare` is working memory.
void sort_keys(std::vector<uint64_t>& keys, int64_t n, std::vector<uint64_t>& spare);

}  // namespace treeward
