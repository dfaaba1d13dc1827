// One arena holds the nodes of every tree of an engine.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "common/huge_page_allocator.h"
#include "common/random.h"
#include "tree/child_block.h"
#include "tree/node.h"
#include "tree/score.h"

namespace treeward {

/// Which number of a node stands for the values that came up through it.
enum class Backup : uint8_t {
  kMean,     // mean of the values
  kMax,      // best of the values
  kMinPath,  // mean of the path values, a path being worth the least reward on it
};

inline constexpr uint32_t kNoTree = 0xFFFFFFFFu;

// A node is two cache lines. A walk down or up a tree reads and writes the first only; what is
// asked about a single node lies in the second.
//
// byte    0        4      8             12            16       20      24          28
//         | parent | slot | first_block | child_count | visits | ended | in_flight | tree
//         32          40          48          56       60      61       62        63
//         | value_sum | value_max | value_min | reward | flags | finish | verdict | side_by_side
//
//   parent ─▶ node ─▶ first_block ─▶ ChildBlock ─▶ next ─▶ ...    (children, 16 a block)
//                └▶ slot: where the parent's block mirrors this node
//   tokens of the node = trees[tree].tokens[token_offset .. + token_length]
struct alignas(64) Node {
  NodeIndex parent = kNoNode;  // kNoNode at a root
  uint32_t slot = 0;
  uint32_t first_block = kNoBlock;
  uint32_t child_count = 0;  // edges count as children
  int32_t visits = 0;        // = ended + visits of the children
  int32_t ended = 0;         // visits whose value was backed up from this very node
  int32_t in_flight = 0;     // 0 at rest
  uint32_t tree = kNoTree;   // index into the trees, kNoTree when the entry is free or reserved
  double value_sum = 0.0;
  double value_max = -std::numeric_limits<double>::infinity();
  double value_min = std::numeric_limits<double>::infinity();
  float reward = std::numeric_limits<float>::quiet_NaN();  // own value, NaN when not scored
  uint8_t flags = 0;                                       // NodeFlag bits
  Finish finish = Finish::kStop;
  int8_t verdict = -1;
  bool side_by_side = false;  // edges, and their blocks follow each other in the arena

  uint32_t generation = 1;
  uint32_t last_block =
      kNoBlock;        // while edges wait: place of the first block in the tree's blocks
  uint32_t depth = 0;  // edges from the root
  int32_t answer = -1;
  float logprob = 0.0f;   // of the segment
  int32_t draws = 0;      // how often the segment was produced
  int32_t next_draw = 0;  // draws handed out under this node so far
  uint32_t token_length = 0;
  double logprob_sum = 0.0;  // of the path
  uint64_t path_hash = 0;    // seed of the draws under this node
  uint64_t token_hash = 0;
  uint64_t token_offset = 0;
};
static_assert(sizeof(Node) == 128);
static_assert(offsetof(Node, generation) == 64);

/// A tree keeps its nodes in the order of creation (the root first) and owns their tokens.
struct Tree {
  NodeIndex root = kNoNode;
  std::vector<NodeIndex> nodes;
  std::vector<int32_t> tokens;
  std::vector<uint32_t> blocks;        // in the order they were taken
  std::vector<NodeIndex> spare_nodes;  // reserved; the next one to use is at the back
  std::vector<uint32_t> spare_blocks;
  // Smallest and largest child value seen by backup: the scale of min-max normalisation.
  double low = std::numeric_limits<double>::infinity();
  double high = -std::numeric_limits<double>::infinity();
};

/// Hash of a segment, and of the path that a segment extends.
uint64_t hash_tokens(std::span<const int32_t> tokens);
inline uint64_t child_path_hash(uint64_t parent, uint64_t segment) {
  return mix64(parent ^ segment);
}

class Arena {
 public:
  /// A new tree whose root holds `tokens` (usually none: the prompt is the engine's affair).
  NodeHandle add_tree(uint64_t seed, std::span<const int32_t> tokens = {});

