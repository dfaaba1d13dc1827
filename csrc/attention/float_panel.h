// The keys and values of one chunk as floats, and the two products with them.
// Included by the file of one instruction set, after its Vec. Nothing here may call an inline
// function of another header: the linker could keep the copy compiled for this set.
//
//     keys    [dim][kChunkTokens]  transposed: a score needs no horizontal sum, no dim has a tail
//     values  [n_tokens] -> [dim_padded]  rows where they lie, or copies
//
// A row's arithmetic never depends on its neighbours in the tile: each score is one chain of
// multiply-adds along dim, each output one chain along the row's visible keys.
#pragma once

#include "attention/chunk_rows.h"
#include "attention/elements.h"
#include "attention/float_direct.h"
#include "attention/kernels.h"
#include "attention/prefetcher.h"
#include "attention/softmax.h"
#include "attention/sums.h"
#include "attention/unroll.h"

namespace treeward::TREEWARD_ISA {

template <class T>
class FloatPanel {
 public:
  using Element = T;
  /// Key ranges that rows do together begin and end at multiples of this.
  static constexpr int kKeyStep = 1;

  FloatPanel(const KvLayer& layer, int dim_padded, float* room, Prefetcher& ahead)
      : dim_(layer.head_dim), padded_(dim_padded), ahead_(ahead) {
    keys_ = room;
    copies_ = keys_ + kChunkTokens * padded_;
    queries_ = copies_ + kChunkTokens * padded_;
  }

  /// How often gather() and a tile of few rows advance the prefetcher.
  int gather_calls() const { return kChunkTokens / Vec::kWidth * (dim_ / kColumns); }
  int tile_calls() const { return dim_ + kChunkTokens; }

  /// Packs the keys and values of the range; what is left holds anything finite.
  void gather(const ChunkRows& rows, KeyRange seen) {
    for (int i = seen.begin; i < seen.end; ++i) {
      const T* value = rows.value<T>(i);
      if constexpr (sizeof(T) == sizeof(float)) {
        if (dim_ == padded_) {
          values_[i] = value;
          continue;
        }
      }
      copy_padded(value, dim_, padded_, copies_ + i * padded_);
      values_[i] = copies_ + i * padded_;
    }
    pack_keys(rows, seen);
  }

  void set_query(int row, const T* query) {
    if constexpr (sizeof(T) == sizeof(float)) {
      query_[row] = query;
    } else {
      copy_padded(query, dim_, dim_, queries_ + row * padded_);
      query_[row] = queries_ + row * padded_;
    }
  }

  /// Whether so few rows are better off with keys and values as they lie in the pool.
  bool reads_directly(int64_t n_rows) const { return n_rows <= kMostDirect && dim_ == padded_; }

  /// As scores() and weigh() of all rows, which see the same keys, without gather().
  template <int Rows>
  void direct_scores(const ChunkRows& chunk, KeyRange keys, float scale, float* out) {
    treeward::TREEWARD_ISA::direct_scores<Rows, T>(query_, chunk, keys, dim_, scale, ahead_, out);
  }
  template <int Rows>
  void direct_weigh(const ChunkRows& chunk, const float* weights, KeyRange keys, float* out) {
    treeward::TREEWARD_ISA::direct_weigh<Rows, T>(weights, chunk, keys, dim_, ahead_, out);
    ahead_.asked_for_values(keys);
  }

  /// Scaled scores of `Rows` queries, [Rows][kChunkTokens], at least those of the range.
  template <int Rows>
  void scores(int first_row, KeyRange keys, float scale, float* out) const {
    constexpr int kStep = Vec::kScoreBlocks * Vec::kWidth;
    for (int at = keys.begin / kStep * kStep; at < keys.end; at += kStep) {
      score_tile<Rows>(query_ + first_row, at, scale, out + at);
    }
  }

  void softmax(float* scores, int n, const KeyRange* keys, float softcap, float* max,
               float* sum) const {
    softmax_rows(scores, n, keys, softcap, max, sum, [](float* row, KeyRange seen, float largest) {
      return exp_weights(row, seen, largest);
    });
  }

