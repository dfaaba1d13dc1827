// The keys and values of one chunk as pairs of bf16, multiplied by VDPBF16PS: two products and
// two additions a lane. Included by the file of AVX-512 BF16, after its Vec.
//
//     keys    [dim / 2][kChunkTokens] of (d, d + 1)     values  [kChunkTokens / 2][dim_padded] of
//     queries [dim / 2] of (d, d + 1), as they are              (token, token + 1)
//
// Scores and sums are fp32. Weights are rounded to bf16 before they multiply values, and it is the
// rounded weights that are summed: an output stays a mean of values, off by at most 2^-8 of the
// largest value. A pair of which a row sees one token only has the other one blanked.
#pragma once

#include <immintrin.h>

#include "attention/elements.h"
#include "attention/kernels.h"
#include "attention/prefetch.h"
#include "attention/softmax.h"
#include "attention/unroll.h"

namespace treeward::TREEWARD_ISA {

inline __m512bh as_pairs(__m512i x) { return (__m512bh)x; }

inline uint32_t load_pair(const Bf16* from) {
  uint32_t pair;
  __builtin_memcpy(&pair, from, sizeof(pair));
  return pair;
}

/// exp(x) for x <= 0 to 5e-5, far below the rounding of a weight; 0 below -87.3, NaN for NaN.
inline __m512 exp_for_weights(__m512 x) {
  const __m512 magic = Vec::set1(12582912.0f);
  const __m512 shifted = Vec::fma(x, Vec::set1(1.44269504088896341f), magic);
  const __m512 n = Vec::sub(shifted, magic);
  const __m512 r = Vec::fma(n, Vec::set1(-0.693147180559945f), x);
  __m512 p = Vec::set1(4.1666667e-2f);
  p = Vec::fma(p, r, Vec::set1(1.6666667e-1f));
  p = Vec::fma(p, r, Vec::set1(0.5f));
  p = Vec::fma(p, r, Vec::set1(1.0f));
  p = Vec::fma(p, r, Vec::set1(1.0f));
  return Vec::scale(p, n, shifted, x, Vec::set1(-87.3f));
}

class PairPanel {
 public:
  using Element = Bf16;
  static constexpr int kKeyStep = 2;

  PairPanel(const KvLayer& layer, int32_t kv_head, int dim_padded, float* room, Prefetcher& ahead)
      : layer_(layer),
        kv_head_(kv_head),
        dim_(layer.head_dim),
        dim_pairs_((dim_ + 1) / 2),
        padded_(dim_padded),
        ahead_(ahead) {
    keys_ = reinterpret_cast<uint32_t*>(room);
    values_ = keys_ + kChunkTokens * padded_;
    queries_ = reinterpret_cast<Bf16*>(values_ + kChunkTokens * padded_);
  }

  void gather(const int32_t* slots, KeyRange seen) {
    const Bf16* keys[kChunkTokens];
    const Bf16* values[kChunkTokens];
    for (int i = seen.begin; i < seen.end; ++i) {
      const int64_t offset = slot_offset(layer_, slots[i], kv_head_);
      keys[i] = static_cast<const Bf16*>(layer_.keys) + offset;
      values[i] = static_cast<const Bf16*>(layer_.values) + offset;
    }
    pack_keys(keys, seen);
    pack_values(values, seen);
  }

  void set_query(int row, const Bf16* query) {
    query_[row] = query;
    if (dim_ % 2 == 0) return;
    Bf16* copy = queries_ + row * (padded_ + 2);
    for (int d = 0; d < dim_; ++d) copy[d] = query[d];
    copy[dim_] = 0;
    query_[row] = copy;
  }

