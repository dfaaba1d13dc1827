// Many trees in lockstep: nothing is allocated on the way, and all instruction sets agree.
#include "search/batched_search.h"

#include <atomic>
#include <cmath>
#include <cstdlib>
#include <new>
#include <random>

#include "check.h"
#include "common/errors.h"
#include "common/simd.h"
#include "common/thread_pool.h"

namespace {
std::atomic<int64_t> allocations{0};
}  // namespace

// Not inline: where only one of a pair is, the compiler takes them for ones that do not match.
__attribute__((noinline)) void* operator new(std::size_t size) {
  ++allocations;
  if (void* memory = std::malloc(size)) return memory;
  throw std::bad_alloc();
}
__attribute__((noinline)) void operator delete(void* memory) noexcept { std::free(memory); }
__attribute__((noinline)) void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}

using namespace treeward;

namespace {

struct Rows {
  explicit Rows(int32_t trees)
      : node(trees), parent(trees), action(trees), depth(trees), seed(trees) {}
  LeafRows pointers() {
    return {node.data(), parent.data(), action.data(), depth.data(), seed.data()};
  }
  std::vector<int32_t> node, parent, action, depth;
  std::vector<uint64_t> seed;
};

struct Found {
  std::vector<uint64_t> seeds;
  std::vector<int32_t> visits;
  int64_t allocations = 0;
  int64_t side_by_side = 0;  // roots of which the blocks are
};

Found search(const BatchedSettings& settings,
             const std::shared_ptr<Arena>& arena = std::make_shared<Arena>()) {
  std::vector<uint64_t> seeds(settings.trees);
  for (size_t tree = 0; tree < seeds.size(); ++tree) seeds[tree] = tree * 7;
  BatchedSearch batch(arena, settings, seeds);
  Rows rows(settings.trees);
  const size_t branching = settings.branching;
  std::vector<float> priors(settings.trees * branching);
  std::vector<float> values(settings.trees);
  std::vector<int32_t> widths(settings.trees);
  Found found;
  batch.select(rows.pointers());
  for (int32_t step = 0; step <= settings.simulations; ++step) {
    if (step == 1) allocations = 0;  // the first step may start threads
    const int64_t made = allocations;
    found.seeds.insert(found.seeds.end(), rows.seed.begin(), rows.seed.end());
    allocations = made;
    for (int32_t tree = 0; tree < settings.trees; ++tree) {
      const uint64_t seed = rows.seed[tree];
      values[tree] = static_cast<float>(seed >> 40) / 16777216.0f;
      widths[tree] = seed % 9 == 0 ? 0 : 1 + static_cast<int32_t>(seed % branching);
      float sum = 0.0f;
      float* row = priors.data() + tree * branching;
      for (int32_t i = 0; i < widths[tree]; ++i) {
        row[i] = 1.0f + static_cast<float>((seed >> (i % 32)) & 255);
        sum += row[i];
      }
      for (int32_t i = 0; i < widths[tree]; ++i) row[i] /= sum;
    }
    const Evaluation given{priors.data(), values.data(), widths.data()};
    if (step % 2 == 0 && step < settings.simulations) {
      batch.advance(given, rows.pointers());
    } else {
      batch.expand_and_backup(given);
      if (step < settings.simulations) batch.select(rows.pointers());
    }
  }
  found.allocations = allocations;
  arena->check();
  found.visits.resize(settings.trees * branching);
  batch.root_visits(found.visits.data());
  for (const NodeHandle root : batch.roots()) {
    found.side_by_side += arena->at(root.index).side_by_side ? 1 : 0;
  }
  return found;
}

void levels_and_threads_agree_and_nothing_is_allocated() {
  for (const int32_t branching : {1, 8, 16, 40}) {
    BatchedSettings settings{.trees = 300, .branching = branching, .simulations = 20, .rule = {}};
    settings.rule.normalise = branching == 16;
    if (branching == 40) settings.rule.formula = Formula::kMuZero;
    Found first;
    for (const SimdLevel level : available_levels()) {
      set_level(level);
      for (const int threads : {1, 3}) {
        thread_pool().resize(threads);
        const Found found = search(settings);
        if (first.seeds.empty()) first = found;
        CHECK(found.seeds == first.seeds && found.visits == first.visits);
        // Threads keep a list of the loops that run; trees allocate nothing.
        if (threads == 1) CHECK(found.allocations == 0);
      }
    }
  }
}

// The blocks of a node need not lie side by side: in an arena with holes they do not.
void holes_change_nothing() {
  for (const Formula formula : {Formula::kPuct, Formula::kUct, Formula::kMuZero}) {
    for (const int32_t branching : {40, 100}) {
      BatchedSettings settings{
          .trees = 3, .branching = branching, .simulations = 12, .rule = {.formula = formula}};
      const auto arena = std::make_shared<Arena>();
      NodeHandle roots[2] = {arena->add_tree(0), arena->add_tree(1)};
      for (int32_t i = 0; i < 2 * 300 * kLanes; ++i) {
        Child child;
        child.tokens = {i / 2};
        arena->add_child(arena->resolve(roots[i % 2]), child);
      }
      arena->drop_tree(roots[0]);
      for (const SimdLevel level : available_levels()) {
        set_level(level);
        const Found found = search(settings, arena);
        const Found expected = search(settings);
        CHECK(found.side_by_side < expected.side_by_side);
        CHECK(found.seeds == expected.seeds && found.visits == expected.visits);
      }
    }
  }
}

// Differences of these are infinite; the search goes on somewhere.
void huge_values_break_nothing() {
  for (const Formula formula : {Formula::kPuct, Formula::kMuZero}) {
    for (const SimdLevel level : available_levels()) {
      set_level(level);
      const auto arena = std::make_shared<Arena>();
      const BatchedSettings settings{.trees = 1,
                                     .branching = 40,
                                     .simulations = 60,
                                     .rule = {.formula = formula, .normalise = true}};
      const std::vector<uint64_t> seeds = {1};
      BatchedSearch batch(arena, settings, seeds);
      Rows rows(1);
      const std::vector<float> priors(40, 1.0f / 40);
      batch.select(rows.pointers());
      for (int32_t step = 0; step < settings.simulations; ++step) {
        const float value = step % 2 == 0 ? 3e38f : -3e38f;
        batch.advance({priors.data(), &value, nullptr}, rows.pointers());
        CHECK(rows.action[0] >= 0 && rows.action[0] < 40);
      }
      arena->check();
    }
  }
}

// Random children, some closed, busy or unvisited: every pass finds what one child after the other
// gives, with and without a child that is left out.
void passes_equal_single_children() {
  std::mt19937 random(5);
  const auto uniform = [&] { return static_cast<float>(random() % 1000) / 1000.0f; };
  for (int round = 0; round < 400; ++round) {
    Arena arena;
    const NodeIndex root = arena.add_tree(0).index;
    const int count = 1 + static_cast<int>(random() % 40);
    for (int i = 0; i < count; ++i) {
      Child child;
      child.tokens = {i};
      child.logprob = -3.0f * uniform();
      const NodeIndex node = arena.add_child(root, child).node;
      for (uint32_t visits = random() % 3; visits > 0; --visits) {
        arena.backup(node, round % 5 == 0 ? 0.5 : uniform(), Backup::kMean);
      }
      if (random() % 3 == 0) arena.add_in_flight(node, 1 + static_cast<int>(random() % 4), true);
      if (random() % 5 == 0) arena.close(node);
      if (random() % 5 == 0) arena.mark_busy(node, 1 + random() % 2);
    }
    arena.refresh_priors(root);
    SelectRule rule;
    rule.formula = static_cast<Formula>(round % 3);
    rule.virtual_loss = static_cast<VirtualLoss>(round / 3 % 2);
    rule.normalise = round % 4 == 0;
    rule.loss_weight = 1.7;
    const Selector selector(rule, round % 7 == 0 ? 100 : 0);
    for (const SimdLevel level : available_levels()) {
      set_level(level);
      const ScoreTerms terms = selector.terms(arena, root);
      uint32_t skip = kNoSlot;
      for (int pass = 0; pass < 3; ++pass) {
        Choice expected;
        for (const NodeIndex node : arena.children(root)) {
          const uint32_t slot = arena.at(node).slot;
          const ChildBlock& block = arena.block(slot / kLanes);
          const uint32_t bit = 1u << (slot % kLanes);
          const bool busy = block.busy_epoch == 1 && (block.busy & bit) != 0;
          if (slot == skip || busy || (block.closed & bit) != 0) continue;
          const float score = selector.score(arena, slot, terms);
          if (expected.slot == kNoSlot || score > expected.score) expected = {slot, score};
        }
        const Choice best = selector.best(arena, root, terms, 1, skip);
        CHECK(best.slot == expected.slot);
        CHECK(best.slot == kNoSlot || best.score == expected.score);
        skip = best.slot;
      }
    }
  }
}

void refusals() {
  auto arena = std::make_shared<Arena>();
  const std::vector<uint64_t> seeds = {1, 2};
  bool refused = false;
  try {
    BatchedSearch(arena, {.trees = 3, .branching = 1, .simulations = 1, .rule = {}}, seeds);
  } catch (const InvalidArgument&) {
    refused = true;
  }
  CHECK(refused && arena->live_nodes() == 0);
  {
    BatchedSearch(arena, {.trees = 2, .branching = 20, .simulations = 9, .rule = {}}, seeds);
    CHECK(arena->live_nodes() == 0);  // dropped at once
  }
  const BatchedSearch kept(arena, {.trees = 2, .branching = 20, .simulations = 9, .rule = {}},
                           seeds);
  CHECK(arena->live_nodes() == 2);
  arena->check();
}

}  // namespace

int main() {
  levels_and_threads_agree_and_nothing_is_allocated();
  holes_change_nothing();
  huge_values_break_nothing();
  passes_equal_single_children();
  refusals();
}
