#include "attention/pass_layout.h"

#include <algorithm>

namespace treeward {
namespace {

// Row-heads of a task that it pays to pack a chunk for.
constexpr int32_t kFewRowHeads = 64;

// Row-heads whose states a task can keep in the second level cache.
constexpr int32_t kMostRowHeads = 1024;

// Packing a chunk costs about as much as this many row-heads that attend to it.
constexpr int32_t kPackingRowHeads = 4;

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
    if (entry > plan.reduce_begin[row] &&
        segment_of_partial_[plan.reduce_partials[entry - 1]] == segment_of_partial_[partial]) {
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

void PassLayout::list_runs(const Plan& plan, RowRange rows) {
  chunks.clear();
  whole_runs_.clear();
  n_places = 0;
  n_pairs = 0;
  const WorkItem* before = nullptr;  // of a run that the next item may join
  for (const WorkItem& item : plan.items) {
    const RowRange mine = rows_of(item, rows);
    if (mine.begin >= mine.end) continue;
    n_pairs += static_cast<int64_t>(mine.end - mine.begin) * item.n_tokens;
    chunks.push_back({item.slot_begin, item.n_tokens, item.position});
    const auto n_chunks = static_cast<int32_t>(chunks.size());
    if (before != nullptr && continues(*before, item, rows)) {
      whole_runs_.back().chunk_end = n_chunks;
      before = &item;
      continue;
    }
    whole_runs_.push_back({n_chunks - 1, n_chunks, mine.begin, mine.end, n_places});
    for (int32_t row = mine.begin; row < mine.end; ++row) {
      place_of_partial_[partial_of(item, row)] = n_places++;
    }
    before = begins_segment(plan, item, mine) ? &item : nullptr;
  }
}

/// Work of a run: its rows, and as much as a few rows for packing its chunks.
int64_t PassLayout::work_of(const ChunkRun& run, int32_t group) const {
  int64_t tokens = 0;
  for (int32_t i = run.chunk_begin; i < run.chunk_end; ++i) tokens += chunks[i].n_tokens;
  return tokens * (static_cast<int64_t>(run.row_end - run.row_begin) * group + kPackingRowHeads);
}

void PassLayout::list_tasks(int32_t group, int64_t wanted_tasks) {
  int64_t total = 0;
  for (const ChunkRun& run : whole_runs_) total += work_of(run, group);
  const int64_t share = std::max<int64_t>(1, total / std::max<int64_t>(1, wanted_tasks));
  const int32_t few = (kFewRowHeads + group - 1) / group;
  runs.clear();
  tasks.clear();
  int64_t room = 0;  // work that the last task may still take
  for (const ChunkRun& whole : whole_runs_) {
    const int32_t n = whole.row_end - whole.row_begin;
    const int64_t row_heads = static_cast<int64_t>(n) * group;
    const int64_t pieces = std::max((work_of(whole, group) + share - 1) / share,
                                    (row_heads + kMostRowHeads - 1) / kMostRowHeads);
    const auto step = static_cast<int32_t>(std::max<int64_t>(few, (n + pieces - 1) / pieces));
    for (int32_t row = whole.row_begin; row < whole.row_end; row += step) {
      ChunkRun run = whole;
      run.row_begin = row;
      run.row_end = std::min(whole.row_end, row + step);
      run.place = whole.place + row - whole.row_begin;
      const auto number = static_cast<int32_t>(runs.size());
      runs.push_back(run);
      const int64_t work = work_of(run, group);
      if (work > room) {
        tasks.push_back({number, number});
        room = share;
      }
      tasks.back().end = number + 1;
      room -= work;
    }
  }
}

void PassLayout::build(const Plan& plan, RowRange rows, int32_t group, int64_t wanted_tasks) {
  index_partials(plan);
  list_runs(plan, rows);
  list_tasks(group, wanted_tasks);
  list_merges(plan, rows);
}

}  // namespace treeward
