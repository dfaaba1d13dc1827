// Moves keys and values: rows into slots, and slots to slots. One warp a (vector, key-value head).
#include <cuda_runtime.h>

#include <algorithm>

#include "attention/check.h"
#include "cuda/device.h"
#include "cuda/kernels.h"

namespace treeward::cuda {
namespace {

/// The (vector, head) of this warp; vector >= the number of vectors: none.
struct Place {
  int64_t vector;
  int32_t head, lane;
};

__device__ Place my_place(int32_t heads) {
  const int64_t warp = int64_t{blockIdx.x} * kBlockWarps + threadIdx.x / kWarp;
  return {warp / heads, static_cast<int32_t>(warp % heads),
          static_cast<int32_t>(threadIdx.x % kWarp)};
}

template <class T>
__device__ void copy_vector(const void* from, int64_t from_offset, void* to, int64_t to_offset,
                            int32_t n, int32_t lane) {
  const T* source = static_cast<const T*>(from) + from_offset;
  T* target = static_cast<T*>(to) + to_offset;
  for (int32_t d = lane; d < n; d += kWarp) target[d] = source[d];
}

template <class T>
__global__ void append_kernel(PlanArrays plan, KvLayer layer, ConstRows keys, ConstRows values) {
  const Place at = my_place(layer.kv_heads);
  if (at.vector >= plan.n_rows) return;
  const int32_t slot = plan.append_slots[at.vector];
  if (slot < 0) return;
  const int64_t to = slot_offset(layer, slot, at.head);
  copy_vector<T>(keys.data, at.vector * keys.row_stride + at.head * keys.head_stride, layer.keys,
                 to, layer.head_dim, at.lane);
  copy_vector<T>(values.data, at.vector * values.row_stride + at.head * values.head_stride,
                 layer.values, to, layer.head_dim, at.lane);
}

/// `slots` holds the n sources, then the n targets.
template <class T>
__global__ void copy_slots_kernel(KvLayer layer, const int32_t* slots, int32_t n) {
  const Place at = my_place(layer.kv_heads);
  if (at.vector >= n) return;
  const int64_t from = slot_offset(layer, slots[at.vector], at.head);
  const int64_t to = slot_offset(layer, slots[n + at.vector], at.head);
  copy_vector<T>(layer.keys, from, layer.keys, to, layer.head_dim, at.lane);
  copy_vector<T>(layer.values, from, layer.values, to, layer.head_dim, at.lane);
}

void check_copies(const KvLayer& layer, const std::vector<int32_t>& from,
                  const std::vector<int32_t>& to) {
  check_layer(layer);
  if (from.size() != to.size()) throw InvalidArgument("to: must have as many slots as from");
  const int64_t n_slots = static_cast<int64_t>(layer.pages) * layer.page_size;
  const auto outside = [&](int32_t slot) { return slot < 0 || slot >= n_slots; };
  if (std::any_of(from.begin(), from.end(), outside)) {
    throw InvalidArgument("from: a slot is outside the pool");
  }
  if (std::any_of(to.begin(), to.end(), outside)) {
    throw InvalidArgument("to: a slot is outside the pool");
  }
  std::vector<int32_t> targets = to;
  std::sort(targets.begin(), targets.end());
  if (std::adjacent_find(targets.begin(), targets.end()) != targets.end()) {
    throw InvalidArgument("to: a slot is written twice");
  }
  const auto written = [&](int32_t slot) {
    return std::binary_search(targets.begin(), targets.end(), slot);
  };
  if (std::any_of(from.begin(), from.end(), written)) {
    throw InvalidArgument("from: a slot is both read and written");
  }
}

}  // namespace

int device_count() {
  int count = 0;
  if (cudaGetDeviceCount(&count) == cudaSuccess) return count;
  cudaGetLastError();  // having no device is an answer, not an error for the next call
  return 0;
}

void append(const DevicePlan& plan, const KvLayer& layer, ConstRows keys, ConstRows values,
            void* stream) {
  const PlanArrays& arrays = plan.arrays();
  check_layer(layer);
  check_pool(plan, layer);
  check_rows("key", keys.data, layer, arrays.n_rows);
  check_rows("value", values.data, layer, arrays.n_rows);
  const unsigned blocks = grid_of(int64_t{arrays.n_rows} * layer.kv_heads, kBlockWarps);
  if (blocks == 0) return;
  const auto kernel = layer.type == ElementType::f32 ? append_kernel<float> : append_kernel<Bf16>;
  kernel<<<blocks, kBlockWarps * kWarp, 0, stream_of(stream)>>>(arrays, layer, keys, values);
  check_launch("append");
}

void copy_slots(const KvLayer& layer, const std::vector<int32_t>& from,
                const std::vector<int32_t>& to, void* stream) {
  check_copies(layer, from, to);
  const unsigned blocks = grid_of(static_cast<int64_t>(from.size()) * layer.kv_heads, kBlockWarps);
  if (blocks == 0) return;
  std::vector<int32_t> both = from;
  both.insert(both.end(), to.begin(), to.end());
  const DeviceInts slots(both, stream);
  const auto kernel =
      layer.type == ElementType::f32 ? copy_slots_kernel<float> : copy_slots_kernel<Bf16>;
  kernel<<<blocks, kBlockWarps * kWarp, 0, stream_of(stream)>>>(layer, slots.data(),
                                                                static_cast<int32_t>(from.size()));
  check_launch("copy_slots");
}

}  // namespace treeward::cuda
