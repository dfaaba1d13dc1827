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

#include <type_traits>

#include "attention/chunk_rows.h"
#include "attention/elements.h"
#include "attention/kernels.h"
#include "attention/pair_direct.h"
#include "attention/pair_elements.h"
#include "attention/prefetcher.h"
#include "attention/softmax.h"
#include "attention/sums.h"
#include "attention/unroll.h"

namespace treeward::TREEWARD_ISA {

/// 2^x for x <= 0 to 1.1e-4, far below the rounding of a weight, and exactly 1 for 0; 0 for -inf,
/// NaN for NaN. 2^x = 2^floor(x) p(x - floor(x)); p is a cubic with p(0) = 1 and p(1) = 2.
inline __m512 exp2_for_weights(__m512 x) {
  constexpr int kMinusFloor = 0x09;
  const __m512 r = _mm512_reduce_ps(x, kMinusFloor);
  __m512 p = _mm512_set1_ps(0.078267970f);
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.226307682f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.695424348f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f));
  return _mm512_scalef_ps(p, x);
}

/// Turns the scores of one row into bf16 weights, which are left in their first half; returns the
/// sum of these lane by lane.
inline __m512 pair_weights(float* scores, KeyRange keys, float max) {
  const __m512 log2e = _mm512_set1_ps(1.44269504088896341f);
  const __m512 shift = _mm512_mul_ps(_mm512_set1_ps(-max), log2e);
  const __m512i ones = _mm512_set1_epi32(0x3f803f80);
  const __m512 hidden = _mm512_set1_ps(kMinusInfinity);
  const auto weights_of = [&](int i) {  // vectors without a visible key hold no score either
    const bool none = i + 16 <= keys.begin || i >= keys.end;
    const __m512 score = none ? hidden : _mm512_loadu_ps(scores + i);
    return exp2_for_weights(_mm512_fmadd_ps(score, log2e, shift));
  };
  char* weights = reinterpret_cast<char*>(scores);
  __m512 total = _mm512_setzero_ps();
  TREEWARD_UNROLL
  for (int i = 0; i < kChunkTokens; i += 32) {
    if (i >= keys.end) break;
    const __m512 low = weights_of(i), high = weights_of(i + 16);
    const __m512bh both = _mm512_cvtne2ps_pbh(high, low);
    _mm512_storeu_si512(weights + i * 2, (__m512i)both);
    total = _mm512_dpbf16_ps(total, both, as_pairs(ones));
  }
  return total;
}

class PairPanel {
 public:
  using Element = Bf16;
  static constexpr int kKeyStep = 2;

  PairPanel(const KvLayer& layer, int dim_padded, float* room, Prefetcher& ahead)
      : dim_(layer.head_dim), dim_pairs_((dim_ + 1) / 2), padded_(dim_padded), ahead_(ahead) {
    keys_ = reinterpret_cast<uint32_t*>(room);
    values_ = keys_ + kChunkTokens * padded_;
    queries_ = reinterpret_cast<Bf16*>(values_ + kChunkTokens * padded_);
  }

  int gather_calls() const { return kChunkTokens / 16 * (dim_ / 8); }
  int tile_calls() const { return dim_pairs_ + kChunkTokens / 2; }

  void gather(const ChunkRows& rows, KeyRange seen) {
    pack_keys(rows, seen);
    pack_values(rows, seen);
  }

  void set_query(int row, const Bf16* query) {
    query_[row] = query;
    if (dim_ % 2 == 0) return;
    Bf16* copy = queries_ + row * (padded_ + 2);
    for (int d = 0; d < dim_; ++d) copy[d] = query[d];
    copy[dim_] = 0;
    query_[row] = copy;
  }

