// The numbers of a search on the nodes: visits, values, virtual visits, priors, closing.
#include <algorithm>
#include <cmath>

#include "tree/arena.h"

namespace treeward {

double Arena::value_of(NodeIndex node, Backup mode) const {
  const int32_t visits = columns_.visits[node];
  if (visits == 0) return std::numeric_limits<double>::quiet_NaN();
  return mode == Backup::kMax ? columns_.value_max[node] : columns_.value_sum[node] / visits;
}

void Arena::backup(NodeIndex leaf, double value, Backup mode) {
  if (mode == Backup::kMinPath) {
    for (NodeIndex node = leaf; node != kNoNode; node = columns_.parent[node]) {
      const double reward = columns_.reward[node];
      if (!std::isnan(reward)) value = std::min(value, reward);
    }
  }
  Tree& tree = trees_[columns_.tree[leaf]];
  ++columns_.ended[leaf];
  for (NodeIndex node = leaf; node != kNoNode; node = columns_.parent[node]) {
    const int32_t visits = ++columns_.visits[node];
    columns_.value_sum[node] += value;
    columns_.value_max[node] = std::max(columns_.value_max[node], value);
    columns_.value_min[node] = std::min(columns_.value_min[node], value);
    if (columns_.parent[node] == kNoNode) continue;
    const double mean = value_of(node, mode);
    ChildBlock& block = home_block(node);
    const int lane = home_lane(node);
    block.visits[lane] = visits;
    block.value[lane] = static_cast<float>(mean);
    tree.low = std::min(tree.low, mean);
    tree.high = std::max(tree.high, mean);
  }
}

void Arena::add_in_flight(NodeIndex node, int32_t amount, bool whole_path) {
  do {
    columns_.in_flight[node] += amount;
    if (columns_.parent[node] == kNoNode) return;
    home_block(node).in_flight[home_lane(node)] = columns_.in_flight[node];
    node = columns_.parent[node];
  } while (whole_path);
}

void Arena::refresh_priors(NodeIndex node) {
  // The largest log-probability goes out first, so a long segment does not underflow.
  double largest = -std::numeric_limits<double>::infinity();
  for (uint32_t b = columns_.first_block[node]; b != kNoBlock; b = blocks_[b].next) {
    for (int lane = 0; lane < blocks_[b].count; ++lane) {
      largest = std::max<double>(largest, columns_.logprob[blocks_[b].child[lane]]);
    }
  }
  double total = 0.0;
  for (uint32_t b = columns_.first_block[node]; b != kNoBlock; b = blocks_[b].next) {
    for (int lane = 0; lane < blocks_[b].count; ++lane) {
      total += std::exp(columns_.logprob[blocks_[b].child[lane]] - largest);
    }
  }
  for (uint32_t b = columns_.first_block[node]; b != kNoBlock; b = blocks_[b].next) {
    for (int lane = 0; lane < blocks_[b].count; ++lane) {
      const double weight = std::exp(columns_.logprob[blocks_[b].child[lane]] - largest);
      blocks_[b].prior[lane] = static_cast<float>(weight / total);
    }
  }
}

void Arena::close(NodeIndex node) {
  columns_.flags[node] |= kClosed;
  if (columns_.parent[node] == kNoNode) return;
  home_block(node).closed |= static_cast<uint16_t>(1u << home_lane(node));
}

bool Arena::all_children_closed(NodeIndex node) const {
  for (uint32_t b = columns_.first_block[node]; b != kNoBlock; b = blocks_[b].next) {
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
  const int32_t first = columns_.next_draw[node];
  columns_.next_draw[node] += count;
  return first;
}

void Arena::return_draws(NodeIndex node, int32_t first, int32_t count) {
  if (columns_.next_draw[node] == first + count) columns_.next_draw[node] = first;
}

}  // namespace treeward