  /// Adds weight * value over the keys to the sums of `Rows` rows.
  template <int Rows, class Sums>
  void weigh(const float* weights, KeyRange keys, const Sums& sums) const {
    constexpr int kWidth = Vec::kWidth, kMost = Vec::kValueVectors;
    int at = 0;
    for (; at + kMost * kWidth <= padded_; at += kMost * kWidth) {
      value_tile<Rows, kMost>(weights, keys, at, sums);
    }
    for (; at < padded_; at += kWidth) value_tile<Rows, 1>(weights, keys, at, sums);
  }

 private:
  static constexpr int kColumns = Vec::template kColumns<T>;

  /// A token outside the range is a copy of one inside, and its score is hidden later.
  void pack_keys(const ChunkRows& chunk, KeyRange range) {
    constexpr int kWidth = Vec::kWidth, kStep = Vec::kScoreBlocks * kWidth;
    const int begin = range.begin / kStep * kStep;
    const int end = (range.end + kStep - 1) / kStep * kStep;
    for (int first = begin; first < end; first += kWidth) {
      const char* room[kWidth];
      const char* const* rows = block_of_keys(chunk, first, range, room);
      float* out = keys_ + first;
      int d = 0;
      for (; d + kColumns <= dim_; d += kColumns) {
        Vec::Reg columns[kColumns];
        Vec::template load_columns<T>(rows, d, columns);
        ahead_.advance();
        TREEWARD_UNROLL
        for (int i = 0; i < kColumns; ++i) Vec::store(out + (d + i) * kChunkTokens, columns[i]);
      }
      for (; d < dim_; ++d) {
        for (int i = 0; i < kWidth; ++i) {
          out[d * kChunkTokens + i] = to_float(reinterpret_cast<const T*>(rows[i])[d]);
        }
      }
    }
  }

  template <int Rows>
  void score_tile(const float* const* query, int at, float scale, float* out) const {
    constexpr int kWidth = Vec::kWidth, kBlocks = Vec::kScoreBlocks;
    Vec::Reg sum[Rows][kBlocks];
    TREEWARD_UNROLL
    for (int r = 0; r < Rows; ++r) {
      TREEWARD_UNROLL
      for (int b = 0; b < kBlocks; ++b) sum[r][b] = Vec::set1(0.0f);
    }
    const float* from = keys_ + at;
    for (int d = 0; d < dim_; ++d, from += kChunkTokens) {
      Vec::Reg key[kBlocks];
      TREEWARD_UNROLL
      for (int b = 0; b < kBlocks; ++b) key[b] = Vec::load(from + b * kWidth);
      if constexpr (Rows < kTileRows) ahead_.advance(d);
      TREEWARD_UNROLL
      for (int r = 0; r < Rows; ++r) {
        const Vec::Reg q = Vec::set1(query[r][d]);
        TREEWARD_UNROLL
        for (int b = 0; b < kBlocks; ++b) sum[r][b] = Vec::fma(q, key[b], sum[r][b]);
      }
    }
    const Vec::Reg factor = Vec::set1(scale);
    TREEWARD_UNROLL
    for (int r = 0; r < Rows; ++r) {
      TREEWARD_UNROLL
      for (int b = 0; b < kBlocks; ++b) {
        Vec::store(out + r * kChunkTokens + b * kWidth, Vec::mul(sum[r][b], factor));
      }
    }
  }

  template <int Rows, int Vectors, class Sums>
  void value_tile(const float* weights, KeyRange keys, int at, const Sums& sums) const {
    constexpr int kWidth = Vec::kWidth;
    Vec::Reg sum[Rows][Vectors];
    sums.begin(at, sum);
    for (int key = keys.begin; key < keys.end; ++key) {
      Vec::Reg value[Vectors];
      TREEWARD_UNROLL
      for (int v = 0; v < Vectors; ++v) value[v] = Vec::load(values_[key] + at + v * kWidth);
      if constexpr (Rows < kTileRows) ahead_.advance(key);
      TREEWARD_UNROLL
      for (int r = 0; r < Rows; ++r) {
        const Vec::Reg weight = Vec::set1(weights[r * kChunkTokens + key]);
        TREEWARD_UNROLL
        for (int v = 0; v < Vectors; ++v) sum[r][v] = Vec::fma(weight, value[v], sum[r][v]);
      }
    }
    sums.end(at, sum);
  }

  const int dim_, padded_;
  Prefetcher& ahead_;
  float *keys_, *copies_, *queries_;
  const float* values_[kChunkTokens];
  const float* query_[kRowGroup];
};

}  // namespace treeward::TREEWARD_ISA
