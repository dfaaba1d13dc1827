// Choice of a child by an upper confidence bound.
#pragma once

#include <span>
#include <vector>

#include "tree/arena.h"
#include "tree/score.h"

namespace treeward {

enum class FirstPlay : uint8_t { kReduction, kAbsolute };

// N visits of the node, S = finished visits of its children, and for a child: P prior, n visits,
// f in-flight visits, Q value (first-play value when n = 0), normalised to [0, 1] by the tree's
// smallest and largest value when `normalise` is set.
//   PUCT  Q + c(N) P sqrt(max(S, 1)) / (1 + n + w),  c(N) = c_init + log((N + c_base + 1) / c_base)
//   MuZero  PUCT with N for S and Q as its place, 0 to 1, between the smallest and the largest of
//         the node's own value and those of its visited children; 0 when n = 0. This is
//         muzero_policy of mctx as it comes; `normalise` and first play do not enter.
//   UCT   Q + exploration sqrt(log(N + 1) / max(n + w, 1))
// kVisits: w = f and Q untouched (Leela Chess Zero). kWeighted: w = f * loss_weight, and Q moves to
// Q + (loss_value - Q) w / (w + max(n, 1/4)) (KataGo). kNone: w = 0.
// First play: kAbsolute takes fpu_value; kReduction takes the node's own value less
// fpu_reduction * sqrt(prior mass of its visited children).
// Ties go to the lowest lane. Numbers of a lane are single precision, in the order written here.
struct SelectRule {
  Formula formula = Formula::kPuct;
  VirtualLoss virtual_loss = VirtualLoss::kVisits;
  FirstPlay first_play = FirstPlay::kReduction;
  Backup backup = Backup::kMean;
  bool normalise = false;
  double c_init = 1.25;
  double c_base = 19652.0;
  double exploration = 1.4142135623730951;
  double fpu_value = 0.0;
  double fpu_reduction = 0.2;
  double loss_weight = 1.0;
  double loss_value = 0.0;
};

/// A rule made ready for use on the nodes of any arena.
class Selector {
 public:
  /// `tabled_visits`: logarithms and roots are looked up for nodes of at most so many visits.
  explicit Selector(const SelectRule& rule, int32_t tabled_visits = 0);

  const SelectRule& rule() const { return rule_; }

  /// What the children of `node` share; holds until a visit of the node is backed up.
  ScoreTerms terms(const Arena& arena, NodeIndex node) const;

  /// The best child that is neither closed, nor busy in this epoch, nor in slot `skip`.
  Choice best(const Arena& arena, NodeIndex node, const ScoreTerms& terms, uint32_t epoch,
              uint32_t skip = kNoSlot) const {
    const int formula = rule_.formula == Formula::kUct ? 1 : 0;
    const int loss = static_cast<int>(rule_.virtual_loss);
    return score_kernels().best_child[formula][loss](arena.siblings(node), terms, epoch, skip);
  }

  /// Makes `query` that of `node`. In place: numbers that were written one by one are slow to copy.
  void set_query(const Arena& arena, NodeIndex node, EdgeQuery& query) const {
    query.siblings = arena.siblings(node);
    if (rule_.formula == Formula::kMuZero) {
      query.own = own_value(arena, node);
    } else {
      set_values(arena, node, query.terms);
    }
    set_scale(arena, node, query.terms);
  }
  void best_edges(std::span<EdgeQuery> queries, Choice* found) const {
    score_kernels().best_edges[static_cast<int>(rule_.formula)](
        queries.data(), static_cast<int32_t>(queries.size()), found);
  }

  /// Score of one child, equal to what the pass over its block gives it.
  float score(const Arena& arena, uint32_t slot, const ScoreTerms& terms) const;

 private:
  double scale(int32_t visits, int32_t below) const;
  float own_value(const Arena& arena, NodeIndex node) const {
    const bool visited = arena.at(node).visits > 0;
    return visited ? static_cast<float>(arena.value_of(node, rule_.backup)) : 0.0f;
  }
  void set_values(const Arena& arena, NodeIndex node, ScoreTerms& terms) const;
  void set_scale(const Arena& arena, NodeIndex node, ScoreTerms& terms) const;

  SelectRule rule_;
  std::vector<double> weights_;  // by visits: c(N) of PUCT, log(N + 1) of UCT
  std::vector<double> roots_;    // square roots of 0, 1, 2, ...
};

/// The best child that is neither closed nor busy in this epoch; kNoNode when there is none.
NodeIndex select_child(const Arena& arena, NodeIndex node, const SelectRule& rule, uint32_t epoch);

}  // namespace treeward
