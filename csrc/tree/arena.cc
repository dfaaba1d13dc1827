#include "tree/arena.h"

#include <algorithm>
#include <cmath>
#include <memory>

#include "common/errors.h"

namespace treeward {
uint64_t hash_tokens(std::span<const int32_t> tokens) {
  uint64_t hash = mix64(tokens.size());
  for (const int32_t token : tokens) hash = mix64(hash ^ static_cast<uint32_t>(token));
  return hash;
}

NodeIndex Arena::take_entry(uint32_t tree) {
  NodeIndex node;
  if (std::vector<NodeIndex>& spare = trees_[tree].spare_nodes; !spare.empty()) {
    node = spare.back();
    spare.pop_back();
  } else if (!free_nodes_.empty()) {
    node = free_nodes_.back();
    free_nodes_.pop_back();
  } else {
    node = static_cast<NodeIndex>(nodes_.size());
    if (node == kNoNode) throw PoolExhausted("the arena holds 2^32 - 1 nodes, no more fit");
    nodes_.emplace_back();
    return node;
  }
  const uint32_t generation = nodes_[node].generation;
  std::construct_at(&nodes_[node])->generation = generation;
  return node;
}

NodeIndex Arena::new_node(uint32_t tree, NodeIndex parent, std::span<const int32_t> tokens,
                          uint64_t token_hash) {
  const NodeIndex node = take_entry(tree);
  Tree& owner = trees_[tree];
  nodes_[node].tree = tree;
  nodes_[node].parent = parent;
  nodes_[node].token_offset = owner.tokens.size();
  nodes_[node].token_length = static_cast<uint32_t>(tokens.size());
  nodes_[node].token_hash = token_hash;
  nodes_[node].draws = 1;
  owner.tokens.insert(owner.tokens.end(), tokens.begin(), tokens.end());
  owner.nodes.push_back(node);
  return node;
}

NodeHandle Arena::add_tree(uint64_t seed, std::span<const int32_t> tokens) {
  uint32_t tree;
  if (free_trees_.empty()) {
    tree = static_cast<uint32_t>(trees_.size());
    trees_.emplace_back();
  } else {
    tree = free_trees_.back();
    free_trees_.pop_back();
  }
  const NodeIndex root = new_node(tree, kNoNode, tokens, hash_tokens(tokens));
  trees_[tree].root = root;
  // Equal problems with equal seeds draw alike on purpose; they are still two trees.
  nodes_[root].path_hash = mix64(seed ^ nodes_[root].token_hash);
  return handle(root);
}

uint32_t Arena::take_block(uint32_t tree) {
  uint32_t fresh;
  if (std::vector<uint32_t>& spare = trees_[tree].spare_blocks; !spare.empty()) {
    fresh = spare.back();
    spare.pop_back();
  } else if (!free_blocks_.empty()) {
    fresh = free_blocks_.back();
    free_blocks_.pop_back();
  } else {
    fresh = static_cast<uint32_t>(blocks_.size());
    if (fresh == kNoSlot / kLanes) throw PoolExhausted("the arena holds 2^28 - 1 child blocks");
    blocks_.emplace_back();
  }
  trees_[tree].blocks.push_back(fresh);
  return fresh;
}

void Arena::clear_lanes(ChildBlock& block) {
  std::fill_n(block.value, kLanes, 0.0f);
  std::fill_n(block.visits, kLanes, 0);
  std::fill_n(block.child, kLanes, kNoNode);
  std::fill_n(block.in_flight, kLanes, 0);
  block.next = kNoBlock;
  block.count = 0;
  block.closed = 0;
  block.busy_epoch = 0;
  block.busy = 0;
}

uint32_t Arena::append_block(NodeIndex parent) {
  const uint32_t fresh = take_block(nodes_[parent].tree);
  std::fill_n(blocks_[fresh].prior, kLanes, 0.0f);
  clear_lanes(blocks_[fresh]);
  const uint32_t last = nodes_[parent].last_block;
  (last == kNoBlock ? nodes_[parent].first_block : blocks_[last].next) = fresh;
  nodes_[parent].last_block = fresh;
  return fresh;
}

void Arena::append_to_parent(NodeIndex node) {
  const NodeIndex parent = nodes_[node].parent;
  uint32_t block = nodes_[parent].last_block;
  if (block == kNoBlock || blocks_[block].count == kLanes) block = append_block(parent);
  const uint16_t lane = blocks_[block].count++;
  blocks_[block].child[lane] = node;
  nodes_[node].slot = block * kLanes + lane;
  ++nodes_[parent].child_count;
}

Arena::Added Arena::add_child(NodeIndex parent, const Child& child) {
  if (has(parent, kEdges)) {
    throw InvalidArgument("node " + std::to_string(handle(parent).packed()) +
                          " has edges: no child can be added to it");
  }
  const uint64_t hash = hash_tokens(child.tokens);
  for (uint32_t b = nodes_[parent].first_block; b != kNoBlock; b = blocks_[b].next) {
    for (int lane = 0; lane < blocks_[b].count; ++lane) {
      const NodeIndex known = blocks_[b].child[lane];
      if (nodes_[known].token_hash != hash) continue;
      if (!std::ranges::equal(tokens(known), child.tokens)) continue;
      ++nodes_[known].draws;
      if (child.value && std::isnan(nodes_[known].reward)) nodes_[known].reward = *child.value;
      if (nodes_[known].verdict < 0) nodes_[known].verdict = child.verdict;
      if (nodes_[known].answer < 0 && child.answer >= 0) {
        nodes_[known].answer = child.answer;
        clear_flags(known, kDead);
      }
      return {known, false};
    }
  }
  const NodeIndex node = new_node(nodes_[parent].tree, parent, child.tokens, hash);
  nodes_[node].depth = nodes_[parent].depth + 1;
  nodes_[node].finish = child.finish;
  nodes_[node].verdict = child.verdict;
  nodes_[node].answer = child.answer;
  if (child.value) nodes_[node].reward = *child.value;
  nodes_[node].logprob = child.logprob;
  nodes_[node].logprob_sum = nodes_[parent].logprob_sum + child.logprob;
  nodes_[node].path_hash = child_path_hash(nodes_[parent].path_hash, hash);
  if (child.terminal) {
    nodes_[node].flags = static_cast<uint8_t>(kTerminal | (child.answer < 0 ? kDead : 0));
  }
  append_to_parent(node);
  return {node, true};
}

void Arena::drop_tree(NodeHandle root) {
  const NodeIndex index = resolve(root);
  if (nodes_[index].parent != kNoNode) {
    throw InvalidArgument("drop_tree takes the root of a tree, node " +
                          std::to_string(root.packed()) + " is not one");
  }
  ++drops_;
  const uint32_t tree = nodes_[index].tree;
  const Tree& owner = trees_[tree];
  const size_t nodes = owner.nodes.size();
  constexpr size_t kAhead = 8;
  for (size_t i = 0; i < nodes; ++i) {
    if (i + kAhead < nodes) {
      __builtin_prefetch(&nodes_[owner.nodes[i + kAhead]].tree, 1);
      __builtin_prefetch(&nodes_[owner.nodes[i + kAhead]].generation, 1);
    }
    Node& node = nodes_[owner.nodes[i]];
    node.tree = kNoTree;
    // A generation of 0 would make a handle that looks like none.
    if (++node.generation == 0) node.generation = 1;
  }
  // Last taken, first given back: a tree that follows finds the entries in their old order, the
  // blocks of a node side by side.
  free_nodes_.insert(free_nodes_.end(), owner.spare_nodes.begin(), owner.spare_nodes.end());
  free_nodes_.insert(free_nodes_.end(), owner.nodes.rbegin(), owner.nodes.rend());
  free_blocks_.insert(free_blocks_.end(), owner.spare_blocks.begin(), owner.spare_blocks.end());
  free_blocks_.insert(free_blocks_.end(), owner.blocks.rbegin(), owner.blocks.rend());
  trees_[tree] = Tree{};
  free_trees_.push_back(tree);
}

bool Arena::alive(NodeHandle handle) const {
  return handle.index < nodes_.size() && nodes_[handle.index].tree != kNoTree &&
         nodes_[handle.index].generation == handle.generation;
}

NodeIndex Arena::resolve(NodeHandle handle) const {
  if (!alive(handle)) {
    throw StaleHandle("node " + std::to_string(handle.packed()) + " (index " +
                      std::to_string(handle.index) + ", generation " +
                      std::to_string(handle.generation) + ") is not alive in this arena");
  }
  return handle.index;
}

std::vector<NodeIndex> Arena::children(NodeIndex node) const {
  std::vector<NodeIndex> result;
  result.reserve(nodes_[node].child_count);
  for (uint32_t b = nodes_[node].first_block; b != kNoBlock; b = blocks_[b].next) {
    for (int lane = 0; lane < blocks_[b].count; ++lane) {
      if (blocks_[b].child[lane] != kNoNode) result.push_back(blocks_[b].child[lane]);
    }
  }
  return result;
}

std::vector<NodeIndex> Arena::path(NodeIndex node) const {
  std::vector<NodeIndex> result;
  result.reserve(nodes_[node].depth + 1);
  for (; node != kNoNode; node = nodes_[node].parent) result.push_back(node);
  std::ranges::reverse(result);
  return result;
}

std::span<const int32_t> Arena::tokens(NodeIndex node) const {
  return std::span<const int32_t>(tree_of(node).tokens)
      .subspan(nodes_[node].token_offset, nodes_[node].token_length);
}

std::vector<int32_t> Arena::path_tokens(NodeIndex node) const {
  std::vector<int32_t> result;
  for (const NodeIndex step : path(node)) {
    const auto segment = tokens(step);
    result.insert(result.end(), segment.begin(), segment.end());
  }
  return result;
}

size_t Arena::live_nodes() const {
  size_t total = 0;
  for (const Tree& tree : trees_) total += tree.nodes.size();
  return total;
}

size_t Arena::bytes() const {
  size_t total = nodes_.capacity() * sizeof(Node) + blocks_.capacity() * sizeof(ChildBlock) +
                 (free_nodes_.capacity() + free_blocks_.capacity()) * sizeof(uint32_t);
  for (const Tree& tree : trees_) {
    total += tree.nodes.capacity() * sizeof(NodeIndex) + tree.tokens.capacity() * sizeof(int32_t) +
             tree.blocks.capacity() * sizeof(uint32_t) +
             tree.spare_nodes.capacity() * sizeof(NodeIndex) +
             tree.spare_blocks.capacity() * sizeof(uint32_t);
  }
  return total;
}

}  // namespace treeward
