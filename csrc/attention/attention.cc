#include "attention/attention.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>

#include "attention/check.h"
#include "attention/kernels.h"
#include "common/errors.h"
#include "common/simd.h"
#include "common/thread_pool.h"

namespace treeward {
namespace {

// Partial states of one pass stay within this, whatever the length of the paths: a step whose
// states are larger is run in several passes over heads, then over rows.
constexpr int64_t kPassBytes = int64_t{32} << 20;

// Below this much work (multiply-adds, copied bytes) waking a thread costs more than it saves.
constexpr int64_t kParallelWork = 400'000;

// Row-heads of a task: enough to amortise the packing of a chunk, few enough to share out.
constexpr int32_t kTaskRowHeads = 128;

constexpr int32_t kMergeRows = 8;

AttentionKernels kernels_of(SimdLevel level) {
  switch (level) {
#if defined(TREEWARD_COMPILE_AVX512)
    case SimdLevel::avx512:
      return isa_avx512::attention_kernels();
#endif
#if defined(TREEWARD_COMPILE_AVX2)
    case SimdLevel::avx2:
      return isa_avx2::attention_kernels();
#endif
    default:
      return isa_scalar::attention_kernels();
  }
}

/// Rows [begin, end) whose states fit a pass together; at least one row.
struct RowRange {
  int32_t begin, end;
};

RowRange next_rows(const Plan& plan, int32_t begin, int64_t most_partials) {
  int32_t end = begin;
  while (end < plan.n_rows &&
         (end == begin || plan.reduce_begin[end + 1] - plan.reduce_begin[begin] <= most_partials)) {
    ++end;
  }
  return {begin, end};
}

/// Partial states of a pass, and (row, key) pairs that it multiplies for each query head.
struct PassSize {
  int64_t partials = 0, pairs = 0;
};

/// Lists the tasks of the rows and places their partials densely.
PassSize list_tasks(const Plan& plan, RowRange rows, int32_t rows_per_task,
                    AttentionScratch& scratch) {
  scratch.tasks.clear();
  int32_t place = 0;
  PassSize size;
  for (const WorkItem& item : plan.items) {
    const int32_t begin = std::max(item.query_begin, rows.begin);
    const int32_t end = std::min(item.query_end, rows.end);
    for (int32_t row = begin; row < end; row += rows_per_task) {
      const int32_t stop = std::min(end, row + rows_per_task);
      scratch.tasks.push_back({.slots = plan.slots.data() + item.slot_begin,
                               .n_tokens = item.n_tokens,
                               .position = item.position,
                               .row_begin = row,
                               .row_end = stop,
                               .place = place + row - begin});
    }
    for (int32_t row = begin; row < end; ++row) {
      scratch.place_of_partial[item.partial_begin + row - item.query_begin] = place++;
    }
    size.pairs += static_cast<int64_t>(std::max(0, end - begin)) * item.n_tokens;
  }
  size.partials = place;
  return size;
}

int threads_for(int64_t work) {
  const int64_t useful = 1 + work / kParallelWork;
  return static_cast<int>(std::min<int64_t>(useful, thread_pool().size()));
}

void check_attend(const Plan& plan, const KvLayer& layer, const ConstRows& query, int32_t q_heads,
                  const Rows& out, const AttentionParams& params) {
  check_layer(layer);
  if (q_heads < 1 || q_heads % layer.kv_heads != 0) {
    throw InvalidArgument("q_heads: " + std::to_string(q_heads) +
                          " must be a positive multiple of kv_heads, " +
                          std::to_string(layer.kv_heads));
  }
  if (!std::isfinite(params.scale)) throw InvalidArgument("scale: must be finite");
  if (!std::isfinite(params.softcap) || params.softcap < 0.0f) {
    throw InvalidArgument("softcap: must be finite and not negative");
  }
  check_rows("query", query.data, layer, plan.n_rows);
  check_output("out", out, layer, plan.n_rows, q_heads);
}

}  // namespace

void append(const Plan& plan, const KvLayer& layer, ConstRows keys, ConstRows values) {
  check_layer(layer);
  check_append_slots(plan, layer);
  check_rows("key", keys.data, layer, plan.n_rows);
  check_rows("value", values.data, layer, plan.n_rows);
  const int64_t element = layer.type == ElementType::f32 ? 4 : 2;
  const int64_t bytes = layer.head_dim * element;
  const auto copy = [&](int64_t row, int) {
    const int32_t slot = plan.append_slots[row];
    if (slot < 0) return;
    const int64_t page = slot / layer.page_size, in_page = slot % layer.page_size;
    for (int32_t head = 0; head < layer.kv_heads; ++head) {
      const int64_t to = ((page * layer.kv_heads + head) * layer.page_size + in_page) * bytes;
      const auto from = [&](const ConstRows& rows) {
        return static_cast<const char*>(rows.data) +
               (row * rows.row_stride + head * rows.head_stride) * element;
      };
      std::memcpy(static_cast<char*>(layer.keys) + to, from(keys), bytes);
      std::memcpy(static_cast<char*>(layer.values) + to, from(values), bytes);
    }
  };
  const int64_t work = static_cast<int64_t>(plan.n_rows) * layer.kv_heads * bytes * 2;
  thread_pool().parallel_for(plan.n_rows, threads_for(work), copy);
}

void attend(const Plan& plan, const KvLayer& layer, ConstRows query, int32_t q_heads, Rows out,
            const AttentionParams& params, AttentionScratch& scratch) {
  check_attend(plan, layer, query, q_heads, out, params);
  check_plan(plan, layer, scratch.row_of_partial);
  if (plan.n_rows == 0) return;

  const AttentionKernels kernels = kernels_of(current_level());
  const int type = static_cast<int>(layer.type);
  const int32_t group = q_heads / layer.kv_heads;
  const int32_t dim_padded = padded_dim(layer.head_dim);
  const int64_t state_bytes = int64_t{4} * group * (dim_padded + 2);
  const int64_t heads_that_fit = kPassBytes / std::max<int64_t>(1, plan.n_partials * state_bytes);
  const auto pass_heads =
      static_cast<int32_t>(std::clamp<int64_t>(heads_that_fit, 1, layer.kv_heads));
  const int64_t most_partials = std::max<int64_t>(1, kPassBytes / (state_bytes * pass_heads));
  const int32_t rows_per_task = std::max(1, kTaskRowHeads / group);

  const int pool_size = thread_pool().size();
  if (scratch.threads.size() < static_cast<size_t>(pool_size)) scratch.threads.resize(pool_size);
  scratch.place_of_partial.resize(plan.n_partials);

  for (RowRange rows{0, 0}; rows.end < plan.n_rows;) {
    rows = next_rows(plan, rows.end, most_partials);
    const PassSize size = list_tasks(plan, rows, rows_per_task, scratch);
    const auto n_tasks = static_cast<int64_t>(scratch.tasks.size());
    for (int32_t head = 0; head < layer.kv_heads; head += pass_heads) {
      const int32_t n_heads = std::min(pass_heads, layer.kv_heads - head);
      const int64_t n_states = size.partials * n_heads * group;
      const PartialStates states{.max = scratch.partial_max.reserve(n_states),
                                 .sum = scratch.partial_sum.reserve(n_states),
                                 .values = scratch.partial_values.reserve(n_states * dim_padded),
                                 .n_heads = n_heads * group,
                                 .head_begin = head * group,
                                 .dim_padded = dim_padded};
      const int64_t work = size.pairs * n_heads * group * 2 * layer.head_dim;
      const int threads = std::min(threads_for(work), pool_size);
      for (int i = 0; i < threads; ++i) {
        scratch.threads[i].reserve(workspace_floats(layer.head_dim));
      }
      const ChunkCall chunks{.layer = layer,
                             .query = query,
                             .query_position = plan.query_position.data(),
                             .params = params,
                             .group = group,
                             .states = states};
      thread_pool().parallel_for(n_tasks * n_heads, threads, [&](int64_t task, int thread) {
        kernels.chunk[type](chunks, scratch.tasks[task / n_heads],
                            head + static_cast<int32_t>(task % n_heads),
                            scratch.threads[thread].data());
      });
      const MergeCall merges{.states = states,
                             .reduce_begin = plan.reduce_begin.data(),
                             .reduce_partials = plan.reduce_partials.data(),
                             .place_of_partial = scratch.place_of_partial.data(),
                             .out = out,
                             .head_dim = layer.head_dim};
      const int64_t merge_tasks = (rows.end - rows.begin + kMergeRows - 1) / kMergeRows;
      const int merge_threads = std::min(threads_for(n_states * dim_padded * 4), threads);
      thread_pool().parallel_for(merge_tasks, merge_threads, [&](int64_t task, int thread) {
        const auto begin = static_cast<int32_t>(rows.begin + task * kMergeRows);
        const int32_t end = std::min(rows.end, begin + kMergeRows);
        for (int32_t row = begin; row < end; ++row) {
          kernels.merge[type](merges, row, scratch.threads[thread].data());
        }
      });
    }
  }
}

}  // namespace treeward
