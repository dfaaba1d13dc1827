#include "search/batched_search.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "common/errors.h"
#include "common/thread_pool.h"

namespace treeward {
namespace {

// Waking a thread costs about as much as half a step of so many trees with one block a node.
constexpr int64_t kBlocksPerTask = 128;

// Descents that go on at the same time: while one waits for memory the others compute.
constexpr int32_t kTogether = 8;

// Trees ahead of the one at work whose next entries are fetched.
constexpr int32_t kAhead = 4;

// Searches count their epochs from 1, so nothing is busy in this one.
constexpr uint32_t kNoEpoch = 0;

void require_positive(int32_t number, const char* name) {
  if (number < 1) {
    throw InvalidArgument(std::string(name) + " must be 1 or more, got " + std::to_string(number));
  }
}

// One leaf a tree is out at a time, so nothing is in flight.
SelectRule without_virtual_loss(SelectRule rule) {
  rule.virtual_loss = VirtualLoss::kNone;
  return rule;
}

const BatchedSettings& checked(const BatchedSettings& settings, size_t seeds) {
  require_positive(settings.trees, "trees");
  require_positive(settings.branching, "branching");
  require_positive(settings.simulations, "simulations");
  if (seeds != static_cast<size_t>(settings.trees)) {
    throw InvalidArgument("seeds must hold one number a tree, got " + std::to_string(seeds) +
                          " for " + std::to_string(settings.trees) + " trees");
  }
  return settings;
}

}  // namespace

BatchedSearch::BatchedSearch(std::shared_ptr<Arena> arena, const BatchedSettings& settings,
                             std::span<const uint64_t> seeds)
    : arena_(std::move(arena)),
      settings_(checked(settings, seeds.size())),
      selector_(without_virtual_loss(settings.rule), std::min(settings.simulations + 1, 1 << 16)),
      leaves_(settings.trees) {
  for (int32_t action = 0; action < settings_.branching; ++action) {
    action_hashes_.push_back(hash_tokens(std::span(&action, 1)));
  }
  const size_t nodes = settings_.simulations;
  roots_.reserve(seeds.size());
  try {
    drops_seen_ = arena_->drops();
    for (const uint64_t seed : seeds) roots_.push_back(arena_->add_tree(seed));
    arena_->reserve(roots_, nodes, (nodes + 1) * blocks_of_node());
  } catch (...) {
    drop_trees();
    throw;
  }
}

BatchedSearch::~BatchedSearch() { drop_trees(); }

void BatchedSearch::drop_trees() {
  // Backwards, so that a search that follows finds the entries in their old order.
  for (auto root = roots_.rbegin(); root != roots_.rend(); ++root) {
    if (arena_->alive(*root)) arena_->drop_tree(*root);
  }
}

void BatchedSearch::check_alive() {
  if (arena_->drops() == drops_seen_) return;
  for (const NodeHandle root : roots_) arena_->resolve(root);
  drops_seen_ = arena_->drops();
}

template <typename Function>
void BatchedSearch::for_ranges(Function&& function) const {
  const int64_t trees = settings_.trees;
  ThreadPool& pool = thread_pool();
  // One task a thread: in every step the same trees mostly meet the same processor's cache.
  const int64_t worth = trees * blocks_of_node() / kBlocksPerTask;
  const int64_t tasks = std::clamp<int64_t>(worth, 1, std::min<int64_t>(trees, pool.size()));
  pool.parallel_for(tasks, pool.size(), [&](int64_t task, int) {
    function(static_cast<int32_t>(task * trees / tasks),
             static_cast<int32_t>((task + 1) * trees / tasks));
  });
}

// At most kTogether trees, one level of all of them after the other.
void BatchedSearch::descend(int32_t begin, int32_t end) {
  const Arena& arena = *arena_;
  struct Walk {
    int32_t tree;
    NodeIndex node;
  };
  Walk walks[kTogether];
  int32_t count = 0;
  for (int32_t tree = begin; tree < end; ++tree) walks[count++] = {tree, roots_[tree].index};
  while (count > 0) {
    for (int32_t i = 0; i < count; ++i) {
      arena.prefetch_children(walks[i].node);
    }
    int32_t going_on = 0;
    for (int32_t i = 0; i < count; ++i) {
      const auto [tree, node] = walks[i];
      if (arena.at(node).first_block == kNoBlock) {
        leaves_[tree] = {node, kNoSlot, -1};
        continue;
      }
      const uint32_t slot =
          selector_.best(arena, node, selector_.terms(arena, node), kNoEpoch).slot;
      const NodeIndex child = arena.block(slot / kLanes).child[slot % kLanes];
      if (child == kNoNode) {
        leaves_[tree] = {node, slot, arena.child_number(node, slot)};
        continue;
      }
      __builtin_prefetch(&arena.at(child));
      walks[going_on++] = {tree, child};
    }
    count = going_on;
  }
}

void BatchedSearch::describe(const Leaf& leaf, int32_t tree, const LeafRows& out) const {
  const Node* c = arena_->nodes();
  // Every node but the root holds one token, so the place of its token is its number less one.
  const auto number = [&](NodeIndex node) {
    return static_cast<int32_t>(c[node].token_offset + c[node].token_length);
  };
  if (leaf.slot != kNoSlot) {
    out.node[tree] = static_cast<int32_t>(arena_->tree_of(leaf.node).nodes.size());
    out.parent[tree] = number(leaf.node);
    out.action[tree] = leaf.action;
    out.depth[tree] = static_cast<int32_t>(c[leaf.node].depth) + 1;
    out.seed[tree] = child_path_hash(c[leaf.node].path_hash, action_hashes_[leaf.action]);
    return;
  }
  const bool is_root = c[leaf.node].parent == kNoNode;
  out.node[tree] = number(leaf.node);
  out.parent[tree] = is_root ? -1 : number(c[leaf.node].parent);
  out.action[tree] = is_root ? -1 : arena_->tokens(leaf.node)[0];
  out.depth[tree] = static_cast<int32_t>(c[leaf.node].depth);
  out.seed[tree] = c[leaf.node].path_hash;
}

void BatchedSearch::select(const LeafRows& out) {
  if (steps_ > settings_.simulations) {
    throw InvalidArgument("the search has made its " + std::to_string(settings_.simulations) +
                          " simulations");
  }
  check_alive();
  for_ranges([&](int32_t begin, int32_t end) {
    for (int32_t first = begin; first < end; first += kTogether) {
      const int32_t last = std::min(first + kTogether, end);
      descend(first, last);
      for (int32_t tree = first; tree < last; ++tree) describe(leaves_[tree], tree, out);
    }
  });
  selected_ = true;
}

void BatchedSearch::check_evaluation(const float* priors, const float* values,
                                     const int32_t* widths) const {
  const int32_t branching = settings_.branching;
  for (int32_t tree = 0; tree < settings_.trees; ++tree) {
    const auto where = [&] { return " of tree " + std::to_string(tree); };
    if (!std::isfinite(values[tree])) throw NotFinite("the value" + where() + " is not finite");
    const int32_t width = widths == nullptr ? branching : widths[tree];
    if (width < 0 || width > branching) {
      throw InvalidArgument("the width" + where() + " must be 0 to " + std::to_string(branching) +
                            ", got " + std::to_string(width));
    }
    const float* row = priors + static_cast<size_t>(tree) * branching;
    // Lane by lane, so that the sum becomes vector code.
    float sums[kLanes] = {};
    bool in_range = true;
    for (int32_t first = 0; first < width; first += kLanes) {
      const int32_t lanes = std::min(kLanes, width - first);
      for (int32_t lane = 0; lane < lanes; ++lane) {
        const float prior = row[first + lane];
        in_range &= prior >= 0.0f && prior <= 2.0f;
        sums[lane] += prior;
      }
    }
    float sum = 0.0f;
    for (const float part : sums) sum += part;
    if (width > 0 && !(in_range && std::abs(sum - 1.0f) < 5e-5f)) {
      throw InvalidArgument("the priors" + where() +
                            " must not be negative and must add up to one");
    }
  }
}

void BatchedSearch::expand(int32_t tree, const float* priors, float value, int32_t width) {
  Arena& arena = *arena_;
  const Leaf& leaf = leaves_[tree];
  const bool is_edge = leaf.slot != kNoSlot;
  const NodeIndex node = is_edge ? arena.visit_edge(leaf.node, leaf.slot, leaf.action) : leaf.node;
  if (arena.at(node).visits == 0) {
    arena.set_reward(node, value);
    if (width > 0) {
      arena.add_edges(node, std::span(priors, static_cast<size_t>(width)));
    } else {
      arena.set_flags(node, kTerminal);
    }
  }
  arena.backup(node, value, settings_.rule.backup);
}

void BatchedSearch::expand_and_backup(const float* priors, const float* values,
                                      const int32_t* widths) {
  if (!selected_) throw InvalidArgument("expand_and_backup must follow a select");
  check_alive();
  check_evaluation(priors, values, widths);
  const int32_t branching = settings_.branching;
  for_ranges([&](int32_t begin, int32_t end) {
    for (int32_t tree = begin; tree < end; ++tree) {
      if (tree + kAhead < end) {
        arena_->prefetch_spare(roots_[tree + kAhead].index, blocks_of_node());
      }
      expand(tree, priors + static_cast<size_t>(tree) * branching, values[tree],
             widths == nullptr ? branching : widths[tree]);
    }
  });
  selected_ = false;
  ++steps_;
}

void BatchedSearch::root_visits(int32_t* out) {
  check_alive();
  const size_t branching = settings_.branching;
  std::fill_n(out, roots_.size() * branching, 0);
  for (size_t tree = 0; tree < roots_.size(); ++tree) {
    int32_t* row = out + tree * branching;
    uint32_t b = arena_->at(roots_[tree].index).first_block;
    for (; b != kNoBlock; b = arena_->block(b).next) {
      row = std::copy_n(arena_->block(b).visits, arena_->block(b).count, row);
    }
  }
}

}  // namespace treeward
