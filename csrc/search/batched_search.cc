#include "search/batched_search.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "common/errors.h"
#include "common/thread_pool.h"

namespace treeward {
namespace {

// Handing work to a thread costs about as much as half a step of so many trees with one block a
// node.
constexpr int64_t kBlocksPerTask = 16;

// Descents that go on at the same time: while one waits for memory the others compute.
constexpr int32_t kTogether = 8;

// Trees ahead of the one at work whose next entries are fetched.
constexpr int32_t kAhead = 4;

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

// Whether the numbers are not negative and add up to one. What is not a number makes a sum that is
// none, and nothing above one passes. Lane by lane, so that the loop becomes vector code.
bool is_distribution(const float* numbers, int32_t count) {
  constexpr int32_t kWide = 8;
  float sums[kWide] = {};
  float least[kWide] = {};
  int32_t at = 0;
  for (; at + kWide <= count; at += kWide) {
    for (int32_t lane = 0; lane < kWide; ++lane) {
      sums[lane] += numbers[at + lane];
      least[lane] = std::min(least[lane], numbers[at + lane]);
    }
  }
  float sum = 0.0f;
  float lowest = 0.0f;
  for (int32_t lane = 0; lane < kWide; ++lane) {
    sum += sums[lane];
    lowest = std::min(lowest, least[lane]);
  }
  for (; at < count; ++at) {
    sum += numbers[at];
    lowest = std::min(lowest, numbers[at]);
  }
  return lowest >= 0.0f && std::abs(sum - 1.0f) < 5e-5f;
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
    const auto end = static_cast<int32_t>((task + 1) * trees / tasks);
    for (auto begin = static_cast<int32_t>(task * trees / tasks); begin < end;) {
      const int32_t next = std::min(begin + kTogether, end);
      function(begin, next, end);
      begin = next;
    }
  });
}

void BatchedSearch::check_steps(int32_t done) const {
  if (done <= settings_.simulations) return;
  throw InvalidArgument("the search has made its " + std::to_string(settings_.simulations) +
                        " simulations");
}

// At most kTogether trees, one level of all of them after the other. Which walk ends at which level
// cannot be foreseen, so that question is not a branch.
void BatchedSearch::descend(int32_t begin, int32_t end) {
  const Arena& arena = *arena_;
  struct Walk {
    int32_t tree;
    NodeIndex node;
  };
  Walk walks[kTogether];
  EdgeQuery queries[kTogether];
  Choice found[kTogether];
  int32_t count = 0;
  for (int32_t tree = begin; tree < end; ++tree) walks[count++] = {tree, roots_[tree].index};
  while (count > 0) {
    int32_t inner = 0;
    for (int32_t i = 0; i < count; ++i) {
      const auto [tree, node] = walks[i];
      if (arena.edges_wait(node)) arena_->open_edges(node);
      arena.prefetch_edges(node);
      leaves_[tree] = {node, kNoSlot};
      walks[inner] = walks[i];
      inner += arena.at(node).first_block != kNoBlock ? 1 : 0;
    }
    for (int32_t i = 0; i < inner; ++i) selector_.set_query(arena, walks[i].node, queries[i]);
    selector_.best_edges(std::span(queries, inner), found);
    count = 0;
    for (int32_t i = 0; i < inner; ++i) {
      const auto [tree, node] = walks[i];
      const uint32_t slot = found[i].slot;
      const NodeIndex child = arena.block(slot / kLanes).child[slot % kLanes];
      const bool is_node = child != kNoNode;
      leaves_[tree].slot = slot;
      walks[count] = {tree, child};
      count += is_node ? 1 : 0;
      // The half that is read next: of the child by this walk, of the node by describe().
      __builtin_prefetch(is_node ? &arena.at(child).parent : &arena.at(node).generation);
    }
  }
}