  struct Added {
    NodeIndex node;
    bool created;
  };
  /// Adds a segment under `parent`; an equal segment is merged into the node that is there
  /// (draws + 1, and a missing value, verdict or answer is filled in).
  Added add_child(NodeIndex parent, const Child& child);

  /// Sets room for `nodes` more nodes (of one token each) and `blocks` more child blocks aside for
  /// each of the trees. Until it is used up, add_edges, open_edges, visit_edge and backup allocate
  /// nothing and may run at the same time on different trees.
  void reserve(std::span<const NodeHandle> roots, size_t nodes, size_t blocks);
  /// Gives a node without children its children at once, as edges with these priors. The edges wait
  /// to be opened: most nodes of a search are never entered again, and of their blocks nothing but
  /// the priors is ever written.
  void add_edges(NodeIndex node, std::span<const float> priors);
  bool edges_wait(NodeIndex node) const {
    return nodes_[node].first_block == kNoBlock && has(node, kEdges);
  }
  /// Makes blocks of edges that wait.
  void open_edges(NodeIndex node);
  /// Which child of `node`, whose edges are open, lies in `slot`.
  int32_t child_number(NodeIndex node, uint32_t slot) const {
    if (nodes_[node].side_by_side) {
      return static_cast<int32_t>(slot - nodes_[node].first_block * kLanes);
    }
    int32_t before = 0;
    for (uint32_t b = nodes_[node].first_block; b != slot / kLanes; b = blocks_[b].next) {
      before += kLanes;
    }
    return before + static_cast<int32_t>(slot % kLanes);
  }
  /// Makes the node of an edge: child number `number` of `parent`, in `slot`. Its segment is the
  /// one token `number`, whose hash_tokens is `hash`.
  NodeIndex visit_edge(NodeIndex parent, uint32_t slot, int32_t number, uint64_t hash);

  /// Frees every node of the tree of `root`; its handles become stale.
  void drop_tree(NodeHandle root);

  /// The index behind a handle; raises StaleHandle.
  NodeIndex resolve(NodeHandle handle) const;
  bool alive(NodeHandle handle) const;
  NodeHandle handle(NodeIndex node) const { return {node, nodes_[node].generation}; }

  std::vector<NodeIndex> children(NodeIndex node) const;
  /// Root to node. Iterative: depth is bounded by memory only.
  std::vector<NodeIndex> path(NodeIndex node) const;
  std::span<const int32_t> tokens(NodeIndex node) const;
  std::vector<int32_t> path_tokens(NodeIndex node) const;

  /// Counts one visit from `leaf` to the root and folds `value` into every node on the way.
  void backup(NodeIndex leaf, double value, Backup mode);
  /// Adds virtual visits on the node, or on every node from it to the root.
  void add_in_flight(NodeIndex node, int32_t amount, bool whole_path);
  /// Value that `mode` gives a visited node; NaN without a visit.
  double value_of(NodeIndex node, Backup mode) const;

  /// Sets the priors of the children from their log-probabilities.
  void refresh_priors(NodeIndex node);
  void set_reward(NodeIndex node, float reward) { nodes_[node].reward = reward; }
  void set_flags(NodeIndex node, uint8_t flags) { nodes_[node].flags |= flags; }
  void clear_flags(NodeIndex node, uint8_t flags) {
    nodes_[node].flags &= static_cast<uint8_t>(~flags);
  }
  bool has(NodeIndex node, NodeFlag flag) const { return (nodes_[node].flags & flag) != 0; }
  /// Closes a node, in its parent's block too.
  void close(NodeIndex node);
  bool all_children_closed(NodeIndex node) const;
  /// Marks a node as having no free work until `epoch` is over.
  void mark_busy(NodeIndex node, uint32_t epoch);
  /// Reserves `count` draw numbers under the node and returns the first.
  int32_t take_draws(NodeIndex node, int32_t count);
  /// Gives draw numbers back if none was taken since.
  void return_draws(NodeIndex node, int32_t first, int32_t count);

