// Tree attention on a CUDA device, with the semantics of attention/attention.h.
//
// These kernels are compiled by `make cuda` where nvcc is found; the Python runner does not call
// them yet.
//
// `stream` is a cudaStream_t (null: the default stream) of the calling thread's current device.
// Every function returns once its work is queued on the stream; results are there when the stream
// gets to them. Wrong arguments raise InvalidArgument; what CUDA refuses raises Error with CUDA's
// message, and an error of a kernel that runs later is raised by a later call.
//
//     chunks   one block a (work item, key-value head): partial max, sum and values of its rows
//     merge    one warp a (row, query head): its partials, in the order of the plan
#pragma once

#include <cstdint>
#include <vector>

#include "attention/types.h"
#include "cuda/plan_device.h"

namespace treeward::cuda {

/// A lane keeps head_dim / 32 sums in registers.
inline constexpr int32_t kMaxHeadDim = 256;

/// Devices that can be used; 0 when there is none, or no driver.
int device_count();

/// Copies the keys and values of the rows (device tensors [n_rows, kv_heads, head_dim]) into their
/// slots. `layer.keys` and `layer.values` are device pointers. Rows whose append slot is -1 are
/// skipped. Slots must differ.
void append(const DevicePlan& plan, const KvLayer& layer, ConstRows keys, ConstRows values,
            void* stream);

/// Copies the keys and values of slot from[i] to slot to[i], for every head. `from` and `to` are in
/// host memory and free again on return; `layer` holds device pointers. No slot may be written
/// twice, or both read and written: the copies run in any order.
void copy_slots(const KvLayer& layer, const std::vector<int32_t>& from,
                const std::vector<int32_t>& to, void* stream);

/// Partial states in device memory, of (partial, query head):
///
///     max     [n_partials, q_heads] largest score, -inf when the row sees no key of the chunk
///     sum     [n_partials, q_heads] sum of exp(score - max), 0 when it sees none
///     values  [n_partials, q_heads, head_dim] sum of exp(score - max) * value; not written when
///             the row sees no key
struct Partials {
  float* max;
  float* sum;
  float* values;
  int32_t q_heads, head_dim;
};

/// Bytes of device memory that attend() needs for its partials.
int64_t partials_bytes(const DevicePlan& plan, int32_t q_heads, int32_t head_dim);

/// The first half of attend(): writes the partials of each work item, in fp32 for any element type.
void attend_chunks(const DevicePlan& plan, const KvLayer& layer, ConstRows query,
                   const AttentionParams& params, const Partials& partials, void* stream);

/// The second half: out = sum_i exp(max_i - max) values_i / sum_i exp(max_i - max) sum_i for each
/// row, in the order of the plan. Partials that saw no key are left out; a row without any other
/// gets zeros. `out.data` is a device pointer to elements of the given type.
void merge(const DevicePlan& plan, const Partials& partials, Rows out, ElementType type,
           void* stream);

/// out[n_rows, q_heads, head_dim] = softmax(mask(cap(query . key * scale))) . value for each row
/// over the keys of its path. q_heads is a multiple of kv_heads, and head h reads key-value head
/// h / (q_heads / kv_heads). `query`, `out` and the layer's tensors are in device memory.
/// `scratch` is device memory of partials_bytes(), aligned to 4 bytes, which nothing else may use
/// until the stream has got past this call; its contents do not matter.
///
/// A row's result depends on its own path only: not on the rows it is batched with, nor on how
/// rows are grouped into items. It differs from the CPU's by rounding alone.
void attend(const DevicePlan& plan, const KvLayer& layer, ConstRows query, int32_t q_heads,
            Rows out, const AttentionParams& params, void* scratch, void* stream);

}  // namespace treeward::cuda
