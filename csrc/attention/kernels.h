// What the driver hands to the kernels of one instruction set. Only plain data crosses here.
#pragma once

#include <cstdint>

#include "attention/plan.h"
#include "attention/types.h"

namespace treeward {

/// Partial states pad head_dim to this many floats, so that no kernel needs a tail there.
inline constexpr int kDimPadding = 16;

/// State of (partial, head of the pass): index partial * n_heads + head.
///
///     max     largest score seen, -inf when the row sees no key of the chunk
///     sum     sum of exp(score - max)
///     values  [dim_padded] sum of exp(score - max) * value
struct PartialStates {
  float* max;
  float* sum;
  float* values;
  int32_t n_heads;     // query heads of the pass
  int32_t head_begin;  // first of them
  int32_t dim_padded;
};

/// What all chunks of a pass share.
struct ChunkCall {
  KvLayer layer;
  ConstRows query;
  const int32_t* query_position;
  AttentionParams params;
  int32_t group;  // query heads of one key-value head
  PartialStates states;
};

/// Rows x one chunk; run once for each key-value head of the pass.
struct ChunkTask {
  const int32_t* slots;
  int32_t n_tokens, position;
  int32_t row_begin, row_end;
  int32_t place;  // where the state of row_begin lies
};

/// What all merges of a pass share.
struct MergeCall {
  PartialStates states;
  const int32_t* reduce_begin;
  const int32_t* reduce_partials;
  const int32_t* place_of_partial;  // [n_partials]
  Rows out;
  int32_t head_dim;
};

/// Kernels of one instruction set, indexed by ElementType. `workspace` holds workspace_floats().
struct AttentionKernels {
  void (*chunk[2])(const ChunkCall& call, const ChunkTask& task, int32_t kv_head, float* workspace);
  void (*merge[2])(const MergeCall& call, int32_t row, float* workspace);
};

inline constexpr int32_t padded_dim(int32_t head_dim) {
  return (head_dim + kDimPadding - 1) / kDimPadding * kDimPadding;
}

/// Rows (times heads) that a chunk kernel keeps in registers together.
inline constexpr int kRowBlock = 4;

/// A thread's workspace: packed keys, packed values, queries and scores of a row block.
inline constexpr int64_t workspace_floats(int32_t head_dim) {
  return static_cast<int64_t>(padded_dim(head_dim)) * (2 * kChunkTokens + kRowBlock) +
         kRowBlock * kChunkTokens;
}

namespace isa_scalar {
AttentionKernels attention_kernels();
}
namespace isa_avx2 {
AttentionKernels attention_kernels();
}
namespace isa_avx512 {
AttentionKernels attention_kernels();
}

}  // namespace treeward