  template <int Rows>
  void scores(int first_row, KeyRange, float scale, float* out) const {
    constexpr int kBlocks = kChunkTokens / 16;
    const Bf16* const* query = query_ + first_row;
    __m512 sum[Rows][kBlocks];
    TREEWARD_UNROLL
    for (int r = 0; r < Rows; ++r) {
      TREEWARD_UNROLL
      for (int b = 0; b < kBlocks; ++b) sum[r][b] = _mm512_setzero_ps();
    }
    const uint32_t* from = keys_;
    for (int d = 0; d < dim_pairs_; ++d, from += kChunkTokens) {
      __m512i key[kBlocks];
      TREEWARD_UNROLL
      for (int b = 0; b < kBlocks; ++b) key[b] = _mm512_loadu_si512(from + b * 16);
      if constexpr (Rows < kTileRows) ahead_.next_line();
      TREEWARD_UNROLL
      for (int r = 0; r < Rows; ++r) {
        const __m512i q = _mm512_set1_epi32(static_cast<int>(load_pair(query[r] + 2 * d)));
        TREEWARD_UNROLL
        for (int b = 0; b < kBlocks; ++b) {
          sum[r][b] = _mm512_dpbf16_ps(sum[r][b], as_pairs(q), as_pairs(key[b]));
        }
      }
    }
    const __m512 factor = _mm512_set1_ps(scale);
    TREEWARD_UNROLL
    for (int r = 0; r < Rows; ++r) {
      TREEWARD_UNROLL
      for (int b = 0; b < kBlocks; ++b) {
        _mm512_storeu_ps(out + r * kChunkTokens + b * 16, _mm512_mul_ps(sum[r][b], factor));
      }
    }
  }

  /// Leaves the weights as bf16 in the first half of the row's scores.
  void softmax(float* scores, KeyRange keys, float softcap, float* max, float* sum) const {
    *max = prepare_scores(scores, keys, softcap);
    const __m512 shift = _mm512_set1_ps(*max);
    __m512 even = _mm512_setzero_ps(), odd = even;
    char* weights = reinterpret_cast<char*>(scores);
    const __m512 hidden = _mm512_set1_ps(kMinusInfinity);
    const auto score_of = [&](int i) {  // vectors that hold no visible key hold no score either
      const bool none = i + 16 <= keys.begin || i >= keys.end;
      return none ? hidden : _mm512_loadu_ps(scores + i);
    };
    for (int i = 0; i < kChunkTokens; i += 32) {
      const __m512 low = exp_for_weights(_mm512_sub_ps(score_of(i), shift));
      const __m512 high = exp_for_weights(_mm512_sub_ps(score_of(i + 16), shift));
      const __m512i both = (__m512i)_mm512_cvtne2ps_pbh(high, low);
      _mm512_storeu_si512(weights + i * 2, both);
      even = _mm512_add_ps(even, _mm512_castsi512_ps(_mm512_slli_epi32(both, 16)));
      odd = _mm512_add_ps(
          odd, _mm512_castsi512_ps(_mm512_and_si512(both, _mm512_set1_epi32(int(0xffff0000)))));
    }
    *sum = _mm512_reduce_add_ps(_mm512_add_ps(even, odd));
  }

  template <int Rows>
  void weigh(const float* weights, KeyRange keys, bool fresh, float* out) const {
    constexpr int kFirst = 0xffff, kSecond = ~kFirst;
    int pair = keys.begin / 2;
    if (!keys.empty() && keys.begin % 2 == 1) {
      pairs<Rows, true>(weights, pair, pair + 1, kSecond, fresh, out);
      fresh = false;
      ++pair;
    }
    pairs<Rows, false>(weights, pair, keys.end / 2, 0, fresh, out);
    if (!keys.empty() && keys.end % 2 == 1 && pair <= keys.end / 2) {
      pairs<Rows, true>(weights, keys.end / 2, keys.end / 2 + 1, kFirst, false, out);
    }
  }

 private:
  void pack_keys(const Bf16* const* keys, KeyRange range) {
    for (int first = 0; first < kChunkTokens; first += 16) {
      const Bf16* rows[16];
      for (int i = 0; i < 16; ++i) rows[i] = keys[clamp(first + i, range.begin, range.end - 1)];
      uint32_t* out = keys_ + first;
      int d = 0;
      for (; 2 * d + 32 <= dim_; d += 16) {
        __m512 tile[16];
        TREEWARD_UNROLL
        for (int i = 0; i < 16; ++i) {
          tile[i] = _mm512_castsi512_ps(_mm512_loadu_si512(rows[i] + 2 * d));
        }
        Vec::transpose(tile);
        ahead_.next_lines(16);
        TREEWARD_UNROLL
        for (int i = 0; i < 16; ++i) {
          _mm512_storeu_si512(out + (d + i) * kChunkTokens, _mm512_castps_si512(tile[i]));
        }
      }
      for (; d < dim_pairs_; ++d) {
        for (int i = 0; i < 16; ++i) {
          const uint32_t high = 2 * d + 1 < dim_ ? rows[i][2 * d + 1] : 0;
          out[d * kChunkTokens + i] = rows[i][2 * d] | high << 16;
        }
      }
    }
  }

