// The numbers of a search on the nodes: visits, values, virtual visits, priors, closing.
#include <algorithm>
#include <cmath>

#include "tree/arena.h"

namespace treeward {

double Arena::value_of(NodeIndex node, Backup mode) const {
  const int32_t visits = nodes_[node].visits;
  if (visits == 0) return std::numeric_limits<double>::quiet_NaN();
  return mode == Backup::kMax ? nodes_[node].value_max : nodes_[node].value_sum / visits;
}

void Arena::backup(NodeIndex leaf, double value, Backup mode) {
  if (mode == Backup::kMinPath) {
    for (NodeIndex node = leaf; node != kNoNode; node = nodes_[node].parent) {
      const double reward = nodes_[node].reward;
      if (!std::isnan(reward)) value = std::min(value, reward);
    }
  }
  Tree& tree = trees_[nodes_[leaf].tree];
  ++nodes_[leaf].ended;
  for (NodeIndex index = leaf;; index = nodes_[index].parent) {
    Node& node = nodes_[index];
    ++node.visits;
    node.value_sum += value;
    node.value_max = std::max(node.value_max, value);
    node.value_min = std::min(node.value_min, value);
    if (node.parent == kNoNode) return;
    const double now = mode == Backup::kMax ? node.value_max : node.value_sum / node.visits;
    ChildBlock& block = blocks_[node.slot / kLanes];
    const uint32_t lane = node.slot % kLanes;
    block.visits[lane] = node.visits;
    block.value[lane] = static_cast<float>(now);
    tree.low = std::min(tree.low, now);
    tree.high = std::max(tree.high, now);
  }
}

void Arena::add_in_flight(NodeIndex node, int32_t amount, bool whole_path) {
  do {
    nodes_[node].in_flight += amount;
    if (nodes_[node].parent == kNoNode) return;
    home_block(node).in_flight[home_lane(node)] = nodes_[node].in_flight;
    node = nodes_[node].parent;
  } while (whole_path);
}

void Arena::refresh_priors(NodeIndex node) {
  // The largest log-probability goes out first, so a long segment does not underflow.
  double largest = -std::numeric_limits<double>::infinity();
  for (uint32_t b = nodes_[node].first_block; b != kNoBlock; b = blocks_[b].next) {
    for (int lane = 0; lane < blocks_[b].count; ++lane) {
      largest = std::max<double>(largest, nodes_[blocks_[b].child[lane]].logprob);
    }
  }
  double total = 0.0;
  for (uint32_t b = nodes_[node].first_block; b != kNoBlock; b = blocks_[b].next) {
    for (int lane = 0; lane < blocks_[b].count; ++lane) {
      total += std::exp(nodes_[blocks_[b].child[lane]].logprob - largest);
    }
  }
  for (uint32_t b = nodes_[node].first_block; b != kNoBlock; b = blocks_[b].next) {
    for (int lane = 0; lane < blocks_[b].count; ++lane) {
      const double weight = std::exp(nodes_[blocks_[b].child[lane]].logprob - largest);
      blocks_[b].prior[lane] = static_cast<float>(weight / total);
    }
  }
}

void Arena::close(NodeIndex node) {
  nodes_[node].flags |= kClosed;
  if (nodes_[node].parent == kNoNode) return;
  home_block(node).closed |= static_cast<uint16_t>(1u << home_lane(node));
}

bool Arena::all_children_closed(NodeIndex node) const {
  for (uint32_t b = nodes_[node].first_block; b != kNoBlock; b = blocks_[b].next) {
    if (blocks_[b].closed != (1u << blocks_[b].count) - 1u) return false;
  }
  return true;
}

void Arena::mark_busy(NodeIndex node, uint32_t epoch) {
  ChildBlock& block = home_block(node);
  if (block.busy_epoch != epoch) {
    block.busy_epoch = epoch;
    block.busy = 0;
  }
  block.busy |= static_cast<uint16_t>(1u << home_lane(node));
}

int32_t Arena::take_draws(NodeIndex node, int32_t count) {
  const int32_t first = nodes_[node].next_draw;
  nodes_[node].next_draw += count;
  return first;
}

void Arena::return_draws(NodeIndex node, int32_t first, int32_t count) {
  if (nodes_[node].next_draw == first + count) nodes_[node].next_draw = first;
}

}  // namespace treeward
