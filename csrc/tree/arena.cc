#include "tree/arena.h"

#include <algorithm>
#include <cmath>

#include "common/errors.h"

namespace treeward {
namespace {

template <typename Function>
void for_each_column(NodeColumns& c, Function&& function) {
  function(c.generation, 0u);
  function(c.parent, kNoNode);
  function(c.tree, kNoTree);
  function(c.depth, 0u);
  function(c.slot, 0u);
  function(c.first_block, kNoBlock);
  function(c.last_block, kNoBlock);
  function(c.child_count, 0u);
  function(c.flags, uint8_t{0});
  function(c.finish, Finish::kStop);
  function(c.verdict, int8_t{-1});
  function(c.answer, -1);
  function(c.visits, 0);
  function(c.ended, 0);
  function(c.in_flight, 0);
  function(c.value_sum, 0.0);
  function(c.value_max, -std::numeric_limits<double>::infinity());
  function(c.value_min, std::numeric_limits<double>::infinity());
  function(c.reward, std::numeric_limits<float>::quiet_NaN());
  function(c.logprob, 0.0f);
  function(c.logprob_sum, 0.0);
  function(c.draws, 0);
  function(c.next_draw, 0);
  function(c.path_hash, uint64_t{0});
  function(c.token_hash, uint64_t{0});
  function(c.token_offset, uint64_t{0});
  function(c.token_length, 0u);
}

}  // namespace

uint64_t hash_tokens(std::span<const int32_t> tokens) {
  uint64_t hash = mix64(tokens.size());
  for (const int32_t token : tokens) hash = mix64(hash ^ static_cast<uint32_t>(token));
  return hash;
}

void Arena::grow(size_t nodes, size_t blocks) {
  const size_t entries = columns_.parent.size();
  // Amortised: many trees reserve one after the other.
  const auto room_for = [](auto& column, size_t size) {
    if (size > column.capacity()) column.reserve(std::max(size, 2 * column.capacity()));
  };
  for_each_column(columns_, [&](auto& column, auto) { room_for(column, column.size() + nodes); });
  room_for(blocks_, blocks_.size() + blocks);
  for_each_column(
      columns_, [&](auto& column, auto initial) { column.resize(column.size() + nodes, initial); });
  std::fill(columns_.generation.begin() + static_cast<std::ptrdiff_t>(entries),
            columns_.generation.end(), 1);
  blocks_.resize(blocks_.size() + blocks);
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
    node = static_cast<NodeIndex>(columns_.parent.size());
    if (node == kNoNode) throw PoolExhausted("the arena holds 2^32 - 1 nodes, no more fit");
    for_each_column(columns_, [](auto& column, auto initial) { column.push_back(initial); });
    columns_.generation[node] = 1;
    return node;
  }
  const uint32_t generation = columns_.generation[node];
  for_each_column(columns_, [node](auto& column, auto initial) { column[node] = initial; });
  columns_.generation[node] = generation;
  return node;
}

NodeIndex Arena::new_node(uint32_t tree, NodeIndex parent, std::span<const int32_t> tokens,
                          uint64_t token_hash) {
  const NodeIndex node = take_entry(tree);
  Tree& owner = trees_[tree];
  columns_.tree[node] = tree;
  columns_.parent[node] = parent;
  columns_.token_offset[node] = owner.tokens.size();
  columns_.token_length[node] = static_cast<uint32_t>(tokens.size());
  columns_.token_hash[node] = token_hash;
  columns_.draws[node] = 1;
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
  columns_.path_hash[root] = mix64(seed ^ columns_.token_hash[root]);
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
  blocks_[fresh] = ChildBlock{};
  std::fill_n(blocks_[fresh].child, kLanes, kNoNode);
  blocks_[fresh].next = kNoBlock;
  return fresh;
}

uint32_t Arena::append_block(NodeIndex parent) {
  const uint32_t fresh = take_block(columns_.tree[parent]);
  const uint32_t last = columns_.last_block[parent];
  (last == kNoBlock ? columns_.first_block[parent] : blocks_[last].next) = fresh;
  columns_.last_block[parent] = fresh;
  return fresh;
}

void Arena::append_to_parent(NodeIndex node) {
  const NodeIndex parent = columns_.parent[node];
  uint32_t block = columns_.last_block[parent];
  if (block == kNoBlock || blocks_[block].count == kLanes) block = append_block(parent);
  const uint16_t lane = blocks_[block].count++;
  blocks_[block].child[lane] = node;
  columns_.slot[node] = block * kLanes + lane;
  ++columns_.child_count[parent];
}

