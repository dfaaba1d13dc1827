// The invariants of an arena, spelled out once; property tests call them after every step.
#include <algorithm>
#include <cmath>
#include <set>

#include "common/errors.h"
#include "tree/arena.h"

namespace treeward {
namespace {

void require(bool holds, NodeIndex node, const char* rule) {
  if (!holds)
    throw Error("arena invariant broken at node index " + std::to_string(node) + ": " + rule);
}

}  // namespace

void Arena::check_node(NodeIndex node, bool at_rest) const {
  const Node* c = nodes();
  const Tree& tree = tree_of(node);
  require(c[node].token_offset + c[node].token_length <= tree.tokens.size(), node,
          "tokens lie inside the tree's tokens");
  require(c[node].draws >= 1, node, "every node was produced at least once");
  require(c[node].in_flight >= 0, node, "in-flight is not negative");
  require(!at_rest || c[node].in_flight == 0, node, "nothing is in flight at rest");
  require(!at_rest || !has(node, kExpanding), node, "nothing is being expanded at rest");
  require(!has(node, kTerminal) || c[node].child_count == 0, node, "a terminal has no children");
  require(!has(node, kDead) || !has(node, kTerminal) || c[node].answer < 0, node,
          "a dead end has no answer");

  uint32_t count = 0;
  int64_t visits = c[node].ended;
  double prior = 0.0;
  std::set<std::vector<int32_t>> segments;
  for (uint32_t b = c[node].first_block; b != kNoBlock; b = blocks_[b].next) {
    const ChildBlock& block = blocks_[b];
    require(block.count > 0 && (block.next == kNoBlock || block.count == kLanes), node,
            "every block but the last is full");
    require((b == c[node].last_block) == (block.next == kNoBlock), node,
            "the last block ends the chain");
    require(
        !c[node].side_by_side || (has(node, kEdges) && b == c[node].first_block + count / kLanes),
        node, "edges side by side follow each other");
    for (int lane = 0; lane < block.count; ++lane, ++count) {
      const NodeIndex child = block.child[lane];
      prior += block.prior[lane];
      if (child == kNoNode) {
        require(has(node, kEdges), node, "only edges stand for children that are not there");
        require(block.visits[lane] == 0 && block.in_flight[lane] == 0, node,
                "an edge was never visited");
        continue;
      }
      require(c[child].tree == c[node].tree && c[child].parent == node, node,
              "a child belongs to its parent's tree");
      require(c[child].slot == b * kLanes + static_cast<uint32_t>(lane), child,
              "slot names the lane");
      require(c[child].depth == c[node].depth + 1, child, "depth is the parent's plus one");
      require(block.visits[lane] == c[child].visits, child, "the lane mirrors the visits");
      require(block.in_flight[lane] == c[child].in_flight, child, "the lane mirrors in-flight");
      require(((block.closed >> lane) & 1) == has(child, kClosed), child,
              "the lane mirrors closed");
      require(std::abs(c[child].logprob_sum - c[node].logprob_sum - c[child].logprob) <
                  1e-6 * (1 + std::abs(c[child].logprob_sum)),
              child, "log-probability adds up along the path");
      require(c[child].path_hash == child_path_hash(c[node].path_hash, c[child].token_hash), child,
              "the path hash folds in the segment");
      const auto segment = tokens(child);
      require(segments.emplace(segment.begin(), segment.end()).second, child,
              "no two siblings hold the same segment");
      visits += c[child].visits;
    }
    for (int lane = block.count; lane < kLanes; ++lane) {
      require(block.child[lane] == kNoNode, node, "lanes past the count are empty");
    }
  }
  require(count == c[node].child_count || edges_wait(node), node, "the lanes hold all children");
  require(visits == c[node].visits, node, "visits = ended here + visits of the children");
  require(prior == 0.0 || std::abs(prior - 1.0) < 1e-4, node, "priors add up to one");
  if (c[node].visits > 0) {
    const double mean = c[node].value_sum / c[node].visits;
    const double slack = 1e-9 * (1.0 + std::abs(mean));
    require(mean >= c[node].value_min - slack && mean <= c[node].value_max + slack, node,
            "the mean lies between the least and the best value");
  }
}

void Arena::check(bool at_rest) const {
  size_t entries = free_nodes_.size();
  size_t blocks = free_blocks_.size();
  for (size_t t = 0; t < trees_.size(); ++t) {
    const Tree& tree = trees_[t];
    if (tree.root == kNoNode) {
      require(tree.nodes.empty(), kNoNode, "a freed tree has no nodes");
      continue;
    }
    size_t reached = 1;
    size_t linked = 0;
    for (const NodeIndex node : tree.nodes) {
      require(nodes_[node].tree == t, node, "a listed node belongs to its tree");
      require((nodes_[node].parent == kNoNode) == (node == tree.root), node,
              "only the root has no parent");
      check_node(node, at_rest);
      reached += children(node).size();
      for (uint32_t b = nodes_[node].first_block; b != kNoBlock; b = blocks_[b].next) ++linked;
      if (edges_wait(node)) linked += (nodes_[node].child_count + kLanes - 1) / kLanes;
    }
    require(linked == tree.blocks.size(), tree.root, "every block of the tree is some node's");
    // Every listed node but the root is somebody's child exactly once, so nothing is orphaned.
    require(reached == tree.nodes.size(), tree.root, "every node is reached from the root");
    entries += tree.nodes.size() + tree.spare_nodes.size();
    blocks += tree.blocks.size() + tree.spare_blocks.size();
  }
  require(entries == nodes_.size(), kNoNode, "live, reserved and free nodes make up the arena");
  require(blocks == blocks_.size(), kNoNode, "live, reserved and free blocks make up the arena");
}

}  // namespace treeward