void BatchedSearch::describe(const Leaf& leaf, int32_t tree, const LeafRows& out) const {
  const Node* c = arena_->nodes();
  // Every node but the root holds one token, so the place of its token is its number less one.
  const auto number = [&](NodeIndex node) {
    return static_cast<int32_t>(c[node].token_offset + c[node].token_length);
  };
  if (leaf.slot != kNoSlot) {
    const int32_t action = arena_->child_number(leaf.node, leaf.slot);
    out.node[tree] = static_cast<int32_t>(arena_->tree_of(leaf.node).nodes.size());
    out.parent[tree] = number(leaf.node);
    out.action[tree] = action;
    out.depth[tree] = static_cast<int32_t>(c[leaf.node].depth) + 1;
    out.seed[tree] = child_path_hash(c[leaf.node].path_hash, action_hashes_[action]);
    return;
  }
  const bool is_root = c[leaf.node].parent == kNoNode;
  out.node[tree] = number(leaf.node);
  out.parent[tree] = is_root ? -1 : number(c[leaf.node].parent);
  out.action[tree] = is_root ? -1 : arena_->tokens(leaf.node)[0];
  out.depth[tree] = static_cast<int32_t>(c[leaf.node].depth);
  out.seed[tree] = c[leaf.node].path_hash;
}

void BatchedSearch::find_leaves(int32_t begin, int32_t end, const LeafRows& out) {
  descend(begin, end);
  for (int32_t tree = begin; tree < end; ++tree) describe(leaves_[tree], tree, out);
}

void BatchedSearch::select(const LeafRows& out) {
  check_steps(steps_);
  check_alive();
  for_ranges([&](int32_t begin, int32_t next, int32_t) { find_leaves(begin, next, out); });
  selected_ = true;
}

void BatchedSearch::check_evaluation(const Evaluation& given) const {
  const int32_t branching = settings_.branching;
  for (int32_t tree = 0; tree < settings_.trees; ++tree) {
    const auto where = [&] { return " of tree " + std::to_string(tree); };
    if (!std::isfinite(given.values[tree])) {
      throw NotFinite("the value" + where() + " is not finite");
    }
    const int32_t width = width_of(given, tree);
    if (width < 0 || width > branching) {
      throw InvalidArgument("the width" + where() + " must be 0 to " + std::to_string(branching) +
                            ", got " + std::to_string(width));
    }
    if (width > 0 &&
        !is_distribution(given.priors + static_cast<size_t>(tree) * branching, width)) {
      throw InvalidArgument("the priors" + where() +
                            " must not be negative and must add up to one");
    }
  }
}

void BatchedSearch::expand(int32_t tree, const Evaluation& given) {
  Arena& arena = *arena_;
  const Leaf& leaf = leaves_[tree];
  NodeIndex node = leaf.node;
  if (leaf.slot != kNoSlot) {
    const int32_t action = arena.child_number(leaf.node, leaf.slot);
    node = arena.visit_edge(leaf.node, leaf.slot, action, action_hashes_[action]);
  }
  const float value = given.values[tree];
  if (arena.at(node).visits == 0) {
    arena.set_reward(node, value);
    if (const int32_t width = width_of(given, tree); width > 0) {
      const float* row = given.priors + static_cast<size_t>(tree) * settings_.branching;
      arena.add_edges(node, std::span(row, static_cast<size_t>(width)));
    } else {
      arena.set_flags(node, kTerminal);
    }
  }
  arena.backup(node, value, settings_.rule.backup);
}

void BatchedSearch::expand_range(int32_t begin, int32_t next, int32_t end,
                                 const Evaluation& given) {
  for (int32_t tree = begin; tree < next; ++tree) {
    if (tree + kAhead < end) {
      arena_->prefetch_spare(roots_[tree + kAhead].index, blocks_of_node());
    }
    expand(tree, given);
  }
}

void BatchedSearch::begin_expand(const Evaluation& given) {
  if (!selected_) throw InvalidArgument("expand_and_backup must follow a select");
  check_alive();
  check_evaluation(given);
}

void BatchedSearch::expand_and_backup(const Evaluation& given) {
  begin_expand(given);
  for_ranges(
      [&](int32_t begin, int32_t next, int32_t end) { expand_range(begin, next, end, given); });
  selected_ = false;
  ++steps_;
}

void BatchedSearch::advance(const Evaluation& given, const LeafRows& out) {
  begin_expand(given);
  check_steps(steps_ + 1);
  for_ranges([&](int32_t begin, int32_t next, int32_t end) {
    expand_range(begin, next, end, given);
    find_leaves(begin, next, out);
  });
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
