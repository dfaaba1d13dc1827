// The kernel of one chunk: scores, softmax and weighted values of a task's rows.
// Included by the file of one instruction set, after its Vec. Nothing here may call an inline
// function of another header: the linker could keep the copy compiled for this set.
//
// A row's arithmetic never depends on its neighbours in the register block: each score is one
// chain of multiply-adds along head_dim, each output one chain along the row's visible keys.
#pragma once

#include "attention/elements.h"
#include "attention/kernels.h"
#include "attention/vector_math.h"

// Loops over registers: an array of them that is not unrolled away would live in memory.
#if defined(__clang__)
#define TREEWARD_UNROLL _Pragma("unroll")
#else
#define TREEWARD_UNROLL _Pragma("GCC unroll 16")
#endif

namespace treeward::TREEWARD_ISA {

constexpr float kMinusInfinity = -__builtin_inff();

/// Keys [begin, end) of a chunk; begin >= end: none.
struct KeyRange {
  int begin, end;
  bool empty() const { return begin >= end; }
};

inline int clamp(int64_t x, int low, int high) {
  return x < low ? low : x > high ? high : static_cast<int>(x);
}

/// Keys of the chunk that a row at position `at` sees.
inline KeyRange visible_keys(int64_t at, int64_t first, int n_tokens, int32_t window) {
  const int end = clamp(at - first + 1, 0, n_tokens);
  const int begin = window > 0 ? clamp(at - window + 1 - first, 0, n_tokens) : 0;
  return {begin, end};
}

/// Transposes keys into blocks of Vec::kWidth tokens, [block][head_dim][token], as floats: a score
/// needs no horizontal sum then, and any head_dim has no tail. Fills the blocks that hold the keys
/// of the range; a token outside it is a copy of one inside, and its score is hidden later.
template <class T>
inline void pack_keys(const T* const* keys, KeyRange range, int dim, float* to) {
  constexpr int kWidth = Vec::kWidth;
  for (int first = range.begin / kWidth * kWidth; first < range.end; first += kWidth) {
    const T* rows[kWidth];
    for (int i = 0; i < kWidth; ++i) {
      rows[i] = keys[clamp(first + i, range.begin, range.end - 1)];
    }
    float* out = to + static_cast<int64_t>(first) * dim;
    int d = 0;
    for (; d + kWidth <= dim; d += kWidth) {
      Vec::Reg tile[kWidth];
      TREEWARD_UNROLL
      for (int i = 0; i < kWidth; ++i) tile[i] = Vec::load(rows[i] + d);
      Vec::transpose(tile);
      TREEWARD_UNROLL
      for (int i = 0; i < kWidth; ++i) Vec::store(out + (d + i) * kWidth, tile[i]);
    }
    for (; d < dim; ++d) {
      for (int i = 0; i < kWidth; ++i) out[d * kWidth + i] = to_float(rows[i][d]);
    }
  }
}

/// Scaled scores of `Rows` queries with `Blocks` blocks of packed keys.
template <int Rows, int Blocks>
inline void score_tile(const float* query, int stride, const float* keys, int dim, float scale,
                       float* scores) {
  constexpr int kWidth = Vec::kWidth;
  Vec::Reg sum[Rows][Blocks];
  TREEWARD_UNROLL
  for (int r = 0; r < Rows; ++r) {
    TREEWARD_UNROLL
    for (int b = 0; b < Blocks; ++b) sum[r][b] = Vec::set1(0.0f);
  }
  for (int d = 0; d < dim; ++d) {
    Vec::Reg key[Blocks];
    TREEWARD_UNROLL
    for (int b = 0; b < Blocks; ++b) key[b] = Vec::load(keys + (b * dim + d) * kWidth);
    TREEWARD_UNROLL
    for (int r = 0; r < Rows; ++r) {
      const Vec::Reg q = Vec::set1(query[r * stride + d]);
      TREEWARD_UNROLL
      for (int b = 0; b < Blocks; ++b) sum[r][b] = Vec::fma(q, key[b], sum[r][b]);
    }
  }
  TREEWARD_UNROLL
  for (int r = 0; r < Rows; ++r) {
    TREEWARD_UNROLL
    for (int b = 0; b < Blocks; ++b) {
      Vec::store(scores + r * kChunkTokens + b * kWidth, Vec::mul(sum[r][b], Vec::set1(scale)));
    }
  }
}

template <int Rows>
inline void score_blocks(const float* query, int stride, const float* keys, int begin, int end,
                         int dim, float scale, float* scores) {
  constexpr int kWidth = Vec::kWidth;
  constexpr int kMost = Vec::kScoreBlocks;
  int b = begin;
  for (; b + kMost <= end; b += kMost) {
    score_tile<Rows, kMost>(query, stride, keys + b * dim * kWidth, dim, scale,
                            scores + b * kWidth);
  }
  if constexpr (kMost > 2) {
    for (; b + 2 <= end; b += 2) {
      score_tile<Rows, 2>(query, stride, keys + b * dim * kWidth, dim, scale, scores + b * kWidth);
    }
  }
  for (; b < end; ++b) {
    score_tile<Rows, 1>(query, stride, keys + b * dim * kWidth, dim, scale, scores + b * kWidth);
  }
}

/// Turns the scores of one row into weights exp(score - max). Keys outside the range weigh 0, and
/// adding 0 changes nothing, so the sum is that of the visible keys alone.
inline void softmax_row(float* scores, KeyRange keys, float softcap, float* max, float* sum) {
  constexpr int kWidth = Vec::kWidth;
  const int begin = keys.begin / kWidth * kWidth;
  const Vec::Reg first_key = Vec::set1(static_cast<float>(keys.begin));
  const Vec::Reg end_key = Vec::set1(static_cast<float>(keys.end));
  const Vec::Reg hidden = Vec::set1(kMinusInfinity);
  const Vec::Reg cap = Vec::set1(softcap);
  Vec::Reg largest = hidden;
  for (int i = begin; i < keys.end; i += kWidth) {
    Vec::Reg score = Vec::load(scores + i);
    if (softcap != 0.0f) score = Vec::mul(cap, tanh(Vec::div(score, cap)));
    const Vec::Reg key = Vec::add(Vec::iota(), Vec::set1(static_cast<float>(i)));
    score = Vec::where_less(key, first_key, hidden, score);
    score = Vec::where_less(key, end_key, score, hidden);
    Vec::store(scores + i, score);
    largest = Vec::max(largest, score);
  }
  *max = Vec::reduce_max(largest);
  const Vec::Reg shift = Vec::set1(*max);
  Vec::Reg total = Vec::set1(0.0f);
  for (int i = begin; i < keys.end; i += kWidth) {
    const Vec::Reg weight = exp_nonpositive(Vec::sub(Vec::load(scores + i), shift));
    Vec::store(scores + i, weight);
    total = Vec::add(total, weight);
  }
  *sum = Vec::reduce_add(total);
}

/// out[r] += sum over keys of weight * value, for `Vectors` vectors of head_dim.
template <int Rows, int Vectors>
inline void value_tile(const float* weights, const float* const* values, KeyRange keys, int at,
                       float* const* out) {
  constexpr int kWidth = Vec::kWidth;
  Vec::Reg sum[Rows][Vectors];
  TREEWARD_UNROLL
  for (int r = 0; r < Rows; ++r) {
    TREEWARD_UNROLL
    for (int v = 0; v < Vectors; ++v) sum[r][v] = Vec::load(out[r] + at + v * kWidth);
  }
  for (int key = keys.begin; key < keys.end; ++key) {
    Vec::Reg value[Vectors];
    TREEWARD_UNROLL
    for (int v = 0; v < Vectors; ++v) value[v] = Vec::load(values[key] + at + v * kWidth);
    TREEWARD_UNROLL
    for (int r = 0; r < Rows; ++r) {
      const Vec::Reg weight = Vec::set1(weights[r * kChunkTokens + key]);
      TREEWARD_UNROLL
      for (int v = 0; v < Vectors; ++v) sum[r][v] = Vec::fma(weight, value[v], sum[r][v]);
    }
  }
  TREEWARD_UNROLL
  for (int r = 0; r < Rows; ++r) {
    TREEWARD_UNROLL
    for (int v = 0; v < Vectors; ++v) Vec::store(out[r] + at + v * kWidth, sum[r][v]);
  }
}

template <int Rows>
inline void value_tiles(const float* weights, const float* const* values, KeyRange keys,
                        int dim_padded, float* const* out) {
  constexpr int kWidth = Vec::kWidth;
  constexpr int kMost = Vec::kValueVectors;
  if (keys.empty()) return;
  int at = 0;
  for (; at + kMost * kWidth <= dim_padded; at += kMost * kWidth) {
    value_tile<Rows, kMost>(weights, values, keys, at, out);
  }
  if constexpr (kMost > 2) {
    for (; at + 2 * kWidth <= dim_padded; at += 2 * kWidth) {
      value_tile<Rows, 2>(weights, values, keys, at, out);
    }
  }
  for (; at < dim_padded; at += kWidth) value_tile<Rows, 1>(weights, values, keys, at, out);
}

/// A task's packed keys and values, and the room for one block of rows.
struct ChunkMemory {
  const float* keys;           // [block of tokens][head_dim][token]
  const float* const* values;  // [n_tokens] rows of padded head_dim
  float* query;                // [kRowBlock][dim_padded]
  float* scores;               // [kRowBlock][kChunkTokens]
};

/// States of `Rows` row-heads, from row-head `first` of the task on.
template <class T, int Rows>
inline void row_block(const ChunkCall& call, const ChunkTask& task, int32_t kv_head, int64_t first,
                      const ChunkMemory& memory) {
  constexpr int kWidth = Vec::kWidth;
  const PartialStates& states = call.states;
  const int dim = call.layer.head_dim, dim_padded = states.dim_padded;
  KeyRange keys[Rows];
  float* out[Rows];
  int64_t state[Rows];
  KeyRange all{kChunkTokens, 0}, common{0, kChunkTokens};
  for (int r = 0; r < Rows; ++r) {
    const int64_t row = (first + r) / call.group;
    const int32_t head = kv_head * call.group + static_cast<int32_t>((first + r) % call.group);
    keys[r] = visible_keys(call.query_position[task.row_begin + row], task.position, task.n_tokens,
                           call.params.window);
    state[r] = (task.place + row) * states.n_heads + head - states.head_begin;
    out[r] = states.values + state[r] * dim_padded;
    if (!keys[r].empty()) {
      all.begin = keys[r].begin < all.begin ? keys[r].begin : all.begin;
      all.end = keys[r].end > all.end ? keys[r].end : all.end;
    }
    common.begin = keys[r].begin > common.begin ? keys[r].begin : common.begin;
    common.end = keys[r].end < common.end ? keys[r].end : common.end;
    const T* query = static_cast<const T*>(call.query.data) +
                     (task.row_begin + row) * call.query.row_stride + head * call.query.head_stride;
    copy_padded(query, dim, dim, memory.query + r * dim_padded);
  }
  if (!all.empty()) {
    score_blocks<Rows>(memory.query, dim_padded, memory.keys, all.begin / kWidth,
                       (all.end + kWidth - 1) / kWidth, dim, call.params.scale, memory.scores);
  }
  for (int r = 0; r < Rows; ++r) {
    states.max[state[r]] = kMinusInfinity;
    states.sum[state[r]] = 0.0f;
    if (keys[r].empty()) continue;
    softmax_row(memory.scores + r * kChunkTokens, keys[r], call.params.softcap,
                &states.max[state[r]], &states.sum[state[r]]);
    for (int d = 0; d < dim_padded; d += kWidth) Vec::store(out[r] + d, Vec::set1(0.0f));
  }
  // Keys that all rows see are done together, the rest row by row, each row in rising order.
  if (common.empty()) common = {kChunkTokens, kChunkTokens};
  for (int r = 0; r < Rows; ++r) {
    const int end = keys[r].end < common.begin ? keys[r].end : common.begin;
    value_tiles<1>(memory.scores + r * kChunkTokens, memory.values, {keys[r].begin, end},
                   dim_padded, out + r);
  }
  value_tiles<Rows>(memory.scores, memory.values, common, dim_padded, out);
  for (int r = 0; r < Rows; ++r) {
    value_tiles<1>(memory.scores + r * kChunkTokens, memory.values, {common.end, keys[r].end},
                   dim_padded, out + r);
  }
}

/// Gathers what the rows of the task see of the chunk, then runs blocks of rows over it.
template <class T>
void chunk(const ChunkCall& call, const ChunkTask& task, int32_t kv_head, float* workspace) {
  const KvLayer& layer = call.layer;
  const int dim = layer.head_dim, dim_padded = call.states.dim_padded;
  float* packed_keys = workspace;
  float* packed_values = packed_keys + static_cast<int64_t>(kChunkTokens) * dim_padded;
  float* query = packed_values + static_cast<int64_t>(kChunkTokens) * dim_padded;
  float* scores = query + static_cast<int64_t>(kRowBlock) * dim_padded;

  KeyRange seen{kChunkTokens, 0};
  for (int32_t row = task.row_begin; row < task.row_end; ++row) {
    const KeyRange keys =
        visible_keys(call.query_position[row], task.position, task.n_tokens, call.params.window);
    if (keys.empty()) continue;
    seen.begin = keys.begin < seen.begin ? keys.begin : seen.begin;
    seen.end = keys.end > seen.end ? keys.end : seen.end;
  }
  const T* key_rows[kChunkTokens];
  const float* value_rows[kChunkTokens];
  for (int i = seen.begin; i < seen.end; ++i) {
    const int64_t offset = slot_offset(layer, task.slots[i], kv_head);
    key_rows[i] = static_cast<const T*>(layer.keys) + offset;
    const T* value = static_cast<const T*>(layer.values) + offset;
    if constexpr (sizeof(T) == sizeof(float)) {
      if (dim == dim_padded) {
        value_rows[i] = value;
        continue;
      }
    }
    copy_padded(value, dim, dim_padded, packed_values + i * dim_padded);
    value_rows[i] = packed_values + i * dim_padded;
  }
  pack_keys(key_rows, seen, dim, packed_keys);

  const ChunkMemory memory{packed_keys, value_rows, query, scores};
  const int64_t n = static_cast<int64_t>(task.row_end - task.row_begin) * call.group;
  int64_t first = 0;
  for (; first + kRowBlock <= n; first += kRowBlock) {
    row_block<T, kRowBlock>(call, task, kv_head, first, memory);
  }
  if (n - first == 3) row_block<T, 3>(call, task, kv_head, first, memory);
  if (n - first == 2) row_block<T, 2>(call, task, kv_head, first, memory);
  if (n - first == 1) row_block<T, 1>(call, task, kv_head, first, memory);
}

}  // namespace treeward::TREEWARD_ISA

#undef TREEWARD_UNROLL
