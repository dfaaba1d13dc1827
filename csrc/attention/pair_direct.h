// The two products of few rows with bf16 keys and values as they lie in the pool: float_direct.h
// with pairs, and with the chains of PairPanel. Included by the file of AVX-512 BF16, after its
// Vec.
#pragma once

#include "attention/chunk_rows.h"
#include "attention/pair_elements.h"
#include "attention/unroll.h"

namespace treeward::TREEWARD_ISA {

/// Blocks of 16 keys done side by side, so that additions need not wait for one another.
inline constexpr int kDirectPairBlocks = 2;

/// How often the two functions below advance the prefetcher.
inline int direct_pair_key_calls(int dim) { return kChunkTokens / 16 * (dim / 8); }
inline int direct_pair_value_calls(int dim) { return kChunkTokens / 2 * (dim / 32); }

/// Scaled scores [Rows][kChunkTokens], at least those of the range.
template <int Rows>
inline void direct_pair_scores(const Bf16* const* query, const ChunkRows& chunk, KeyRange keys,
                               int dim, float scale, Prefetcher& ahead, float* out) {
  constexpr int kBlocks = kDirectPairBlocks, kStep = kBlocks * 16;
  const __m512 factor = _mm512_set1_ps(scale);
  for (int at = keys.begin / kStep * kStep; at < keys.end; at += kStep) {
    const char* room[kStep];
    const char* const* rows = block_of_keys(chunk, at, keys, room);
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
        ahead.advance();
        Vec::load_words(rows + b * 16, d * static_cast<int>(sizeof(Bf16)), columns[b]);
      }
      TREEWARD_UNROLL
      for (int i = 0; i < 4; ++i) {
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

/// out[Rows][32] of a row of `dim` = sum over keys of weight * value, from element `at` on.
template <int Rows>
inline void direct_pair_value_tile(const float* weights, const ChunkRows& chunk, KeyRange keys,
                                   int at, int dim, const Interleave& interleave, Prefetcher& ahead,
                                   float* out) {
  __m512 sum[Rows][2];
  TREEWARD_UNROLL
  for (int r = 0; r < Rows; ++r) sum[r][0] = sum[r][1] = _mm512_setzero_ps();
  const auto add = [&](int token, __m512i first, __m512i second) __attribute__((always_inline)) {
    const __m512i low = interleave.low(first, second), high = interleave.high(first, second);
    TREEWARD_UNROLL
    for (int r = 0; r < Rows; ++r) {
      const Bf16* row = reinterpret_cast<const Bf16*>(weights + r * kChunkTokens);
      const __m512i weight = _mm512_set1_epi32(static_cast<int>(load_pair(row + token)));
      sum[r][0] = _mm512_dpbf16_ps(sum[r][0], as_pairs(weight), as_pairs(low));
      sum[r][1] = _mm512_dpbf16_ps(sum[r][1], as_pairs(weight), as_pairs(high));
    }
  };
  const auto load = [&](int token) { return _mm512_loadu_si512(chunk.value<Bf16>(token) + at); };
  const __m512i none = _mm512_setzero_si512();  // for a token outside the range
  int token = keys.begin;
  if (token % 2 == 1 && token < keys.end) {
    add(token - 1, none, load(token));
    ++token;
  }
  for (; token + 2 <= keys.end; token += 2) {
    ahead.advance();
    add(token, load(token), load(token + 1));
  }
  if (token < keys.end) add(token, load(token), none);
  TREEWARD_UNROLL
  for (int r = 0; r < Rows; ++r) {
    _mm512_storeu_ps(out + r * dim, sum[r][0]);
    _mm512_storeu_ps(out + r * dim + 16, sum[r][1]);
  }
}

/// out[Rows][dim] = sum over keys of weight * value; weights as PairPanel::softmax() leaves them.
template <int Rows>
inline void direct_pair_weigh(const float* weights, const ChunkRows& chunk, KeyRange keys, int dim,
                              Prefetcher& ahead, float* out) {
  const Interleave interleave;
  for (int at = 0; at < dim; at += 32) {
    direct_pair_value_tile<Rows>(weights, chunk, keys, at, dim, interleave, ahead, out + at);
  }
}

}  // namespace treeward::TREEWARD_ISA
