// What the driver hands to the kernels of one instruction set. Only plain data crosses here.
#pragma once

#include <cstdint>

#include "attention/plan.h"
#include "attention/types.h"

namespace treeward {

/// Partial states pad head_dim to this many floats, so that no kernel needs a tail there.
inline constexpr int kDimPadding = 16;

/// States of a pass, those of a key-value head side by side, so that a thread that does the chunks
/// of a head, and then merges them, shares no cache line with the others:
///
///     index   (kv head of the pass * n_places + place) * group + query head of the kv head
///
///     max     largest score seen, -inf when the row sees no key
///     sum     sum of exp(score - max)
///     values  [dim_padded] sum of exp(score - max) * value
struct PartialStates {
  float* max;
  float* sum;
  float* values;
  int32_t n_places;
  int32_t group;       // query heads of one key-value head
  int32_t head_begin;  // first key-value head of the pass
  int32_t dim_padded;
};

/// The keys of one chunk: consecutive positions, anywhere in the pool.
struct ChunkKeys {
  int32_t slot_begin, n_tokens;  // slice of Plan::slots
  int32_t position;
};

/// Rows x consecutive chunks, which become one state a row.
struct ChunkRun {
  int32_t chunk_begin, chunk_end;
  int32_t row_begin, row_end;
  int32_t place;  // where the state of row_begin lies
};

/// Runs [begin, end), done one after the other; once for each key-value head of the pass.
struct ChunkTask {
  int32_t begin, end;
};

/// A task for one key-value head.
struct HeadTask {
  ChunkTask runs;
  int32_t kv_head;
};

/// What all chunks of a pass share.
struct ChunkCall {
  KvLayer layer;
  ConstRows query;
  const int32_t* query_position;
  AttentionParams params;
  int32_t group;  // query heads of one key-value head
  PartialStates states;
  const ChunkRun* runs;
  const ChunkKeys* chunks;
  const int32_t* slots;
};

/// A state that a row merges.
struct MergeEntry {
  int32_t place;
  bool first_of_segment;
};

/// What all merges of a pass share.
struct MergeCall {
  PartialStates states;
  const int32_t* begin;  // row r of the pass merges entries [begin[r], begin[r + 1])
  const MergeEntry* entries;
  int32_t first_row;
  Rows out;
  int32_t head_dim;
};

/// Kernels of one instruction set, indexed by ElementType. `workspace` holds workspace_floats().
struct AttentionKernels {
  void (*chunks[2])(const ChunkCall& call, const HeadTask& task, const HeadTask& next,
                    float* workspace);
  void (*merge[2])(const MergeCall& call, int32_t row, int32_t kv_head, float* workspace);
};

inline constexpr int32_t padded_dim(int32_t head_dim) {
  return (head_dim + kDimPadding - 1) / kDimPadding * kDimPadding;
}

/// Rows (times heads) that a chunk kernel keeps in registers together.
inline constexpr int kTileRows = 6;

/// Rows (times heads) at most that read keys and values where they lie: their sums fit the
/// registers.
inline constexpr int kMostDirect = 8;

/// Rows (times heads) whose scores it keeps in the first level cache beside the chunk's keys.
inline constexpr int kRowGroup = 24;

/// A thread's workspace: scores and sums of a group of rows, then keys, values and queries as the
/// kernel wants them. A merge uses the beginning for two rows of sums.
inline constexpr int64_t workspace_floats(int32_t head_dim) {
  return static_cast<int64_t>(padded_dim(head_dim)) * 2 * (kChunkTokens + kRowGroup) +
         kRowGroup * kChunkTokens;
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
namespace isa_avx512bf16 {
AttentionKernels attention_kernels();
}

}  // namespace treeward
