// The rows of one step of a model, over any states of any trees, and the plan of their attention.
//
// add(state) brings in every token of the state's path that has no keys and values yet (new ones,
// and those that eviction took), locks the path, and asks for the logits after its last token.
// finish() orders the rows so that each span's queries are one contiguous range:
//
//   spans (depth first)   P ───────────── A ───────── A1 ──  A2 ──  B ──────
//   rows                  [p0 p1 .. pn]  [a0 a1]     [x]    [y]    [b0]
//   queries of P's keys   [─────────────────────────────────────────────]
//   queries of A's keys                  [───────────────────]
//
// and cuts keys into chunks at positions that are multiples of kChunkTokens and where the tree
// forks: what a row computes depends on its own tree, never on who else is in the batch. commit()
// makes the rows resident; abort() takes their slots back. One batch is open at a time.
#pragma once

#include <cstdint>
#include <vector>

#include "attention/plan.h"
#include "kv/span_tree.h"

namespace treeward {

class StepBatch {
 public:
  explicit StepBatch(SpanTree& tree) : tree_(tree) { tree.open_batch(); }
  ~StepBatch();
  StepBatch(const StepBatch&) = delete;
  StepBatch& operator=(const StepBatch&) = delete;

  /// Rows that adding this state would bring in. A state whose last token is resident brings one
  /// row that reads its own key again; one whose last token is a row of this batch brings none.
  int32_t cost(const State& state) const;
  /// Returns false, leaving the batch as it was, when the pool cannot hold the path beside what
  /// the batch holds already.
  bool add(const State& state);
  /// Orders the rows and builds the plan; rows are padded to a multiple of `pad_to` >= 1. Once.
  void finish(int32_t pad_to);
  void commit();
  void abort();

  /// Rows in the batch so far, padding not counted.
  int64_t total_cost() const { return total_cost_; }
  int32_t n_states() const { return static_cast<int32_t>(wanted_.size()); }
  int32_t n_rows() const { return n_rows_; }  // without padding
  const std::vector<int32_t>& row_tokens() const { return row_tokens_; }
  const std::vector<int32_t>& row_positions() const { return row_positions_; }
  /// Row of the last token of each added state, in the order of adding.
  const std::vector<int32_t>& state_rows() const { return state_rows_; }
  const Plan& plan() const { return plan_; }

 private:
  // One span that the batch touches, in order of first touch.
  struct Touched {
    int32_t span;
    int32_t parent;              // index into touched_, -1 at a root
    int32_t first_row;           // first token that is a row of this batch
    int32_t last_seen;           // tokens [0, last_seen) are on some path of this batch
    std::vector<int32_t> again;  // resident tokens read again, ascending
    std::vector<int32_t> children;
    int32_t row_begin = 0;
  };
  struct Wanted {
    int32_t touched;
    int32_t local;  // token of the span whose row gives the logits
  };
  int32_t touch(int32_t span);
  void emit_rows(Touched& touched);
  void emit_items(const Touched& touched, int32_t subtree_end);
  int32_t payer_of(const Touched& touched) const;
  int32_t repeated_rows(const Touched& touched) const;
  void count_prompt(const Touched& touched);
  void close();

  SpanTree& tree_;
  std::vector<Touched> touched_;
  std::vector<int32_t> touched_of_;  // span -> index into touched_, -1
  std::vector<int32_t> roots_;
  std::vector<Wanted> wanted_;
  bool open_ = true;
  bool finished_ = false;
  int64_t total_cost_ = 0;
  int32_t n_rows_ = 0;
  std::vector<int32_t> row_tokens_, row_positions_, state_rows_;
  Plan plan_;
};

}  // namespace treeward
