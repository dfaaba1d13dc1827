// Tree search on many trees in lockstep: two calls a step, arrays in and out.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "tree/select.h"

namespace treeward {

struct BatchedSettings {
  int32_t trees = 1;
  int32_t branching = 1;    // children of a node, at most
  int32_t simulations = 1;  // of every tree, the evaluation of its root not counted
  SelectRule rule;
};

// Where select() writes what it chose: entry t of every array is the leaf of tree t. Nodes are
// named by their number in their tree, in the order of creation: 0 is the root.
struct LeafRows {
  int32_t* node;    // the leaf; the next free number if it is visited for the first time
  int32_t* parent;  // -1 for a root
  int32_t* action;  // which child of its parent it is, -1 for a root
  int32_t* depth;   // edges from the root
  uint64_t* seed;   // hash of the tree's seed and the actions that lead here
};

// What the caller found out about the leaves: row t of every array is about the leaf of tree t.
struct Evaluation {
  const float* priors;  // [trees, branching], of the children: not negative, adding up to one
  const float* values;  // [trees], finite
  const int32_t*
      widths;  // [trees], children, at most `branching`; the rest of the row of priors is
               // not read, and a leaf of width 0 is terminal. Null: all have `branching`
};

// In one step every tree is gone down once, from the root to an edge that has no node yet or to a
// node without children; the caller evaluates the leaves of all trees as one batch and brings
// priors and values; each leaf becomes a node with its edges, and its value goes up to the root.
// The first step evaluates the roots.
//
//   select() ─▶ leaves [trees] ─▶ caller: priors [trees, branching], values [trees]
//      ▲                                                  │
//      └──────────────── expand_and_backup() ◀────────────┘
//
// advance() is expand_and_backup() and the next select(): a tree that was just gone up is gone down
// again while it lies in the cache, and threads are called together once a step.
//
// Trees share nothing, so threads take a few trees each and the result does not depend on how
// many there are. All memory is set aside by the constructor.
class BatchedSearch {
 public:
  /// One seed a tree. InvalidArgument for numbers below 1; PoolExhausted if the arena is full.
  /// The caller holds the arena's lock around every call.
  BatchedSearch(std::shared_ptr<Arena> arena, const BatchedSettings& settings,
                std::span<const uint64_t> seeds);
  ~BatchedSearch();
  BatchedSearch(const BatchedSearch&) = delete;
  BatchedSearch& operator=(const BatchedSearch&) = delete;

  /// Writes the leaf of every tree. Changes no tree: asked again before the leaves are told, it
  /// gives the same ones. InvalidArgument after the last simulation.
  void select(const LeafRows& out);

  /// A terminal that is selected again gets one more visit with the value given. InvalidArgument or
  /// NotFinite leave every tree as it was.
  void expand_and_backup(const Evaluation& given);

  /// expand_and_backup(given) and select(out) in one. InvalidArgument, with no tree changed, in the
  /// last simulation, after which there is nothing to select.
  void advance(const Evaluation& given, const LeafRows& out);

  /// Visits of the children of every root, [trees, branching].
  void root_visits(int32_t* out);

  const BatchedSettings& settings() const { return settings_; }
  std::span<const NodeHandle> roots() const { return roots_; }
  /// Simulations done in every tree.
  int32_t done() const { return steps_ > 0 ? steps_ - 1 : 0; }
  const std::shared_ptr<Arena>& arena() const { return arena_; }

 private:
  struct Leaf {
    NodeIndex node;  // the leaf, or the parent of an edge
    uint32_t slot;   // of the edge; kNoSlot if the leaf is a node
  };

  int32_t blocks_of_node() const { return (settings_.branching + kLanes - 1) / kLanes; }
  void drop_trees();
  void check_alive();
  int32_t width_of(const Evaluation& given, int32_t tree) const {
    return given.widths == nullptr ? settings_.branching : given.widths[tree];
  }
  void check_steps(int32_t done) const;
  void check_evaluation(const Evaluation& given) const;
  void begin_expand(const Evaluation& given);
  void descend(int32_t begin, int32_t end);
  void describe(const Leaf& leaf, int32_t tree, const LeafRows& out) const;
  void find_leaves(int32_t begin, int32_t end, const LeafRows& out);
  void expand(int32_t tree, const Evaluation& given);
  void expand_range(int32_t begin, int32_t next, int32_t end, const Evaluation& given);
  /// function(begin, next, end) for groups [begin, next) of few trees that make up all, on several
  /// threads. The groups up to `end` follow on the same thread.
  template <typename Function>
  void for_ranges(Function&& function) const;

  std::shared_ptr<Arena> arena_;
  BatchedSettings settings_;
  Selector selector_;
  std::vector<NodeHandle> roots_;
  std::vector<uint64_t> action_hashes_;
  std::vector<Leaf> leaves_;  // of the last select
  uint64_t drops_seen_ = 0;   // of the arena, when the roots were last found alive
  bool selected_ = false;
  int32_t steps_ = 0;
};

}  // namespace treeward
