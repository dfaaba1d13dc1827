// The plan of a step: what each row sees, against the paths themselves.
#include "kv/step_batch.h"

#include <random>
#include <vector>

#include "check.h"
#include "common/errors.h"

using namespace treeward;

namespace {

struct Key {
  int32_t position, slot;
};

// The keys of a row in the order of its merge.
std::vector<Key> reach(const Plan& plan, int32_t row) {
  std::vector<Key> keys;
  for (int32_t i = plan.reduce_begin[row]; i < plan.reduce_begin[row + 1]; ++i) {
    const int32_t partial = plan.reduce_partials[i];
    for (const WorkItem& item : plan.items) {
      const int32_t query = item.query_begin + partial - item.partial_begin;
      if (query != row || query < item.query_begin || query >= item.query_end) continue;
      for (int32_t k = 0; k < item.n_tokens; ++k) {
        if (item.position + k > plan.query_position[row]) break;
        keys.push_back({item.position + k, plan.slots[item.slot_begin + k]});
      }
    }
  }
  return keys;
}

void check_rows(const SpanTree& spans, const StepBatch& batch, const std::vector<State>& states) {
  const Plan& plan = batch.plan();
  CHECK(batch.n_rows() == batch.total_cost());
  for (size_t i = 0; i < states.size(); ++i) {
    const int32_t row = batch.state_rows()[i];
    const std::vector<int32_t> tokens = spans.tokens(states[i]);
    CHECK(batch.row_tokens()[row] == tokens.back());
    CHECK(plan.query_position[row] == states[i].length - 1);
    const std::vector<Key> keys = reach(plan, row);
    CHECK(keys.size() == tokens.size());
    for (size_t k = 0; k < keys.size(); ++k) CHECK(keys[k].position == static_cast<int32_t>(k));
    // From the leaf up: the slots that the spans hold.
    int32_t upto = states[i].length;
    for (int32_t s = spans.resolve(states[i]); s >= 0; s = spans.span(s).parent) {
      const Span& span = spans.span(s);
      for (int32_t k = span.start; k < upto; ++k) CHECK(keys[k].slot == span.slots[k - span.start]);
      upto = span.start;
    }
  }
  for (int32_t row = batch.n_rows(); row < plan.n_rows; ++row) {
    CHECK(plan.append_slots[row] == -1 && plan.query_position[row] == -1);
    CHECK(reach(plan, row).empty());
  }
  for (const WorkItem& item : plan.items) {
    CHECK(item.position / kChunkTokens == (item.position + item.n_tokens - 1) / kChunkTokens);
    CHECK(item.query_begin < item.query_end && item.query_end <= batch.n_rows());
    for (int32_t q = item.query_begin; q < item.query_end; ++q) {
      CHECK(plan.query_position[q] >= item.position);  // no partial without a key
    }
  }
}

void test_random_trees() {
  std::mt19937 random(7);
  const auto below = [&](size_t n) { return static_cast<int32_t>(random() % n); };
  for (int32_t round = 0; round < 60; ++round) {
    SpanTree spans(80 + below(200), 1 + below(20));
    std::vector<State> states;
    for (int32_t t = 0; t < 3; ++t) {
      const std::vector<int32_t> prompt(1 + below(140), 5);
      states.push_back(spans.root(spans.open_tree(prompt)));
    }
    for (int32_t step = 0; step < 12; ++step) {
      for (int32_t i = 0; i < 6; ++i) {
        State state = states[below(states.size())];
        for (int32_t n = below(30); n >= 0; --n) state = spans.extend(state, below(3));
        states.push_back(state);
      }
      StepBatch batch(spans);
      std::vector<State> wanted;
      for (int32_t i = 0; i < 8; ++i) {
        const State state = states[below(states.size())];
        if (batch.add(state)) wanted.push_back(state);
        spans.check_invariants();
      }
      batch.finish(1 + below(16));
      check_rows(spans, batch, wanted);
      if (below(4) > 0) {
        batch.commit();
      } else {
        batch.abort();
      }
      spans.check_invariants();
    }
  }
}

void test_read_again() {
  SpanTree spans(4, 4);
  const State root = spans.root(spans.open_tree({1, 2, 3}));
  const State leaf = spans.extend(root, 4);
  for (int32_t round = 0; round < 2; ++round) {
    StepBatch batch(spans);
    CHECK(batch.cost(leaf) == (round == 0 ? 4 : 1));
    CHECK(batch.add(leaf));
    CHECK(batch.cost(leaf) == 0);
    CHECK(batch.add(leaf) && batch.add(root));
    batch.finish(8);
    check_rows(spans, batch, {leaf, leaf, root});
    CHECK(batch.n_rows() == (round == 0 ? 4 : 2));
    CHECK((batch.plan().append_slots[batch.state_rows()[0]] < 0) == (round == 1));
    batch.commit();
    bool raised = false;
    try {
      batch.commit();
    } catch (const Error&) {
      raised = true;
    }
    CHECK(raised);
  }
}

}  // namespace

int main() {
  test_random_trees();
  test_read_again();
}