  const Node& at(NodeIndex node) const { return nodes_[node]; }
  const Node* nodes() const { return nodes_.data(); }
  const Tree& tree_of(NodeIndex node) const { return trees_[nodes_[node].tree]; }
  const ChildBlock& block(uint32_t index) const { return blocks_[index]; }
  const ChildBlock* blocks() const { return blocks_.data(); }

  Siblings siblings(NodeIndex node) const {
    const Node& parent = nodes_[node];
    const auto children = static_cast<int32_t>(parent.child_count);
    return {blocks_.data(), parent.first_block, parent.side_by_side ? children : 0};
  }

  /// Brings into the cache what best_edge reads of the children of a node.
  void prefetch_edges(NodeIndex node) const {
    constexpr int32_t kMost = 8 * kLanes;
    const Siblings edges = siblings(node);
    const ChildBlock* block = &edges.blocks[edges.first];
    for (int32_t left = std::min(edges.side_by_side, kMost); left > 0; left -= kLanes, ++block) {
      __builtin_prefetch(block->prior);
      __builtin_prefetch(block->value);
      __builtin_prefetch(block->visits);
    }
  }
  /// The same for what the next node under `root` and the priors of its edges will take.
  void prefetch_spare(NodeIndex root, size_t blocks) const {
    const Tree& tree = trees_[nodes_[root].tree];
    if (!tree.spare_nodes.empty()) {
      const Node& node = nodes_[tree.spare_nodes.back()];
      __builtin_prefetch(&node.parent, 1);
      __builtin_prefetch(&node.generation, 1);
    }
    const size_t spare = tree.spare_blocks.size();
    for (size_t i = spare - std::min(spare, blocks); i < spare; ++i) {
      __builtin_prefetch(blocks_[tree.spare_blocks[i]].prior, 1);
    }
  }

  /// How many trees were dropped so far: as long as it stands still no handle becomes stale.
  uint64_t drops() const { return drops_; }
  size_t live_nodes() const;
  size_t live_trees() const { return trees_.size() - free_trees_.size(); }
  /// Bytes held, counted by capacity.
  size_t bytes() const;

  /// Raises Error naming the first broken invariant. `at_rest`: nothing may be in flight.
  void check(bool at_rest = true) const;

  /// Searches that share the arena take this lock for the length of a call.
  std::mutex& mutex() { return mutex_; }

 private:
  /// Adds free entries to the end of the nodes and of the blocks.
  void grow(size_t nodes, size_t blocks);
  NodeIndex take_entry(uint32_t tree);
  uint32_t take_block(uint32_t tree);
  uint32_t append_block(NodeIndex parent);
  /// Makes every lane an empty one; the priors stay.
  static void clear_lanes(ChildBlock& block);
  NodeIndex new_node(uint32_t tree, NodeIndex parent, std::span<const int32_t> tokens,
                     uint64_t token_hash);
  void append_to_parent(NodeIndex node);
  ChildBlock& home_block(NodeIndex node) { return blocks_[nodes_[node].slot / kLanes]; }
  int home_lane(NodeIndex node) const { return static_cast<int>(nodes_[node].slot % kLanes); }
  void check_node(NodeIndex node, bool at_rest) const;

  // A freed entry keeps its generation (bumped) and goes on the free list. Entries that a tree has
  // reserved are nobody's node yet; they wait in the tree's own lists, so that trees can grow side
  // by side on several threads.
  std::vector<Node, HugePageAllocator<Node>> nodes_;
  std::vector<NodeIndex> free_nodes_;
  std::vector<ChildBlock, HugePageAllocator<ChildBlock>> blocks_;
  std::vector<uint32_t> free_blocks_;
  std::vector<Tree> trees_;
  std::vector<uint32_t> free_trees_;
  uint64_t drops_ = 0;
  std::mutex mutex_;
};

}  // namespace treeward
