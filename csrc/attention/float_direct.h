// The two products of few rows with keys and values as they lie in the pool.
// Included by the file of one instruction set, after its Vec.
//
// Packing a chunk pays off when many rows use it. A few rows take the transposed keys from the
// registers in which they come about, and are done with them:
//
//     keys   16 rows x 4 dims  ->  4 columns  ->  scores of 16 keys, all query rows
//     values one row           ->  vectors    ->  sums of all query rows
//
// Each score and each output is the same chain of multiply-adds as in FloatPanel, so it has the
// same bits.
#pragma once

#include "attention/chunk_rows.h"
#include "attention/elements.h"
#include "attention/prefetcher.h"
#include "attention/unroll.h"

namespace treeward::TREEWARD_ISA {

/// Blocks of keys done side by side, so that additions wait less for one another. Never more than
/// two: rows of keys lie at like places, and more of them push each other out of the first level
/// cache.
inline constexpr int direct_blocks(int64_t n_rows) { return n_rows <= 4 ? 2 : 1; }

/// Scaled scores [Rows][kChunkTokens], at least those of the range.
template <int Rows, class T>
inline void direct_scores(const float* const* query, const ChunkRows& chunk, KeyRange keys, int dim,
                          float scale, Prefetcher& ahead, float* out) {
  constexpr int kWidth = Vec::kWidth, kColumns = Vec::template kColumns<T>;
  constexpr int kBlocks = direct_blocks(Rows), kStep = kBlocks * kWidth;
  constexpr int kBytes = kStep * static_cast<int>(sizeof(T));  // of a column
  const Vec::Reg factor = Vec::set1(scale);
  for (int at = keys.begin / kStep * kStep; at < keys.end; at += kStep) {
    const char* room[kStep];
    const char* const* rows = block_of_keys(chunk, at, keys, room);
    auto ahead_of_keys = ahead.key_block(at, kStep);
    Vec::Reg sum[Rows][kBlocks];
    TREEWARD_UNROLL
    for (int r = 0; r < Rows; ++r) {
      TREEWARD_UNROLL
      for (int b = 0; b < kBlocks; ++b) sum[r][b] = Vec::set1(0.0f);
    }
    for (int d = 0; d < dim; d += kColumns) {
      Vec::Reg columns[kBlocks][kColumns];
      TREEWARD_UNROLL
      for (int b = 0; b < kBlocks; ++b) {
        Vec::template load_columns<T>(rows + b * kWidth, d, columns[b]);
      }
      TREEWARD_UNROLL
      for (int i = 0; i < kColumns; ++i) {
        ahead_of_keys.template ask<kBytes>();
        TREEWARD_UNROLL
        for (int r = 0; r < Rows; ++r) {
          const Vec::Reg q = Vec::set1(query[r][d + i]);
          TREEWARD_UNROLL
          for (int b = 0; b < kBlocks; ++b) sum[r][b] = Vec::fma(q, columns[b][i], sum[r][b]);
        }
      }
    }
    TREEWARD_UNROLL
    for (int r = 0; r < Rows; ++r) {
      TREEWARD_UNROLL
      for (int b = 0; b < kBlocks; ++b) {
        Vec::store(out + r * kChunkTokens + at + b * kWidth, Vec::mul(sum[r][b], factor));
      }
    }
  }
}

/// out[Rows][Vectors] of a row of `dim` = sum over keys of weight * value, from element `at` on.
template <int Rows, int Vectors, class T>
inline void direct_value_tile(const float* weights, const ChunkRows& chunk, KeyRange keys, int at,
                              int dim, const Prefetcher& ahead, float* out) {
  constexpr int kWidth = Vec::kWidth, kBytes = kWidth * static_cast<int>(sizeof(T));
  const Prefetcher::Values next = ahead.values();
  Vec::Reg sum[Rows][Vectors];
  TREEWARD_UNROLL
  for (int r = 0; r < Rows; ++r) {
    TREEWARD_UNROLL
    for (int v = 0; v < Vectors; ++v) sum[r][v] = Vec::set1(0.0f);
  }
  for (int key = keys.begin; key < keys.end; ++key) {
    const T* row = chunk.value<T>(key) + at;
    const char* row_ahead = next.of(key);
    Vec::Reg value[Vectors];
    TREEWARD_UNROLL
    for (int v = 0; v < Vectors; ++v) {
      value[v] = Vec::load(row + v * kWidth);
    }
    TREEWARD_UNROLL
    for (int r = 0; r < Rows; ++r) {
      const Vec::Reg weight = Vec::set1(weights[r * kChunkTokens + key]);
      TREEWARD_UNROLL
      for (int v = 0; v < Vectors; ++v) {  // one line, then some products, then the next
        const bool now = r == v * Rows / Vectors && v * kBytes % Prefetcher::kLine == 0;
        if (now) next.ask(row_ahead, at * sizeof(T) + v * kBytes);
      }
      TREEWARD_UNROLL
      for (int v = 0; v < Vectors; ++v) sum[r][v] = Vec::fma(weight, value[v], sum[r][v]);
    }
  }
  TREEWARD_UNROLL
  for (int r = 0; r < Rows; ++r) {
    TREEWARD_UNROLL
    for (int v = 0; v < Vectors; ++v) Vec::store(out + r * dim + v * kWidth, sum[r][v]);
  }
}

/// Vectors of a value that are done side by side: as many as leave their sums in registers, for
/// each pass over the values costs their addresses again.
inline constexpr int direct_vectors(int n_rows) {
  int vectors = 8;
  while (vectors > 1 && (n_rows + 1) * vectors + 1 > Vec::kRegisters) vectors /= 2;
  return vectors;
}

/// out[Rows][dim] = sum over keys of weight * value.
template <int Rows, class T, int Vectors = direct_vectors(Rows)>
inline void direct_weigh(const float* weights, const ChunkRows& chunk, KeyRange keys, int dim,
                         const Prefetcher& ahead, float* out, int at = 0) {
  constexpr int kStep = Vectors * Vec::kWidth;
  for (; at + kStep <= dim; at += kStep) {
    direct_value_tile<Rows, Vectors, T>(weights, chunk, keys, at, dim, ahead, out + at);
  }
  if constexpr (Vectors > 1) {
    direct_weigh<Rows, T, Vectors / 2>(weights, chunk, keys, dim, ahead, out, at);
  }
}

}  // namespace treeward::TREEWARD_ISA
