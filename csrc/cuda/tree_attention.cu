// The kernel of one chunk: scores, softmax and weighted values of an item's rows.
//
// A block holds the chunk's keys in shared memory; each of its warps takes one (row, query head)
// at a time. A lane owns two keys while scores are made and every 32nd element of head_dim while
// values are added, so a row's arithmetic depends on the keys it sees and on nothing else.
#include <cuda_runtime.h>

#include <cmath>

#include "attention/check.h"
#include "cuda/device.h"
#include "cuda/kernels.h"

namespace treeward::cuda {
namespace {

constexpr int kLaneKeys = kChunkTokens / kWarp;
constexpr int kLaneValues = kMaxHeadDim / kWarp;
static_assert(kChunkTokens % kWarp == 0 && kMaxHeadDim % kWarp == 0, "lanes share them evenly");

struct ChunkCall {
  PlanArrays plan;
  KvLayer layer;
  ConstRows query;
  AttentionParams params;
  Partials partials;
};

/// Keys [begin, end) of a chunk; begin >= end: none.
struct KeyRange {
  int32_t begin, end;
};

__device__ int32_t clamp_key(int64_t x, int32_t n_tokens) {
  return x < 0 ? 0 : x > n_tokens ? n_tokens : static_cast<int32_t>(x);
}

/// Keys of the item that a row at position `at` sees.
__device__ KeyRange visible_keys(int64_t at, const WorkItem& item, int32_t window) {
  const int32_t end = clamp_key(at - item.position + 1, item.n_tokens);
  const int32_t begin = window > 0 ? clamp_key(at - window + 1 - item.position, item.n_tokens) : 0;
  return {begin, end};
}

/// Words from one key to the next in shared memory: odd, so that the lanes, which read the same
/// element of different keys, hit different banks.
template <class T>
__host__ __device__ int key_words(int head_dim) {
  return ((head_dim * static_cast<int>(sizeof(T)) + 3) / 4) | 1;
}

/// Weights and query of each warp, then the keys.
template <class T>
int shared_bytes(int head_dim) {
  return 4 * (kBlockWarps * (kChunkTokens + head_dim) + kChunkTokens * key_words<T>(head_dim));
}

__device__ float warp_max(float x) {
  for (int step = kWarp / 2; step > 0; step /= 2) {
    x = fmaxf(x, __shfl_xor_sync(kAllLanes, x, step));
  }
  return x;
}

__device__ float warp_sum(float x) {
  for (int step = kWarp / 2; step > 0; step /= 2) x += __shfl_xor_sync(kAllLanes, x, step);
  return x;
}

/// Turns the warp's query and the block's keys into weights exp(score - max). Called by whole
/// warps; keys outside the range are not read.
template <class T>
__device__ void softmax_row(const float* query, const T* keys, KeyRange range, int head_dim,
                            const AttentionParams& params, float* weights, float* max, float* sum) {
  const int lane = threadIdx.x % kWarp;
  const int stride = key_words<T>(head_dim) * 4 / static_cast<int>(sizeof(T));
  float score[kLaneKeys];
  float largest = -INFINITY;
#pragma unroll
  for (int k = 0; k < kLaneKeys; ++k) {
    const int key = k * kWarp + lane;
    score[k] = -INFINITY;
    if (key < range.begin || key >= range.end) continue;
    float dot = 0.0f;
    for (int d = 0; d < head_dim; ++d) dot = fmaf(query[d], to_float(keys[key * stride + d]), dot);
    score[k] = dot * params.scale;
    if (params.softcap != 0.0f) score[k] = params.softcap * tanhf(score[k] / params.softcap);
    largest = fmaxf(largest, score[k]);
  }
  largest = warp_max(largest);
  float total = 0.0f;
#pragma unroll
  for (int k = 0; k < kLaneKeys; ++k) {
    const int key = k * kWarp + lane;
    if (key < range.begin || key >= range.end) continue;
    const float weight = expf(score[k] - largest);
    weights[key] = weight;
    total += weight;
  }
  *max = largest;
  *sum = warp_sum(total);
}

template <class T>
__global__ void __launch_bounds__(kBlockWarps* kWarp) chunk_kernel(ChunkCall call) {
  const KvLayer& layer = call.layer;
  const Partials& partials = call.partials;
  const WorkItem item = call.plan.items[blockIdx.x / layer.kv_heads];
  const int32_t kv_head = static_cast<int32_t>(blockIdx.x % layer.kv_heads);
  const int head_dim = layer.head_dim, group = partials.q_heads / layer.kv_heads;
  const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;

  extern __shared__ float shared[];
  __shared__ int64_t offsets[kChunkTokens];
  float* weights = shared + warp * kChunkTokens;
  float* query = shared + kBlockWarps * kChunkTokens + warp * head_dim;
  T* keys = reinterpret_cast<T*>(shared + kBlockWarps * (kChunkTokens + head_dim));
  const int stride = key_words<T>(head_dim) * 4 / static_cast<int>(sizeof(T));

  // Keys that no row sees, as before a window, are not loaded.
  KeyRange seen{item.n_tokens, 0};
  for (int32_t row = item.query_begin; row < item.query_end; ++row) {
    const KeyRange range = visible_keys(call.plan.query_position[row], item, call.params.window);
    if (range.begin >= range.end) continue;
    seen.begin = min(seen.begin, range.begin);
    seen.end = max(seen.end, range.end);
  }
  for (int key = seen.begin + warp; key < seen.end; key += kBlockWarps) {
    const int64_t offset = slot_offset(layer, call.plan.slots[item.slot_begin + key], kv_head);
    const T* from = static_cast<const T*>(layer.keys) + offset;
    for (int d = lane; d < head_dim; d += kWarp) keys[key * stride + d] = from[d];
    if (lane == 0) offsets[key] = offset;
  }
  __syncthreads();

  const int row_heads = (item.query_end - item.query_begin) * group;
  for (int i = warp; i < row_heads; i += kBlockWarps) {
    const int32_t row = i / group;
    const int32_t head = kv_head * group + i % group;
    const int64_t state = int64_t{item.partial_begin + row} * partials.q_heads + head;
    const KeyRange range =
        visible_keys(call.plan.query_position[item.query_begin + row], item, call.params.window);
    float max = -INFINITY, sum = 0.0f;
    if (range.begin < range.end) {
      const T* from = static_cast<const T*>(call.query.data) +
                      int64_t{item.query_begin + row} * call.query.row_stride +
                      head * call.query.head_stride;
      for (int d = lane; d < head_dim; d += kWarp) query[d] = to_float(from[d]);
      __syncwarp();  // also: no lane reads the weights of the row before any more
      softmax_row<T>(query, keys, range, head_dim, call.params, weights, &max, &sum);
      __syncwarp();
      float values[kLaneValues] = {};
      for (int key = range.begin; key < range.end; ++key) {
        const T* value = static_cast<const T*>(layer.values) + offsets[key];
#pragma unroll
        for (int v = 0; v < kLaneValues; ++v) {
          const int d = v * kWarp + lane;
          if (d < head_dim) values[v] = fmaf(weights[key], to_float(value[d]), values[v]);
        }
      }
#pragma unroll
      for (int v = 0; v < kLaneValues; ++v) {
        const int d = v * kWarp + lane;
        if (d < head_dim) partials.values[state * head_dim + d] = values[v];
      }
    }
    if (lane == 0) {
      partials.max[state] = max;
      partials.sum[state] = sum;
    }
  }
}

void check_heads(int32_t q_heads, const KvLayer& layer) {
  if (q_heads < 1 || q_heads % layer.kv_heads != 0) {
    throw InvalidArgument("q_heads: " + std::to_string(q_heads) +
                          " must be a positive multiple of kv_heads, " +
                          std::to_string(layer.kv_heads));
  }
}

template <class T>
void launch_chunks(const ChunkCall& call, void* stream) {
  const unsigned blocks = grid_of(int64_t{call.plan.n_items} * call.layer.kv_heads, 1);
  if (blocks == 0) return;
  const int bytes = shared_bytes<T>(call.layer.head_dim);
  // More than 48 KiB (fp32 with a large head_dim) has to be asked for.
  check_cuda(
      cudaFuncSetAttribute(chunk_kernel<T>, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes),
      "shared memory of attend_chunks");
  chunk_kernel<T><<<blocks, kBlockWarps * kWarp, bytes, stream_of(stream)>>>(call);
  check_launch("attend_chunks");
}

}  // namespace

int64_t partials_bytes(const DevicePlan& plan, int32_t q_heads, int32_t head_dim) {
  const int64_t states = int64_t{plan.arrays().n_partials} * q_heads;
  return states * (head_dim + 2) * static_cast<int64_t>(sizeof(float));
}

void attend_chunks(const DevicePlan& plan, const KvLayer& layer, ConstRows query,
                   const AttentionParams& params, const Partials& partials, void* stream) {
  check_layer(layer);
  check_pool(plan, layer);
  if (layer.head_dim > kMaxHeadDim) {
    throw InvalidArgument("head_dim: must be at most " + std::to_string(kMaxHeadDim));
  }
  if (partials.head_dim != layer.head_dim) {
    throw InvalidArgument("partials: head_dim must be the layer's");
  }
  check_heads(partials.q_heads, layer);
  if (!std::isfinite(params.scale)) throw InvalidArgument("scale: must be finite");
  if (!std::isfinite(params.softcap) || params.softcap < 0.0f) {
    throw InvalidArgument("softcap: must be finite and not negative");
  }
  check_rows("query", query.data, layer, plan.arrays().n_rows);
  const ChunkCall call{plan.arrays(), layer, query, params, partials};
  if (layer.type == ElementType::f32) {
    launch_chunks<float>(call, stream);
  } else {
    launch_chunks<Bf16>(call, stream);
  }
}

void attend(const DevicePlan& plan, const KvLayer& layer, ConstRows query, int32_t q_heads,
            Rows out, const AttentionParams& params, void* scratch, void* stream) {
  check_layer(layer);
  check_heads(q_heads, layer);
  check_output("out", out, layer, plan.arrays().n_rows, q_heads);
  const int64_t states = int64_t{plan.arrays().n_partials} * q_heads;
  if (states > 0 && scratch == nullptr) throw InvalidArgument("scratch: is null");
  float* values = static_cast<float*>(scratch);
  const int64_t n_values = states * layer.head_dim;
  const Partials partials{values + n_values, values + n_values + states, values, q_heads,
                          layer.head_dim};
  attend_chunks(plan, layer, query, params, partials, stream);
  merge(plan, partials, out, layer.type, stream);
}

}  // namespace treeward::cuda
