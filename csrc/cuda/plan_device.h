// A plan in device memory: copied once a step, used by every layer.
#pragma once

#include <cstdint>
#include <vector>

#include "attention/plan.h"
#include "attention/types.h"

namespace treeward::cuda {

/// Integers in device memory, allocated, filled and freed in the order of one stream.
class DeviceInts {
 public:
  DeviceInts(const std::vector<int32_t>& values, void* stream);
  ~DeviceInts();
  DeviceInts(const DeviceInts&) = delete;
  DeviceInts& operator=(const DeviceInts&) = delete;
  const int32_t* data() const { return data_; }

 private:
  int32_t* data_ = nullptr;
  void* stream_;
};

/// Device pointers to the arrays of a Plan, and their sizes.
struct PlanArrays {
  int32_t n_rows, n_partials, n_items;
  const int32_t* query_position;   // [n_rows]
  const int32_t* append_slots;     // [n_rows]
  const WorkItem* items;           // [n_items] cut to kItemRows rows
  const int32_t* slots;            // keys of all items
  const int32_t* reduce_begin;     // [n_rows + 1]
  const int32_t* reduce_partials;  // [reduce_begin[n_rows]]
};

/// Rows of an item on the device. Longer items are cut, so that one block never runs alone for
/// long; the state of a row stays where the plan puts it.
inline constexpr int32_t kItemRows = 16;

class DevicePlan {
 public:
  /// Checks the plan against the pool of the layer (its tensors are not read), so that kernels need
  /// not, and copies it. Layers of any pool with at least as many slots can use it. The calls that
  /// use it take the same stream, or are ordered before its destruction there.
  DevicePlan(const Plan& plan, const KvLayer& layer, void* stream);

  const PlanArrays& arrays() const { return arrays_; }
  int64_t n_slots() const { return n_slots_; }

 private:
  std::vector<int32_t> pack(const Plan& plan);

  PlanArrays arrays_{};
  int64_t n_slots_;
  DeviceInts memory_;
};

}  // namespace treeward::cuda