  /// Tokens outside the range become zeros.
  void pack_values(const Bf16* const* values, KeyRange range) {
    __m512i low_index, high_index;
    interleave_indices(&low_index, &high_index);
    for (int token = range.begin & ~1; token < range.end; token += 2) {
      const Bf16* first = token >= range.begin ? values[token] : nullptr;
      const Bf16* second = token + 1 < range.end ? values[token + 1] : nullptr;
      uint32_t* out = values_ + token / 2 * padded_;
      const __m512i zero = _mm512_setzero_si512();
      int d = 0;
      for (; d + 32 <= dim_; d += 32) {
        const __m512i a = first ? _mm512_loadu_si512(first + d) : zero;
        const __m512i b = second ? _mm512_loadu_si512(second + d) : zero;
        _mm512_storeu_si512(out + d, _mm512_permutex2var_epi16(a, low_index, b));
        _mm512_storeu_si512(out + d + 16, _mm512_permutex2var_epi16(a, high_index, b));
      }
      for (; d < dim_; ++d) {
        const uint32_t a = first ? first[d] : 0, b = second ? second[d] : 0;
        out[d] = a | b << 16;
      }
      for (; d < padded_; ++d) out[d] = 0;
    }
  }

  /// a0 b0 a1 b1 .. of two vectors of 32: those of the lower and of the upper halves.
  static void interleave_indices(__m512i* low, __m512i* high) {
    alignas(64) uint16_t of_low[32], of_high[32];
    for (uint16_t i = 0; i < 32; ++i) {
      of_low[i] = static_cast<uint16_t>(i / 2 + i % 2 * 32);
      of_high[i] = static_cast<uint16_t>(of_low[i] + 16);
    }
    *low = _mm512_load_si512(of_low);
    *high = _mm512_load_si512(of_high);
  }

  /// Adds pairs [begin, end) to out, or sets it; with `Masked` only these bits of their values.
  template <int Rows, bool Masked>
  void pairs(const float* weights, int begin, int end, int mask, bool fresh, float* out) const {
    int at = 0;
    for (; at + 64 <= padded_; at += 64) {
      value_tile<Rows, 4, Masked>(weights, begin, end, mask, at, fresh, out + at);
    }
    for (; at < padded_; at += 16) {
      value_tile<Rows, 1, Masked>(weights, begin, end, mask, at, fresh, out + at);
    }
  }

  template <int Rows, int Vectors, bool Masked>
  void value_tile(const float* weights, int begin, int end, int mask, int at, bool fresh,
                  float* out) const {
    __m512 sum[Rows][Vectors];
    TREEWARD_UNROLL
    for (int r = 0; r < Rows; ++r) {
      TREEWARD_UNROLL
      for (int v = 0; v < Vectors; ++v) {
        sum[r][v] = fresh ? _mm512_setzero_ps() : _mm512_loadu_ps(out + r * padded_ + v * 16);
      }
    }
    const uint32_t* from = values_ + begin * padded_ + at;
    for (int pair = begin; pair < end; ++pair, from += padded_) {
      __m512i value[Vectors];
      TREEWARD_UNROLL
      for (int v = 0; v < Vectors; ++v) {
        value[v] = _mm512_loadu_si512(from + v * 16);
        if constexpr (Masked) value[v] = _mm512_and_si512(value[v], _mm512_set1_epi32(mask));
      }
      if constexpr (Rows < kTileRows) ahead_.next_line();
      TREEWARD_UNROLL
      for (int r = 0; r < Rows; ++r) {
        const Bf16* row = reinterpret_cast<const Bf16*>(weights + r * kChunkTokens);
        const __m512i weight = _mm512_set1_epi32(static_cast<int>(load_pair(row + 2 * pair)));
        TREEWARD_UNROLL
        for (int v = 0; v < Vectors; ++v) {
          sum[r][v] = _mm512_dpbf16_ps(sum[r][v], as_pairs(weight), as_pairs(value[v]));
        }
      }
    }
    TREEWARD_UNROLL
    for (int r = 0; r < Rows; ++r) {
      TREEWARD_UNROLL
      for (int v = 0; v < Vectors; ++v) _mm512_storeu_ps(out + r * padded_ + v * 16, sum[r][v]);
    }
  }

  const KvLayer& layer_;
  const int32_t kv_head_;
  const int dim_, dim_pairs_, padded_;
  Prefetcher& ahead_;
  uint32_t *keys_, *values_;
  Bf16* queries_;
  const Bf16* query_[kRowGroup];
};

}  // namespace treeward::TREEWARD_ISA
