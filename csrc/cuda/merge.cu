// Merges the partial states of each row in the order of the plan. One warp a (row, query head).
#include <cuda_runtime.h>

#include "cuda/device.h"
#include "cuda/kernels.h"

namespace treeward::cuda {
namespace {

template <class T>
__global__ void merge_kernel(PlanArrays plan, Partials partials, Rows out) {
  const int64_t warp = int64_t{blockIdx.x} * kBlockWarps + threadIdx.x / kWarp;
  const int lane = threadIdx.x % kWarp;
  const int64_t row = warp / partials.q_heads, head = warp % partials.q_heads;
  if (row >= plan.n_rows) return;
  const int32_t begin = plan.reduce_begin[row], end = plan.reduce_begin[row + 1];
  const auto state_of = [&](int32_t i) {
    return int64_t{plan.reduce_partials[i]} * partials.q_heads + head;
  };
  float max = -INFINITY;
  for (int32_t i = begin; i < end; ++i) {
    const float x = partials.max[state_of(i)];
    if (x > max) max = x;
  }
  float values[kMaxHeadDim / kWarp] = {};
  float total = 0.0f;
  bool any = false;
  for (int32_t i = begin; i < end; ++i) {
    const int64_t state = state_of(i);
    // A state that saw a key has a sum of at least 1. One that saw none is left out: its values
    // were never written, and -inf - -inf is not a number.
    const float sum = partials.sum[state];
    if (sum == 0.0f) continue;
    any = true;
    const float weight = expf(partials.max[state] - max);
    total += weight * sum;
    const float* from = partials.values + state * partials.head_dim;
#pragma unroll
    for (int v = 0; v < kMaxHeadDim / kWarp; ++v) {
      const int d = v * kWarp + lane;
      if (d < partials.head_dim) values[v] = fmaf(weight, from[d], values[v]);
    }
  }
  const float inverse = any ? 1.0f / total : 0.0f;
  T* to = static_cast<T*>(out.data) + row * out.row_stride + head * out.head_stride;
#pragma unroll
  for (int v = 0; v < kMaxHeadDim / kWarp; ++v) {
    const int d = v * kWarp + lane;
    if (d < partials.head_dim) from_float(values[v] * inverse, to + d);
  }
}

}  // namespace

void merge(const DevicePlan& plan, const Partials& partials, Rows out, ElementType type,
           void* stream) {
  const PlanArrays& arrays = plan.arrays();
  if (partials.q_heads < 1) throw InvalidArgument("q_heads: must be at least 1");
  if (partials.head_dim < 1 || partials.head_dim > kMaxHeadDim) {
    throw InvalidArgument("head_dim: must lie in [1, " + std::to_string(kMaxHeadDim) + "]");
  }
  const unsigned blocks = grid_of(int64_t{arrays.n_rows} * partials.q_heads, kBlockWarps);
  if (blocks == 0) return;
  if (out.data == nullptr) throw InvalidArgument("out: is null");
  const auto kernel = type == ElementType::f32 ? merge_kernel<float> : merge_kernel<Bf16>;
  kernel<<<blocks, kBlockWarps * kWarp, 0, stream_of(stream)>>>(arrays, partials, out);
  check_launch("merge");
}

}  // namespace treeward::cuda
