// What one model step attends to. Planned once a step, used by every layer.
#pragma once

#include <cstdint>
#include <vector>

namespace treeward {

/// Most keys of one work item. Cuts between chunks depend on the path alone, never on the batch,
/// so that a row's result is the same whatever it is batched with.
inline constexpr int kChunkTokens = 64;

/// One chunk of keys and the rows that see it.
struct WorkItem {
  int32_t query_begin, query_end;  // rows of the packed batch, contiguous
  int32_t slot_begin, n_tokens;    // slice of Plan::slots: the pool slots of this chunk's keys
  int32_t position;                // position on its path of the first key; keys are consecutive
  int32_t partial_begin;           // state of (item, row q) is at partial_begin + (q - query_begin)
};

/// Rows are the new tokens of all branches, packed in depth-first order so that the rows below a
/// span are contiguous. A key at position p is visible to a row at position q iff p <= q and,
/// when there is a window, p > q - window. Slot s is offset s % page_size of page s / page_size.
///
///     rows      r0 r1 | r2 | r3 r4 | pad          items    chunk of slots x range of rows
///     partials  one a (item, row)                 reduce   row -> its partials, root to leaf
struct Plan {
  /// Tells this plan from all others of the process, once it will not change any more. 0: it may.
  uint64_t number = 0;
  int32_t n_rows = 0, n_partials = 0;
  std::vector<int32_t> query_position;  // [n_rows] position on its path (padding rows: -1)
  std::vector<int32_t> append_slots;    // [n_rows] slot of the row's own key and value; -1: none
  std::vector<WorkItem> items;
  std::vector<int32_t> slots;
  std::vector<int32_t> reduce_begin;     // [n_rows + 1] row r owns reduce_partials[begin r, r+1)
  std::vector<int32_t> reduce_partials;  // the fixed order of the merge
};

/// A number that no plan has had.
uint64_t new_plan_number();

/// The plan of some of a plan's rows, ascending, with the same cuts between chunks and the same
/// order of merging: their attention has the bits that it has in the whole. It appends nothing.
/// InvalidArgument names what is wrong with the plan or the rows.
Plan plan_of_rows(const Plan& plan, const std::vector<int32_t>& rows);

}  // namespace treeward
