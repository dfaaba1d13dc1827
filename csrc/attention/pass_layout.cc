#include "attention/pass_layout.h"

#include <algorithm>

namespace treeward {
namespace {

// Row-heads of a task that it pays to pack a chunk for.
constexpr int32_t kFewRowHeads = 64;

// Row-heads whose states a task can keep in the second level cache.
constexpr int32_t kMostRowHeads = 1024;

RowRange rows_of(const WorkItem& item, RowRange rows) {
  return {std::max(item.query_begin, rows.begin), std::min(item.query_end, rows.end)};
}

int32_t partial_of(const WorkItem& item, int32_t row) {
  return item.partial_begin + row - item.query_begin;
}

}  // namespace

void PassLayout::index_partials(const Plan& plan) {
  segment_of_partial_.resize(plan.n_partials);
  entry_of_partial_.assign(plan.n_partials, -1);
  place_of_partial_.assign(plan.n_partials, -1);
  for (const WorkItem& item : plan.items) {
    const auto first = segment_of_partial_.begin() + item.partial_begin;
    std::fill(first, first + (item.query_end - item.query_begin), item.position / kSegmentTokens);
  }
  const auto n_entries = static_cast<int32_t>(plan.reduce_partials.size());
  for (int32_t i = 0; i < n_entries; ++i) entry_of_partial_[plan.reduce_partials[i]] = i;
}

/// Whether the item is the first of its segment for each of the rows.
bool PassLayout::begins_segment(const Plan& plan, const WorkItem& item, RowRange rows) const {
  for (int32_t row = rows.begin; row < rows.end; ++row) {
    const int32_t partial = partial_of(item, row);
    const int32_t entry = entry_of_partial_[partial];
    if (entry < 0) return false;
    if (entry > plan.reduce_begin[row] && segment_of_partial_[plan.reduce_partials[entry - 1]] ==
                                              segment_of_partial_[partial]) {
      return false;
    }
  }
  return true;
}

/// Whether each of the rows merges the item right after the one before, in the same segment.
bool PassLayout::continues(const WorkItem& before, const WorkItem& item, RowRange rows) const {
  if (before.position / kSegmentTokens != item.position / kSegmentTokens) return false;
  const RowRange rows_before = rows_of(before, rows), rows_now = rows_of(item, rows);
  if (rows_before.begin != rows_now.begin || rows_before.end != rows_now.end) return false;
  for (int32_t row = rows_now.begin; row < rows_now.end; ++row) {
    const int32_t entry = entry_of_partial_[partial_of(before, row)];
    if (entry_of_partial_[partial_of(item, row)] != entry + 1) return false;
  }
  return true;
}

void PassLayout::list_merges(const Plan& plan, RowRange rows) {
  merge_begin.assign(1, 0);
  merge_entries.clear();
  for (int32_t row = rows.begin; row < rows.end; ++row) {
    int32_t segment = -1;
    for (int32_t i = plan.reduce_begin[row]; i < plan.reduce_begin[row + 1]; ++i) {
      const int32_t partial = plan.reduce_partials[i];
      const bool first = segment_of_partial_[partial] != segment;
      segment = segment_of_partial_[partial];
      if (place_of_partial_[partial] < 0) continue;
      merge_entries.push_back({place_of_partial_[partial], first});
    }
    merge_begin.push_back(static_cast<int32_t>(merge_entries.size()));
  }
}

void PassLayout::build(const Plan& plan, RowRange rows, int32_t group, int64_t wanted_tasks) {
  index_partials(plan);
  chunks.clear();
  tasks.clear();
  n_places = 0;
  n_pairs = 0;
  std::vector<ChunkTask> runs;
  const WorkItem* before = nullptr;  // of a run that the next item may join
  for (const WorkItem& item : plan.items) {
    const RowRange mine = rows_of(item, rows);
    if (mine.begin >= mine.end) continue;
    n_pairs += static_cast<int64_t>(mine.end - mine.begin) * item.n_tokens;
    chunks.push_back({item.slot_begin, item.n_tokens, item.position});
    const auto n_chunks = static_cast<int32_t>(chunks.size());
    if (before != nullptr && continues(*before, item, rows)) {
      runs.back().chunk_end = n_chunks;
      before = &item;
      continue;
    }
    runs.push_back({n_chunks - 1, n_chunks, mine.begin, mine.end, n_places});
    for (int32_t row = mine.begin; row < mine.end; ++row) {
      place_of_partial_[partial_of(item, row)] = n_places++;
    }
    before = begins_segment(plan, item, mine) ? &item : nullptr;
  }
  const auto n_runs = static_cast<int64_t>(runs.size());
  for (const ChunkTask& run : runs) {
    const int32_t n = run.row_end - run.row_begin;
    const auto pieces = static_cast<int32_t>(
        std::max<int64_t>((wanted_tasks + n_runs - 1) / n_runs,
                          (static_cast<int64_t>(n) * group + kMostRowHeads - 1) / kMostRowHeads));
    const int32_t few = (kFewRowHeads + group - 1) / group;
    const int32_t step = std::max(few, (n + pieces - 1) / pieces);
    for (int32_t row = run.row_begin; row < run.row_end; row += step) {
      ChunkTask task = run;
      task.row_begin = row;
      task.row_end = std::min(run.row_end, row + step);
      task.place = run.place + row - run.row_begin;
      tasks.push_back(task);
    }
  }
  list_merges(plan, rows);
}

}  // namespace treeward
