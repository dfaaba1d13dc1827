#include "attention/attention.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <string>
#include <thread>

#include "attention/check.h"
#include "attention/kernels.h"
#include "attention/pass_layout.h"
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

// Tasks a thread, so that none waits long for the last one.
constexpr int64_t kTasksPerThread = 4;

constexpr int32_t kMergeRows = 8;

// Looks at a counter before a thread offers its processor to others.
constexpr int kSpins = 2000;

AttentionKernels kernels_of(SimdLevel level) {
  switch (level) {
#if defined(TREEWARD_COMPILE_AVX512BF16)
    case SimdLevel::avx512bf16:
      return isa_avx512bf16::attention_kernels();
#endif
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

/// Rows whose states fit a pass together; at least one row.
RowRange next_rows(const Plan& plan, int32_t begin, int64_t most_partials) {
  int32_t end = begin;
  while (end < plan.n_rows &&
         (end == begin || plan.reduce_begin[end + 1] - plan.reduce_begin[begin] <= most_partials)) {
    ++end;
  }
  return {begin, end};
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

void append_row(const Plan& plan, const KvLayer& layer, const ConstRows& keys,
                const ConstRows& values, int64_t row) {
  const int32_t slot = plan.append_slots[row];
  if (slot < 0) return;
  const int64_t element = layer.type == ElementType::f32 ? 4 : 2;
  const int64_t bytes = layer.head_dim * element;
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
}

void append(const Plan& plan, const KvLayer& layer, ConstRows keys, ConstRows values) {
  check_layer(layer);
  check_append_slots(plan, layer);
  check_rows("key", keys.data, layer, plan.n_rows);
  check_rows("value", values.data, layer, plan.n_rows);
  const int64_t elements = int64_t{2} * layer.kv_heads * layer.head_dim;
  const int64_t bytes = plan.n_rows * elements * (layer.type == ElementType::f32 ? 4 : 2);
  thread_pool().parallel_for(plan.n_rows, threads_for(bytes),
                             [&](int64_t row, int) { append_row(plan, layer, keys, values, row); });
}

namespace {

/// Tasks of both kinds in one loop: who takes a merge waits for the chunks that others still run.
/// Tasks of a key-value head lie side by side, so that whoever does its chunks also merges them.
void run_pass(const AttentionKernels& kernels, ElementType element, const ChunkCall& chunks,
              const MergeCall& merges, const PassLayout& layout, RowRange rows, int32_t n_kv_heads,
              int32_t first_kv_head, int threads, AttentionScratch& scratch) {
  const int type = static_cast<int>(element);
  const auto n_tasks = static_cast<int64_t>(layout.tasks.size());
  const int64_t n_chunks = n_tasks * n_kv_heads;
  const int64_t row_blocks = (rows.end - rows.begin + kMergeRows - 1) / kMergeRows;
  const auto head_task = [&](int64_t task) {
    if (task < 0) return HeadTask{{0, 0}, 0};
    return HeadTask{layout.tasks[task % n_tasks],
                    first_kv_head + static_cast<int32_t>(task / n_tasks)};
  };
  TaskBlocks chunk_tasks(n_chunks, threads), merge_tasks(row_blocks * n_kv_heads, threads);
  std::atomic<int64_t> done{0};
  thread_pool().parallel_for(threads, threads, [&](int64_t, int thread) {
    float* workspace = scratch.threads[thread].data();
    chunk_tasks.run(thread, [&](int64_t task, int64_t after) {
      kernels.chunks[type](chunks, head_task(task), head_task(after), workspace);
      done.fetch_add(1, std::memory_order_release);
    });
    for (int spins = 0; done.load(std::memory_order_acquire) != n_chunks; ++spins) {
      if (spins > kSpins) std::this_thread::yield();
    }
    merge_tasks.run(thread, [&](int64_t task, int64_t) {
      const auto begin = static_cast<int32_t>(rows.begin + task % row_blocks * kMergeRows);
      const int32_t end = std::min(rows.end, begin + kMergeRows);
      const int32_t head = first_kv_head + static_cast<int32_t>(task / row_blocks);
      for (int32_t row = begin; row < end; ++row) kernels.merge[type](merges, row, head, workspace);
    });
  });
}

/// Checks the plan and lists what its rows need, unless that was done for the layer before.
void prepare(const Plan& plan, const KvLayer& layer, AttentionScratch& scratch) {
  const int64_t slots = int64_t{layer.pages} * layer.page_size;
  if (plan.number != 0 && scratch.checked_plan == plan.number && scratch.checked_slots == slots) {
    return;
  }
  scratch.checked_plan = 0;
  scratch.built_plan = 0;
  check_slots(plan, layer);
  check_plan(plan, scratch.row_of_partial);
  scratch.checked_plan = plan.number;
  scratch.checked_slots = slots;
}

}  // namespace

void attend(const Plan& plan, const KvLayer& layer, ConstRows query, int32_t q_heads, Rows out,
            const AttentionParams& params, AttentionScratch& scratch) {
  check_attend(plan, layer, query, q_heads, out, params);
  prepare(plan, layer, scratch);
  if (plan.n_rows == 0) return;

  const AttentionKernels kernels = kernels_of(current_level());
  const int32_t group = q_heads / layer.kv_heads;
  const int32_t dim_padded = padded_dim(layer.head_dim);
  const int64_t state_bytes = int64_t{4} * group * (dim_padded + 2);
  const int64_t heads_that_fit = kPassBytes / std::max<int64_t>(1, plan.n_partials * state_bytes);
  const auto pass_heads =
      static_cast<int32_t>(std::clamp<int64_t>(heads_that_fit, 1, layer.kv_heads));
  const int64_t most_partials = std::max<int64_t>(1, kPassBytes / (state_bytes * pass_heads));

  const int pool_size = thread_pool().size();
  const int64_t wanted_tasks = (kTasksPerThread * pool_size + pass_heads - 1) / pass_heads;
  if (scratch.threads.size() < static_cast<size_t>(pool_size)) scratch.threads.resize(pool_size);

  PassLayout& layout = scratch.layout;
  for (RowRange rows{0, 0}; rows.end < plan.n_rows;) {
    rows = next_rows(plan, rows.end, most_partials);
    const LayoutKey key{rows.begin, rows.end, group, wanted_tasks};
    if (plan.number == 0 || scratch.built_plan != plan.number || scratch.built_key != key) {
      scratch.built_plan = 0;
      layout.build(plan, rows, group, wanted_tasks);
      scratch.built_plan = plan.number;
      scratch.built_key = key;
    }
    for (int32_t head = 0; head < layer.kv_heads; head += pass_heads) {
      const int32_t n_heads = std::min(pass_heads, layer.kv_heads - head);
      const int64_t n_states = int64_t{layout.n_places} * n_heads * group;
      const PartialStates states{.max = scratch.partial_max.reserve(n_states),
                                 .sum = scratch.partial_sum.reserve(n_states),
                                 .values = scratch.partial_values.reserve(n_states * dim_padded),
                                 .n_places = layout.n_places,
                                 .group = group,
                                 .head_begin = head,
                                 .dim_padded = dim_padded};
      const int64_t work = layout.n_pairs * n_heads * group * 2 * layer.head_dim;
      const int threads = std::min(threads_for(work), pool_size);
      for (int i = 0; i < threads; ++i) {
        scratch.threads[i].reserve(workspace_floats(layer.head_dim));
      }
      const ChunkCall chunks{.layer = layer,
                             .query = query,
                             .query_position = plan.query_position.data(),
                             .params = params,
                             .group = group,
                             .states = states,
                             .runs = layout.runs.data(),
                             .chunks = layout.chunks.data(),
                             .slots = plan.slots.data()};
      const MergeCall merges{.states = states,
                             .begin = layout.merge_begin.data(),
                             .entries = layout.merge_entries.data(),
                             .first_row = rows.begin,
                             .out = out,
                             .head_dim = layer.head_dim};
      run_pass(kernels, layer.type, chunks, merges, layout, rows, n_heads, head, threads, scratch);
    }
  }
}

}  // namespace treeward
