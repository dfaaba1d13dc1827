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

// Appends first + count - 1, ..., first: the lowest is used first.
void append_downwards(std::vector<uint32_t>& to, size_t first, size_t count) {
  for (size_t i = count; i > 0; --i) to.push_back(static_cast<uint32_t>(first + i - 1));
}

}  // namespace

void Arena::reserve(std::span<const NodeHandle> roots, size_t nodes, size_t blocks) {
  for (const NodeHandle root : roots) resolve(root);
  const size_t entries = columns_.parent.size();
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
    Tree& tree = trees_[columns_.tree[root.index]];
    tree.nodes.reserve(tree.nodes.size() + nodes);
    tree.tokens.reserve(tree.tokens.size() + nodes);
    take_from_back(free_nodes_, nodes, tree.spare_nodes);
    take_from_back(free_blocks_, blocks, tree.spare_blocks);
  }
}

void Arena::add_edges(NodeIndex node, std::span<const float> priors) {
  for (size_t first = 0; first < priors.size(); first += kLanes) {
    ChildBlock& block = blocks_[append_block(node)];
    const auto lanes = priors.subspan(first, std::min<size_t>(kLanes, priors.size() - first));
    std::ranges::copy(lanes, block.prior);
    block.count = static_cast<uint16_t>(lanes.size());
  }
  columns_.child_count[node] = static_cast<uint32_t>(priors.size());
  columns_.flags[node] |= kEdges;
}

NodeIndex Arena::visit_edge(NodeIndex parent, uint32_t slot, int32_t number) {
  const int32_t token[] = {number};
  const uint64_t hash = hash_tokens(token);
  const NodeIndex node = new_node(columns_.tree[parent], parent, token, hash);
  ChildBlock& block = blocks_[slot / kLanes];
  const uint32_t lane = slot % kLanes;
  const float prior = std::max(block.prior[lane], std::numeric_limits<float>::min());
  columns_.slot[node] = slot;
  columns_.depth[node] = columns_.depth[parent] + 1;
  columns_.logprob[node] = std::log(prior);
  columns_.logprob_sum[node] = columns_.logprob_sum[parent] + columns_.logprob[node];
  columns_.path_hash[node] = child_path_hash(columns_.path_hash[parent], hash);
  block.child[lane] = node;
  return node;
}

}  // namespace treeward
