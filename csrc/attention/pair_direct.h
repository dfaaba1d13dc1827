// The two products of few rows with bf16 keys and values as they lie in the pool: float_direct.h
// with pairs, and with the chains of PairPanel. Included by the file of AVX-512 BF16, after its
// Vec.
#pragma once

#include "attention/chunk_rows.h"
#include "attention/pair_elements.h"
#include "attention/prefetcher.h"
#include "attention/unroll.h"

namespace treeward::TREEWARD_ISA {

/// Blocks of 16 keys done side by side, so that additions need not wait for one another.
inline constexpr int kDirectPairBlocks = 2;

/// Scaled scores [Rows][kChunkTokens], at least those of the range.
template <int Rows>
inline void direct_pair_scores(const Bf16* const* query, const ChunkRows& chunk, KeyRange keys,
                               int dim, float scale, Prefetcher& ahead, float* out) {
  constexpr int kBlocks = kDirectPairBlocks, kStep = kBlocks * 16;
  const __m512 factor = _mm512_set1_ps(scale);
  for (int at = keys.begin / kStep * kStep; at < keys.end; at += kStep) {
    const char* room[kStep];
    const char* const* rows = block_of_keys(chunk, at, keys, room);
    auto ahead_of_keys = ahead.key_block(at, kStep);
    __m512 sum[Rows][kBlocks];
    TREEWARD_UNROLL
    for (int r = 0; r < Rows; ++r) {
      TREEWARD_UNROLL
      for (int b = 0; b < kBlocks; ++b) sum[r][b] = _mm512_setzero_ps();
    }
    for (int d = 0; d < dim; d += 8) {
      __m512i columns[kBlocks][4];
      TREEWARD_UNROLL
      for (int b = 0; b < kBlocks; ++b) {
        Vec::load_words(rows + b * 16, d * static_cast<int>(sizeof(Bf16)), columns[b]);
      }
      TREEWARD_UNROLL
      for (int i = 0; i < 4; ++i) {
        ahead_of_keys.ask<4 * kStep>();
        TREEWARD_UNROLL
        for (int r = 0; r < Rows; ++r) {
          const __m512i q = _mm512_set1_epi32(static_cast<int>(load_pair(query[r] + d + 2 * i)));
          TREEWARD_UNROLL
          for (int b = 0; b < kBlocks; ++b) {
            sum[r][b] = _mm512_dpbf16_ps(sum[r][b], as_pairs(q), as_pairs(columns[b][i]));
          }
        }
      }
    }
    TREEWARD_UNROLL
    for (int r = 0; r < Rows; ++r) {
      TREEWARD_UNROLL
      for (int b = 0; b < kBlocks; ++b) {
        _mm512_storeu_ps(out + r * kChunkTokens + at + b * 16, _mm512_mul_ps(sum[r][b], factor));
      }
    }
  }
}

/// Lines of 32 elements of a value that are done side by side: as many as leave their sums in
/// registers, for each pass over the values costs their addresses again.
inline constexpr int direct_pair_lines(int n_rows) { return n_rows <= 3 ? 4 : n_rows <= 7 ? 2 : 1; }

/// The sums of a line that were made of mixed pairs, in order:
///
///     pairs    low   0-3  8-11 16-19 24-27        high  4-7 12-15 20-23 28-31
inline void store_mixed(__m512 low, __m512 high, float* out) {
  const __m512 first = _mm512_shuffle_f32x4(low, high, 0x44);
  const __m512 second = _mm512_shuffle_f32x4(low, high, 0xEE);
  _mm512_storeu_ps(out, _mm512_shuffle_f32x4(first, first, 0xD8));
  _mm512_storeu_ps(out + 16, _mm512_shuffle_f32x4(second, second, 0xD8));
}

/// out[Rows][32 * Lines] of a row of `dim` = sum over keys of weight * value, from element `at` on.
template <int Rows, int Lines>
inline void direct_pair_value_tile(const float* weights, const ChunkRows& chunk, KeyRange keys,
                                   int at, int dim, const Prefetcher& ahead, float* out) {
  const Prefetcher::Values next = ahead.values();
  __m512 sum[Rows][2 * Lines];
  TREEWARD_UNROLL
  for (int r = 0; r < Rows; ++r) {
    TREEWARD_UNROLL
    for (int v = 0; v < 2 * Lines; ++v) sum[r][v] = _mm512_setzero_ps();
  }
  // Tokens `pair` and `pair + 1`, or the one of them that is in the range.
  const auto add = [&]<bool First, bool Second>(int pair) __attribute__((always_inline)) {
    const char *ahead_of_first = next.of(pair), *ahead_of_second = next.of(pair + 1);
    TREEWARD_UNROLL
    for (int l = 0; l < Lines; ++l) {
      const int from = at + 32 * l;
      __m512i a = _mm512_setzero_si512(), b = a;
      if constexpr (First) a = _mm512_loadu_si512(chunk.value<Bf16>(pair) + from);
      if constexpr (Second) b = _mm512_loadu_si512(chunk.value<Bf16>(pair + 1) + from);
      const __m512i low = _mm512_unpacklo_epi16(a, b), high = _mm512_unpackhi_epi16(a, b);
      next.ask(ahead_of_first, from * sizeof(Bf16));
      next.ask(ahead_of_second, from * sizeof(Bf16));
      TREEWARD_UNROLL
      for (int r = 0; r < Rows; ++r) {
        const Bf16* row = reinterpret_cast<const Bf16*>(weights + r * kChunkTokens);
        const __m512i weight = _mm512_set1_epi32(static_cast<int>(load_pair(row + pair)));
        sum[r][2 * l] = _mm512_dpbf16_ps(sum[r][2 * l], as_pairs(weight), as_pairs(low));
        sum[r][2 * l + 1] = _mm512_dpbf16_ps(sum[r][2 * l + 1], as_pairs(weight), as_pairs(high));
      }
    }
  };
  int token = keys.begin;
  if (token % 2 == 1 && token < keys.end) {
    add.template operator()<false, true>(token - 1);
    ++token;
  }
  for (; token + 2 <= keys.end; token += 2) add.template operator()<true, true>(token);
  if (token < keys.end) add.template operator()<true, false>(token);
  TREEWARD_UNROLL
  for (int r = 0; r < Rows; ++r) {
    TREEWARD_UNROLL
    for (int l = 0; l < Lines; ++l) {
      store_mixed(sum[r][2 * l], sum[r][2 * l + 1], out + r * dim + 32 * l);
    }
  }
}

/// out[Rows][dim] = sum over keys of weight * value; weights as PairPanel::softmax() leaves them.
template <int Rows, int Lines = direct_pair_lines(Rows)>
inline void direct_pair_weigh(const float* weights, const ChunkRows& chunk, KeyRange keys, int dim,
                              const Prefetcher& ahead, float* out, int at = 0) {
  for (; at + 32 * Lines <= dim; at += 32 * Lines) {
    direct_pair_value_tile<Rows, Lines>(weights, chunk, keys, at, dim, ahead, out + at);
  }
  if constexpr (Lines > 1) {
    direct_pair_weigh<Rows, Lines / 2>(weights, chunk, keys, dim, ahead, out, at);
  }
}

}  // namespace treeward::TREEWARD_ISA
