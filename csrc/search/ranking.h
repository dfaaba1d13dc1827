// Which answer a finished (or stopped) search gives.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "tree/arena.h"

namespace treeward {

enum class Selection : uint8_t {
  kBest,       // highest value of a final node
  kMajority,   // most draws per answer
  kWeighted,   // largest sum of values per answer, one summand a draw
  kPosterior,  // best log-odds of the value plus part of the path's log-probability
  kVisited,    // most visits per answer
};

struct Vote {
  int32_t answer;
  double weight;
  NodeIndex node;  // the best final node with this answer
};

/// True when `a` ranks before `b`: a value before none, then the higher value, then the higher
/// log-probability of the path.
bool ranks_before(const Arena& arena, NodeIndex a, NodeIndex b);

/// Answers of the tree's finals, best first. A final is a terminal with an answer; one known to be
/// wrong counts only if every final is. Ties: the answer whose best node ranks before, then first
/// found. Finals without a value add nothing to kWeighted; when none has a value, kWeighted counts
/// draws, and kBest and kPosterior weigh by log-probability.
std::vector<Vote> rank_answers(const Arena& arena, NodeIndex root, Selection selection);

/// Verified terminal, else the first of rank_answers, else the best terminal, else the best leaf;
/// kNoNode when the tree is only a root.
NodeIndex best_node(const Arena& arena, NodeIndex root, Selection selection);

/// A terminal whose verdict is right, best ranked; kNoNode when there is none.
NodeIndex verified_node(const Arena& arena, NodeIndex root);

}  // namespace treeward
