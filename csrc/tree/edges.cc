// Children that are edges first: room for a whole search is set aside before it begins, and a node
// is made when an edge is visited. None of this allocates, so trees grow on several threads.
#include <algorithm>
#include <cmath>
#include <limits>

#include "common/errors.h"
#include "common/random.h"
#include "tree/arena.h"

namespace treeward {
namespace {

// Moves `count` entries from the back of `from` to the back of `to`, in their order.
void take_from_back(std::vector<uint32_t>& from, size_t count, std::vector<uint32_t>& to) {
  to.reserve(to.size() + count);
  to.insert(to.end(), from.end() - static_cast<std::ptrdiff_t>(count), from.end());
  from.resize(from.size() - count);
}

bool follow_each_other(std::span<const uint32_t> blocks) {
  for (size_t i = 1; i < blocks.size(); ++i) {
    if (blocks[i] != blocks[0] + i) return false;
  }
  return true;
}

// Appends first + count - 1, ..., first: the lowest is used first.
void append_downwards(std::vector<uint32_t>& to, size_t first, size_t count) {
  for (size_t i = count; i > 0; --i) to.push_back(static_cast<uint32_t>(first + i - 1));
}

}  // namespace

void Arena::grow(size_t nodes, size_t blocks) {
  // Amortised: many searches reserve one after the other.
  const auto room_for = [](auto& entries, size_t size) {
    if (size > entries.capacity()) entries.reserve(std::max(size, 2 * entries.capacity()));
  };
  room_for(nodes_, nodes_.size() + nodes);
  room_for(blocks_, blocks_.size() + blocks);
  nodes_.resize(nodes_.size() + nodes);
  blocks_.resize(blocks_.size() + blocks);
}

void Arena::reserve(std::span<const NodeHandle> roots, size_t nodes, size_t blocks) {
  for (const NodeHandle root : roots) resolve(root);
  const size_t entries = nodes_.size();
  const size_t block_entries = blocks_.size();
  const size_t all_nodes = nodes * roots.size();
  const size_t all_blocks = blocks * roots.size();
  const size_t new_nodes = all_nodes - std::min(all_nodes, free_nodes_.size());
  const size_t new_blocks = all_blocks - std::min(all_blocks, free_blocks_.size());
  if (entries + new_nodes >= kNoNode || block_entries + new_blocks >= kNoSlot / kLanes) {
    throw PoolExhausted("the arena cannot hold " + std::to_string(all_nodes) + " more nodes and " +
                        std::to_string(all_blocks) + " more child blocks");
  }
  free_nodes_.reserve(free_nodes_.size() + new_nodes);
  free_blocks_.reserve(free_blocks_.size() + new_blocks);
  grow(new_nodes, new_blocks);
  append_downwards(free_nodes_, entries, new_nodes);
  append_downwards(free_blocks_, block_entries, new_blocks);
  for (const NodeHandle root : roots) {
    Tree& tree = trees_[nodes_[root.index].tree];
    tree.nodes.reserve(tree.nodes.size() + nodes);
    tree.tokens.reserve(tree.tokens.size() + nodes);
    tree.blocks.reserve(tree.blocks.size() + blocks);
    take_from_back(free_nodes_, nodes, tree.spare_nodes);
    take_from_back(free_blocks_, blocks, tree.spare_blocks);
  }
}

void Arena::add_edges(NodeIndex node, std::span<const float> priors) {
  const uint32_t tree = nodes_[node].tree;
  nodes_[node].last_block = static_cast<uint32_t>(trees_[tree].blocks.size());
  for (size_t first = 0; first < priors.size(); first += kLanes) {
    ChildBlock& block = blocks_[take_block(tree)];
    const auto lanes = priors.subspan(first, std::min<size_t>(kLanes, priors.size() - first));
    std::fill(std::ranges::copy(lanes, block.prior).out, std::end(block.prior), 0.0f);
  }
  nodes_[node].child_count = static_cast<uint32_t>(priors.size());
  nodes_[node].flags |= kEdges;
}

void Arena::open_edges(NodeIndex node) {
  const uint32_t* blocks = tree_of(node).blocks.data() + nodes_[node].last_block;
  const uint32_t count = nodes_[node].child_count;
  const uint32_t last = (count - 1) / kLanes;
  for (uint32_t i = 0; i <= last; ++i) {
    ChildBlock& block = blocks_[blocks[i]];
    clear_lanes(block);
    block.next = i < last ? blocks[i + 1] : kNoBlock;
    block.count = static_cast<uint16_t>(i < last ? kLanes : count - last * kLanes);
  }
  nodes_[node].first_block = blocks[0];
  nodes_[node].last_block = blocks[last];
  nodes_[node].side_by_side = follow_each_other(std::span(blocks, last + 1));
}

NodeIndex Arena::visit_edge(NodeIndex parent, uint32_t slot, int32_t number, uint64_t hash) {
  const int32_t token[] = {number};
  const NodeIndex node = new_node(nodes_[parent].tree, parent, token, hash);
  ChildBlock& block = blocks_[slot / kLanes];
  const uint32_t lane = slot % kLanes;
  const float prior = std::max(block.prior[lane], std::numeric_limits<float>::min());
  nodes_[node].slot = slot;
  nodes_[node].depth = nodes_[parent].depth + 1;
  nodes_[node].logprob = std::log(prior);
  nodes_[node].logprob_sum = nodes_[parent].logprob_sum + nodes_[node].logprob;
  nodes_[node].path_hash = child_path_hash(nodes_[parent].path_hash, hash);
  block.child[lane] = node;
  return node;
}

}  // namespace treeward
