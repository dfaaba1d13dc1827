// What one pass over rows of a plan runs: tasks, and what each row merges afterwards.
//
// A row's keys are cut by position into segments of kSegmentTokens. Its states are combined within
// each segment first, in order, then the segments in order. So a task may combine a run of chunks
// while it holds their sums, if the run begins its segment and all its rows go on together:
//
//     path      | 0 ..................511 | 512 ........ fork | .. 1023 | 1024 ..
//     chunks    [ ][ ][ ][ ][ ][ ][ ][ ]   [ ][ ][ ][ ][ ][ ]  [ ][ ]    [ ][ ]
//     tasks     [----------- run -------]  [------ run -----]  [ ][ ]    [-run]
//     entries    x                          x                   x  x      x
//
// The cuts depend on the path alone, so a row's result is the same whatever it is batched with,
// and whether its chunks were combined in a task or in the merge.
#pragma once

#include <cstdint>
#include <vector>

#include "attention/kernels.h"
#include "attention/plan.h"

namespace treeward {

/// Tokens of a segment: enough that states are few beside what is computed, few enough that a
/// long prefix falls into many tasks.
inline constexpr int kSegmentTokens = 512;

/// Rows [begin, end) of a pass.
struct RowRange {
  int32_t begin, end;
};

/// See above. Vectors are reused from pass to pass.
struct PassLayout {
  std::vector<ChunkKeys> chunks;
  std::vector<ChunkRun> runs;
  std::vector<ChunkTask> tasks;
  std::vector<int32_t> merge_begin;  // [rows of the pass + 1]
  std::vector<MergeEntry> merge_entries;
  int32_t n_places = 0;  // states of each head
  int64_t n_pairs = 0;   // (row, key) pairs that each query head multiplies

  /// Lists what the rows need. `group` is the number of query heads of a key-value head; runs are
  /// cut or put together so that there are about `wanted_tasks` of like work.
  void build(const Plan& plan, RowRange rows, int32_t group, int64_t wanted_tasks);

 private:
  void index_partials(const Plan& plan);
  bool begins_segment(const Plan& plan, const WorkItem& item, RowRange rows) const;
  bool continues(const WorkItem& before, const WorkItem& item, RowRange rows) const;
  void list_runs(const Plan& plan, RowRange rows);
  int64_t work_of(const ChunkRun& run, int32_t group) const;
  void list_tasks(int32_t group, int64_t wanted_tasks);
  void list_merges(const Plan& plan, RowRange rows);

  std::vector<ChunkRun> whole_runs_;         // before they are cut
  std::vector<int32_t> segment_of_partial_;  // [n_partials]
  std::vector<int32_t> entry_of_partial_;    // [n_partials] index into reduce_partials, -1: none
  std::vector<int32_t> place_of_partial_;    // [n_partials] -1: combined by its task
};

}  // namespace treeward
