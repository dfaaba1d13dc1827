// Scores of the children of a node: what they share, and the passes over their blocks.
#pragma once

#include <algorithm>

#include "tree/child_block.h"

namespace treeward {

enum class Formula : uint8_t { kPuct, kUct, kMuZero };
enum class VirtualLoss : uint8_t { kVisits, kWeighted, kNone };

/// What all lanes of a node share, in the precision of the lanes.
struct ScoreTerms {
  float low, inverse_range;  // normalisation: (q - low) * inverse_range
  float first_play;          // already normalised
  float scale;               // PUCT: c sqrt(S); UCT: log(N + 1)
  float exploration;
  float loss_weight, loss_value;
};

/// A child by its slot, kNoSlot for none, and its score.
struct Choice {
  uint32_t slot = kNoSlot;
  float score = 0.0f;
};

/// The children of one node.
struct Siblings {
  const ChildBlock* blocks;  // of the arena
  uint32_t first;            // the block that the chain begins with
  int32_t side_by_side;      // how many children, if their blocks follow each other; else 0
};

/// The best child that is neither closed, nor busy in `epoch`, nor in slot `skip`. Ties go to the
/// child that comes first.
using BestChild = Choice (*)(const Siblings& siblings, const ScoreTerms& terms, uint32_t epoch,
                             uint32_t skip);

/// Sum of the priors of the visited children, in their order and in double precision. 0 when all
/// are visited: nothing reads a first-play value then.
using VisitedPrior = double (*)(const Siblings& siblings);

/// Smallest and largest value of the visited children; infinite, and `low` above `high`, without
/// one.
struct ValueRange {
  float low, high;
};
using VisitedRange = ValueRange (*)(const Siblings& siblings);

/// Sets what makes a value its place, 0 to 1, among a node's own value and those of its visited
/// children.
inline void place_between(const ValueRange& visited, float own, ScoreTerms& terms) {
  constexpr float kLeastRange = 1e-8f;  // as in mctx
  terms.low = std::min(visited.low, own);
  terms.inverse_range = 1.0f / std::max(std::max(visited.high, own) - terms.low, kLeastRange);
  terms.first_play = 0.0f;
}

/// A node whose best child is wanted.
struct EdgeQuery {
  Siblings siblings;
  ScoreTerms terms;
  float own;  // MuZero: value of the node, from which place_between follows
};

/// The best child of each of `count` nodes whose children are never closed or busy, without virtual
/// losses. Of blocks side by side it reads three of the six lines.
using BestEdges = void (*)(EdgeQuery* queries, int32_t count, Choice* found);

/// One table an instruction set; all give the same bits.
struct ScoreKernels {
  BestChild best_child[2][3];  // by Formula, of which kMuZero scores as kPuct does, and VirtualLoss
  BestEdges best_edges[3];     // by Formula
  VisitedPrior visited_prior;
  VisitedRange visited_range;
};

extern const ScoreKernels kScalarScores;
#if defined(TREEWARD_COMPILE_AVX2)
extern const ScoreKernels kAvx2Scores;
#endif
#if defined(TREEWARD_COMPILE_AVX512)
extern const ScoreKernels kAvx512Scores;
#endif

/// The table of the instruction set in use.
const ScoreKernels& score_kernels();

}  // namespace treeward
