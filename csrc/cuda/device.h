// What the CUDA files share: error checks, element types, places of slots. Needs nvcc.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <string>

#include "attention/types.h"
#include "common/errors.h"
#include "cuda/plan_device.h"

namespace treeward::cuda {

using Bf16 = uint16_t;  // the upper half of a float, as on the CPU

inline constexpr int kWarp = 32;
inline constexpr int kBlockWarps = 4;
inline constexpr unsigned kAllLanes = 0xffffffffu;

inline cudaStream_t stream_of(void* stream) { return static_cast<cudaStream_t>(stream); }

inline void check_cuda(cudaError_t status, const char* what) {
  if (status != cudaSuccess) {
    throw Error(std::string("CUDA: ") + what + ": " + cudaGetErrorString(status));
  }
}

/// After each launch: the launch's own failure, or that of a kernel before it.
inline void check_launch(const char* kernel) { check_cuda(cudaGetLastError(), kernel); }

/// Blocks of a one-dimensional grid; 0 when there is nothing to do.
inline unsigned grid_of(int64_t n, int64_t per_block) {
  const int64_t blocks = (n + per_block - 1) / per_block;
  if (blocks > INT32_MAX) throw InvalidArgument("plan: too large for one launch");
  return static_cast<unsigned>(blocks);
}

/// The plan's slots were checked against a pool of its own.
inline void check_pool(const DevicePlan& plan, const KvLayer& layer) {
  if (static_cast<int64_t>(layer.pages) * layer.page_size < plan.n_slots()) {
    throw InvalidArgument("pages: the pool is smaller than the one the plan was made for");
  }
}

__device__ inline float to_float(float x) { return x; }
__device__ inline float to_float(Bf16 x) { return __uint_as_float(static_cast<uint32_t>(x) << 16); }

__device__ inline void from_float(float value, float* out) { *out = value; }

/// Rounds to nearest, ties to even; NaN stays NaN.
__device__ inline void from_float(float value, Bf16* out) {
  const uint32_t bits = __float_as_uint(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) {
    *out = static_cast<Bf16>((bits >> 16) | 0x40u);
  } else {
    *out = static_cast<Bf16>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
  }
}

/// Where the vector of (slot, head) begins in the keys or values of a layer, in elements.
__device__ inline int64_t slot_offset(const KvLayer& layer, int32_t slot, int32_t head) {
  const int64_t page = slot / layer.page_size;
  return ((page * layer.kv_heads + head) * layer.page_size + slot % layer.page_size) *
         layer.head_dim;
}

}  // namespace treeward::cuda