  /// As in FloatPanel.
  bool reads_directly(int64_t n_rows) const { return n_rows <= kMostDirect && dim_ % 32 == 0; }
  template <int Rows>
  void direct_scores(const ChunkRows& chunk, KeyRange keys, float scale, float* out) {
    direct_pair_scores<Rows>(query_, chunk, keys, dim_, scale, ahead_, out);
  }
  template <int Rows>
  void direct_weigh(const ChunkRows& chunk, const float* weights, KeyRange keys, float* out) {
    direct_pair_weigh<Rows>(weights, chunk, keys, dim_, ahead_, out);
    ahead_.asked_for_values(keys);
  }

  /// Scaled scores of `Rows` queries, [Rows][kChunkTokens], at least those of the range.
  template <int Rows>
  void scores(int first_row, KeyRange keys, float scale, float* out) const {
    if (keys.end <= kHalf) {
      score_tile<Rows, kHalf / 16>(first_row, scale, out);
    } else {
      score_tile<Rows, kChunkTokens / 16>(first_row, scale, out);
    }
  }

  /// Leaves the weights as bf16 in the first half of each row's scores.
  void softmax(float* scores, int n, const KeyRange* keys, float softcap, float* max,
               float* sum) const {
    softmax_rows(scores, n, keys, softcap, max, sum, [](float* row, KeyRange seen, float largest) {
      return pair_weights(row, seen, largest);
    });
  }

  /// Adds weight * value over the keys to the sums of `Rows` rows.
  template <int Rows, class Sums>
  void weigh(const float* weights, KeyRange keys, Sums sums) const {
    if constexpr (std::is_same_v<Sums, SumsInStates>) {  // of whole pairs only
      pairs<Rows, false>(weights, keys.begin / 2, keys.end / 2, 0, sums);
    } else {
      constexpr int kFirst = 0xffff, kSecond = ~kFirst;
      int pair = keys.begin / 2;
      if (!keys.empty() && keys.begin % 2 == 1) {
        pairs<Rows, true>(weights, pair, pair + 1, kSecond, sums);
        sums.fresh = false;
        ++pair;
      }
      pairs<Rows, false>(weights, pair, keys.end / 2, 0, sums);
      sums.fresh = false;
      if (!keys.empty() && keys.end % 2 == 1 && pair <= keys.end / 2) {
        pairs<Rows, true>(weights, keys.end / 2, keys.end / 2 + 1, kFirst, sums);
      }
    }
  }

 private:
  // Steps of a search are often short: the second half of a chunk is left out where it is empty.
  static constexpr int kHalf = kChunkTokens / 2;

  /// Scores of the first 16 * Blocks keys.
  template <int Rows, int Blocks>
  void score_tile(int first_row, float scale, float* out) const {
    const Bf16* const* query = query_ + first_row;
    __m512 sum[Rows][Blocks];
    TREEWARD_UNROLL
    for (int r = 0; r < Rows; ++r) {
      TREEWARD_UNROLL
      for (int b = 0; b < Blocks; ++b) sum[r][b] = _mm512_setzero_ps();
    }
    const uint32_t* from = keys_;
    for (int d = 0; d < dim_pairs_; ++d, from += kChunkTokens) {
      __m512i key[Blocks];
      TREEWARD_UNROLL
      for (int b = 0; b < Blocks; ++b) key[b] = _mm512_loadu_si512(from + b * 16);
      if constexpr (Rows < kTileRows) ahead_.advance(d);
      TREEWARD_UNROLL
      for (int r = 0; r < Rows; ++r) {
        const __m512i q = _mm512_set1_epi32(static_cast<int>(load_pair(query[r] + 2 * d)));
        TREEWARD_UNROLL
        for (int b = 0; b < Blocks; ++b) {
          sum[r][b] = _mm512_dpbf16_ps(sum[r][b], as_pairs(q), as_pairs(key[b]));
        }
      }
    }
    const __m512 factor = _mm512_set1_ps(scale);
    TREEWARD_UNROLL
    for (int r = 0; r < Rows; ++r) {
      TREEWARD_UNROLL
      for (int b = 0; b < Blocks; ++b) {
        _mm512_storeu_ps(out + r * kChunkTokens + b * 16, _mm512_mul_ps(sum[r][b], factor));
      }
    }
  }

