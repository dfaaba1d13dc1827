// Pages, spans and eviction, without Python in between.
#include "kv/span_tree.h"

#include <vector>

#include "check.h"
#include "common/errors.h"
#include "kv/step_batch.h"

using namespace treeward;

namespace {

template <typename Error, typename Function>
bool throws(Function&& function) {
  try {
    function();
  } catch (const Error&) {
    return true;
  }
  return false;
}

State extend(SpanTree& spans, State state, const std::vector<int32_t>& tokens) {
  for (int32_t token : tokens) state = spans.extend(state, token);
  spans.check_invariants();
  return state;
}

void compute(SpanTree& spans, const std::vector<State>& states) {
  StepBatch batch(spans);
  for (const State& state : states) CHECK(batch.add(state));
  batch.finish(4);
  batch.commit();
  spans.check_invariants();
}

std::vector<int32_t> counting(int32_t n) {
  std::vector<int32_t> out;
  for (int32_t i = 0; i < n; ++i) out.push_back(i % 50);
  return out;
}

void test_pool() {
  CHECK(throws<InvalidArgument>([] { PagePool(0, 1); }));
  CHECK(throws<InvalidArgument>([] { PagePool(1 << 20, 1 << 20); }));
  PagePool pool(2, 3);
  const int32_t page = pool.take_page();
  CHECK(pool.take_page() >= 0 && pool.take_page() < 0);
  pool.hold_open(page);
  pool.use_slot(page * 3);
  CHECK(!pool.drop_slot(page * 3));
  pool.let_go(page);
  CHECK(pool.free_pages() == 1 && pool.used_slots() == 0);
  CHECK(throws<Error>([&] { pool.drop_slot(page * 3); }));
}

void test_split_keeps_states() {
  SpanTree spans(16, 2);
  const int32_t tree = spans.open_tree({1, 2});
  const State root = spans.root(tree);
  const State leaf = extend(spans, root, {3, 4, 5, 6});
  compute(spans, {leaf});
  const State middle = extend(spans, root, {3, 4});
  const State other = extend(spans, middle, {9});
  const State early = extend(spans, root, {8});
  CHECK(spans.tokens(leaf) == std::vector<int32_t>({1, 2, 3, 4, 5, 6}));
  CHECK(spans.tokens(other) == std::vector<int32_t>({1, 2, 3, 4, 9}));
  CHECK(spans.tokens(early) == std::vector<int32_t>({1, 2, 8}));
  CHECK(spans.resident(leaf) == 6 && spans.resident(other) == 4 && spans.resident(early) == 2);
  bool existed = false;
  spans.extend(middle, 5, &existed);
  CHECK(existed);
  compute(spans, {other, early});
  CHECK(spans.counts(tree).computed == 8 && spans.counts(tree).unique == 8);
  spans.close_tree(tree);
  CHECK(spans.live_spans() == 0 && spans.pool().free_pages() == 16);
  CHECK(throws<StaleHandle>([&] { spans.tokens(leaf); }));
  CHECK(throws<StaleHandle>([&] { spans.close_tree(tree); }));
  CHECK(throws<StaleHandle>([&] { spans.close_tree(SpanTree::kSharedTree); }));
}

void test_eviction_order() {
  SpanTree spans(7, 1);
  const State root = spans.root(spans.open_tree({0}));
  std::vector<State> leaves;
  for (int32_t i = 1; i <= 3; ++i) {
    leaves.push_back(extend(spans, root, {i, i}));
    compute(spans, {leaves.back()});
  }
  spans.discard(leaves[2]);
  compute(spans, {extend(spans, root, {4})});
  CHECK(spans.resident(leaves[0]) == 3 && spans.resident(leaves[1]) == 3);
  CHECK(spans.resident(leaves[2]) == 1);
  spans.evict_all();
  spans.check_invariants();
  CHECK(spans.pool().used_slots() == 0 && spans.pool().free_pages() == 7);
}

void test_full_pool() {
  SpanTree spans(3, 2);
  const int32_t tree = spans.open_tree({0, 1, 2, 3});
  const State root = spans.root(tree);
  const State fits = extend(spans, root, {4, 5});
  const State large = extend(spans, root, {6, 7, 8});
  StepBatch batch(spans);
  CHECK(batch.add(root));
  CHECK(!batch.add(large));
  CHECK(batch.total_cost() == 4 && batch.n_states() == 1);
  CHECK(batch.add(fits));
  CHECK(throws<Error>([&] { spans.extend(root, 99); }));
  batch.finish(1);
  batch.commit();
  spans.check_invariants();
  CHECK(spans.resident(fits) == 6 && spans.pool().free_pages() == 0);
}

void test_shared_blocks() {
  SpanTree spans(100, 3);
  const std::vector<int32_t> prompt = counting(130);
  const int32_t first = spans.open_tree(prompt);
  compute(spans, {spans.root(first)});
  CHECK(spans.match(prompt) == 128);
  const int32_t second = spans.open_tree(prompt);
  compute(spans, {spans.root(second)});
  CHECK(spans.counts(second).reused == 128 && spans.counts(second).computed == 2);
  spans.close_tree(first);
  spans.check_invariants();
  CHECK(spans.resident(spans.root(second)) == 130);
  spans.new_version();
  CHECK(spans.match(prompt) == 0);
  spans.close_tree(second);
  CHECK(spans.pool().used_slots() == 128);
  spans.evict_all();
  CHECK(spans.pool().free_pages() == 100 && spans.live_spans() == 0);
}

void test_depth() {
  constexpr int32_t kDepth = 10000;
  SpanTree spans(kDepth, 2);
  const int32_t tree = spans.open_tree({0});
  State state = spans.root(tree);
  for (int32_t i = 0; i < kDepth; ++i) {
    const State next = spans.extend(state, 1);
    spans.extend(state, 2);
    state = next;
  }
  compute(spans, {state});
  spans.discard(spans.root(tree));
  CHECK(static_cast<int32_t>(spans.tokens(state).size()) == kDepth + 1);
  spans.evict_all();
  spans.close_tree(tree);
  CHECK(spans.live_spans() == 0);
}

}  // namespace

int main() {
  test_pool();
  test_split_keeps_states();
  test_eviction_order();
  test_full_pool();
  test_shared_blocks();
  test_depth();
}