Arena::Added Arena::add_child(NodeIndex parent, const Child& child) {
  if (has(parent, kEdges)) {
    throw InvalidArgument("node " + std::to_string(handle(parent).packed()) +
                          " has edges: no child can be added to it");
  }
  const uint64_t hash = hash_tokens(child.tokens);
  for (uint32_t b = columns_.first_block[parent]; b != kNoBlock; b = blocks_[b].next) {
    for (int lane = 0; lane < blocks_[b].count; ++lane) {
      const NodeIndex known = blocks_[b].child[lane];
      if (columns_.token_hash[known] != hash) continue;
      if (!std::ranges::equal(tokens(known), child.tokens)) continue;
      ++columns_.draws[known];
      if (child.value && std::isnan(columns_.reward[known])) columns_.reward[known] = *child.value;
      if (columns_.verdict[known] < 0) columns_.verdict[known] = child.verdict;
      if (columns_.answer[known] < 0 && child.answer >= 0) {
        columns_.answer[known] = child.answer;
        clear_flags(known, kDead);
      }
      return {known, false};
    }
  }
  const NodeIndex node = new_node(columns_.tree[parent], parent, child.tokens, hash);
  columns_.depth[node] = columns_.depth[parent] + 1;
  columns_.finish[node] = child.finish;
  columns_.verdict[node] = child.verdict;
  columns_.answer[node] = child.answer;
  if (child.value) columns_.reward[node] = *child.value;
  columns_.logprob[node] = child.logprob;
  columns_.logprob_sum[node] = columns_.logprob_sum[parent] + child.logprob;
  columns_.path_hash[node] = child_path_hash(columns_.path_hash[parent], hash);
  if (child.terminal) {
    columns_.flags[node] = static_cast<uint8_t>(kTerminal | (child.answer < 0 ? kDead : 0));
  }
  append_to_parent(node);
  return {node, true};
}

void Arena::drop_tree(NodeHandle root) {
  const NodeIndex index = resolve(root);
  if (columns_.parent[index] != kNoNode) {
    throw InvalidArgument("drop_tree takes the root of a tree, node " +
                          std::to_string(root.packed()) + " is not one");
  }
  const uint32_t tree = columns_.tree[index];
  for (const NodeIndex node : trees_[tree].nodes) {
    for (uint32_t b = columns_.first_block[node]; b != kNoBlock; b = blocks_[b].next) {
      free_blocks_.push_back(b);
    }
    columns_.tree[node] = kNoTree;
    // A generation of 0 would make a handle that looks like none.
    if (++columns_.generation[node] == 0) columns_.generation[node] = 1;
    free_nodes_.push_back(node);
  }
  const Tree& owner = trees_[tree];
  free_nodes_.insert(free_nodes_.end(), owner.spare_nodes.begin(), owner.spare_nodes.end());
  free_blocks_.insert(free_blocks_.end(), owner.spare_blocks.begin(), owner.spare_blocks.end());
  trees_[tree] = Tree{};
  free_trees_.push_back(tree);
}

bool Arena::alive(NodeHandle handle) const {
  return handle.index < columns_.parent.size() && columns_.tree[handle.index] != kNoTree &&
         columns_.generation[handle.index] == handle.generation;
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
  result.reserve(columns_.child_count[node]);
  for (uint32_t b = columns_.first_block[node]; b != kNoBlock; b = blocks_[b].next) {
    for (int lane = 0; lane < blocks_[b].count; ++lane) {
      if (blocks_[b].child[lane] != kNoNode) result.push_back(blocks_[b].child[lane]);
    }
  }
  return result;
}

std::vector<NodeIndex> Arena::path(NodeIndex node) const {
  std::vector<NodeIndex> result;
  result.reserve(columns_.depth[node] + 1);
  for (; node != kNoNode; node = columns_.parent[node]) result.push_back(node);
  std::ranges::reverse(result);
  return result;
}

std::span<const int32_t> Arena::tokens(NodeIndex node) const {
  return std::span<const int32_t>(tree_of(node).tokens)
      .subspan(columns_.token_offset[node], columns_.token_length[node]);
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
  size_t total = blocks_.capacity() * sizeof(ChildBlock) +
                 (free_nodes_.capacity() + free_blocks_.capacity()) * sizeof(uint32_t);
  for_each_column(const_cast<NodeColumns&>(columns_), [&total](auto& column, auto initial) {
    total += column.capacity() * sizeof(initial);
  });
  for (const Tree& tree : trees_) {
    total += tree.nodes.capacity() * sizeof(NodeIndex) + tree.tokens.capacity() * sizeof(int32_t) +
             tree.spare_nodes.capacity() * sizeof(NodeIndex) +
             tree.spare_blocks.capacity() * sizeof(uint32_t);
  }
  return total;
}

}  // namespace treeward