  /// A token outside the range is a copy of one inside, and its score is hidden later.
  void pack_keys(const ChunkRows& chunk, KeyRange range) {
    const int end = range.end <= kHalf ? kHalf : kChunkTokens;
    for (int first = 0; first < end; first += 16) {
      const char* room[16];
      const char* const* rows = block_of_keys(chunk, first, range, room);
      uint32_t* out = keys_ + first;
      int d = 0;
      for (; 2 * d + 8 <= dim_; d += 4) {
        __m512i columns[4];
        Vec::load_words(rows, 4 * d, columns);
        ahead_.advance();
        TREEWARD_UNROLL
        for (int i = 0; i < 4; ++i) {
          _mm512_storeu_si512(out + (d + i) * kChunkTokens, columns[i]);
        }
      }
      for (; d < dim_pairs_; ++d) {
        for (int i = 0; i < 16; ++i) {
          const auto* row = reinterpret_cast<const Bf16*>(rows[i]);
          const uint32_t high = 2 * d + 1 < dim_ ? row[2 * d + 1] : 0;
          out[d * kChunkTokens + i] = row[2 * d] | high << 16;
        }
      }
    }
  }

  /// Tokens outside the range become zeros.
  void pack_values(const ChunkRows& rows, KeyRange range) {
    const Interleave interleave;
    for (int token = range.begin & ~1; token < range.end; token += 2) {
      const Bf16* first = token >= range.begin ? rows.value<Bf16>(token) : nullptr;
      const Bf16* second = token + 1 < range.end ? rows.value<Bf16>(token + 1) : nullptr;
      uint32_t* out = values_ + token / 2 * padded_;
      const __m512i zero = _mm512_setzero_si512();
      int d = 0;
      for (; d + 32 <= dim_; d += 32) {
        const __m512i a = first ? _mm512_loadu_si512(first + d) : zero;
        const __m512i b = second ? _mm512_loadu_si512(second + d) : zero;
        _mm512_storeu_si512(out + d, interleave.low(a, b));
        _mm512_storeu_si512(out + d + 16, interleave.high(a, b));
      }
      for (; d < dim_; ++d) {
        const uint32_t a = first ? first[d] : 0, b = second ? second[d] : 0;
        out[d] = a | b << 16;
      }
      for (; d < padded_; ++d) out[d] = 0;
    }
  }

  /// Adds pairs [begin, end) to the sums; with `Masked` only these bits of their values.
  template <int Rows, bool Masked, class Sums>
  void pairs(const float* weights, int begin, int end, int mask, const Sums& sums) const {
    int at = 0;
    for (; at + 64 <= padded_; at += 64) {
      value_tile<Rows, 4, Masked>(weights, begin, end, mask, at, sums);
    }
    for (; at < padded_; at += 16) {
      value_tile<Rows, 1, Masked>(weights, begin, end, mask, at, sums);
    }
  }

  template <int Rows, int Vectors, bool Masked, class Sums>
  void value_tile(const float* weights, int begin, int end, int mask, int at,
                  const Sums& sums) const {
    __m512 sum[Rows][Vectors];
    sums.begin(at, sum);
    const uint32_t* from = values_ + begin * padded_ + at;
    for (int pair = begin; pair < end; ++pair, from += padded_) {
      __m512i value[Vectors];
      TREEWARD_UNROLL
      for (int v = 0; v < Vectors; ++v) {
        value[v] = _mm512_loadu_si512(from + v * 16);
        if constexpr (Masked) value[v] = _mm512_and_si512(value[v], _mm512_set1_epi32(mask));
      }
      if constexpr (Rows < kTileRows) ahead_.advance(pair);
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
    sums.end(at, sum);
  }

  const int dim_, dim_pairs_, padded_;
  Prefetcher& ahead_;
  uint32_t *keys_, *values_;
  Bf16* queries_;
  const Bf16* query_[kRowGroup];
};

}  // namespace treeward::TREEWARD_ISA
