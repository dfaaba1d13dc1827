// Pairs of bf16 in 32 bits, as VDPBF16PS multiplies them. Included by the file of AVX-512 BF16.
#pragma once

#include <immintrin.h>

#include "attention/elements.h"

namespace treeward::TREEWARD_ISA {

inline __m512bh as_pairs(__m512i x) { return (__m512bh)x; }

inline uint32_t load_pair(const Bf16* from) {
  uint32_t pair;
  __builtin_memcpy(&pair, from, sizeof(pair));
  return pair;
}

/// Pairs of the elements of two vectors: a0 b0 a1 b1 ..
class Interleave {
 public:
  Interleave() {
    alignas(64) uint16_t low[32], high[32];
    for (uint16_t i = 0; i < 32; ++i) {
      low[i] = static_cast<uint16_t>(i / 2 + i % 2 * 32);
      high[i] = static_cast<uint16_t>(low[i] + 16);
    }
    low_ = _mm512_load_si512(low);
    high_ = _mm512_load_si512(high);
  }
  /// Those of the first 16 elements.
  __m512i low(__m512i a, __m512i b) const { return _mm512_permutex2var_epi16(a, low_, b); }
  /// Those of the last 16.
  __m512i high(__m512i a, __m512i b) const { return _mm512_permutex2var_epi16(a, high_, b); }

 private:
  __m512i low_, high_;
};

}  // namespace treeward::TREEWARD_ISA
