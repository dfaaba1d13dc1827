// The distribution of the token after a prefix, its candidates by descending probability.
//
//   choices   [ 17 .31 ][ 4 .22 ][ 90 .08 ] ...          ranks [0, ranked), in order
//   row       | x x x x x x x x x x x x x x x x x |      the logits, while ranks are missing
//
// Without truncation every token of the vocabulary is a candidate, and sorting them all would
// cost more than the model's own last layer. A draw looks at the first few hundred at most, so
// only those are sorted, and more when a draw gets there. What is seen does not depend on when
// it was sorted.
//
// The row is by far the largest part, 0.6 MB of a vocabulary of 152,000. It may be let go and be
// given again: it is wanted only by the rare draw that goes beyond what is ranked.
#pragma once

#include <cstdint>
#include <vector>

#include "sampling/logits_row.h"

namespace treeward {

struct Choice {
  int32_t token;
  float logprob;  // of the model's own distribution
  float weight;   // under the sampling distribution
  int32_t child;  // prefix that this token leads to, -1 before it was drawn
};

class NextTokens {
 public:
  NextTokens() = default;
  /// Takes a row of logits; keeps a copy where not all of it is ranked at once. Throws as
  /// logits_row.
  NextTokens(const float* logits, int32_t vocabulary, const SamplingOptions& options);

  /// Candidates in all, sorted or not.
  int32_t size() const { return size_; }
  /// How many of them, the first ones, have a weight above 0.
  int32_t n_drawn() const { return n_drawn_; }
  /// Sum of their weights: 1 but for rounding.
  double mass() const { return mass_; }
  /// Sorts as far as a rank in [0, size()); false where that needs the row and it was let go.
  bool reach(int32_t rank) {
    return rank < static_cast<int32_t>(choices_.size()) || rank_up_to(rank);
  }
  /// The candidate of a rank that was reached.
  Choice& at(int32_t rank) { return choices_[static_cast<size_t>(rank)]; }

  /// Bytes of the row; 0 where it is not kept.
  int64_t row_bytes() const { return static_cast<int64_t>(row_.size() * sizeof(float)); }
  void let_row_go();
  /// Takes back the row from the distribution of the same prefix, computed once more. Throws
  /// NotFinite where other tokens are masked now.
  void renew(NextTokens&& again);

 private:
  bool rank_up_to(int32_t rank);
  void append(const std::vector<Candidate>& candidates);

  std::vector<Choice> choices_;
  std::vector<float> row_;
  RowTotals totals_;
  float temperature_ = 1;
  int32_t size_ = 0;
  int32_t n_drawn_ = 0;
  int32_t n_masked_ = 0;  // of the row: those that were ranked when it was given again
  double mass_ = 0;
};

}  // namespace treeward
