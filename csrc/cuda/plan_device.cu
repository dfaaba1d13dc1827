#include <cuda_runtime.h>

#include <algorithm>
#include <type_traits>

#include "attention/check.h"
#include "cuda/device.h"
#include "cuda/plan_device.h"

namespace treeward::cuda {
namespace {

static_assert(std::is_trivially_copyable_v<WorkItem> && sizeof(WorkItem) == 6 * sizeof(int32_t),
              "items are copied as six integers");

const Plan& checked(const Plan& plan, const KvLayer& layer) {
  std::vector<int32_t> room;
  check_layer(layer);
  check_append_slots(plan, layer);
  check_slots(plan, layer);
  check_plan(plan, room);
  return plan;
}

}  // namespace

DeviceInts::DeviceInts(const std::vector<int32_t>& values, void* stream) : stream_(stream) {
  if (values.empty()) return;
  const size_t bytes = values.size() * sizeof(int32_t);
  check_cuda(cudaMallocAsync(&data_, bytes, stream_of(stream)), "allocate integers");
  // Pageable memory is staged before the call returns, so `values` may go away then.
  const cudaError_t copied =
      cudaMemcpyAsync(data_, values.data(), bytes, cudaMemcpyHostToDevice, stream_of(stream));
  if (copied != cudaSuccess) {
    cudaFreeAsync(data_, stream_of(stream));  // the destructor does not run
    check_cuda(copied, "copy integers");
  }
}

DeviceInts::~DeviceInts() {
  if (data_ != nullptr) cudaFreeAsync(data_, stream_of(stream_));
}

DevicePlan::DevicePlan(const Plan& plan, const KvLayer& layer, void* stream)
    : n_slots_(static_cast<int64_t>(layer.pages) * layer.page_size),
      memory_(pack(checked(plan, layer)), stream) {
  const int32_t* at = memory_.data();
  arrays_.items = reinterpret_cast<const WorkItem*>(at);
  at += int64_t{6} * arrays_.n_items;
  const auto take = [&](size_t n) {
    const int32_t* begin = at;
    at += n;
    return begin;
  };
  arrays_.query_position = take(plan.query_position.size());
  arrays_.append_slots = take(plan.append_slots.size());
  arrays_.slots = take(plan.slots.size());
  arrays_.reduce_begin = take(plan.reduce_begin.size());
  arrays_.reduce_partials = take(plan.reduce_partials.size());
}

/// All arrays in one, so that a step costs one allocation and one copy. Sets the sizes.
std::vector<int32_t> DevicePlan::pack(const Plan& plan) {
  std::vector<int32_t> packed;
  int64_t n_items = 0;
  for (const WorkItem& item : plan.items) {
    for (int32_t row = item.query_begin; row < item.query_end; row += kItemRows) {
      packed.insert(packed.end(),
                    {row, std::min(item.query_end, row + kItemRows), item.slot_begin, item.n_tokens,
                     item.position, item.partial_begin + row - item.query_begin});
      ++n_items;
    }
  }
  for (const auto* part : {&plan.query_position, &plan.append_slots, &plan.slots,
                           &plan.reduce_begin, &plan.reduce_partials}) {
    packed.insert(packed.end(), part->begin(), part->end());
  }
  arrays_.n_rows = plan.n_rows;
  arrays_.n_partials = plan.n_partials;
  // Every cut item has a row of its own in [0, n_partials), so this fits.
  arrays_.n_items = static_cast<int32_t>(n_items);
  return packed;
}

}  // namespace treeward::cuda
