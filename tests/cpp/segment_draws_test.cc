// Draws of segments over a small explicit model.
#include "sampling/segment_draws.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "check.h"
#include "common/errors.h"

using namespace treeward;

namespace {

constexpr int32_t kVocabulary = 4;
constexpr int32_t kEnd = 3;

using Tokens = std::vector<int32_t>;

std::vector<float> logits_after(const Tokens& path) {
  std::vector<float> row;
  for (int32_t t = 0; t < kVocabulary; ++t) {
    row.push_back(static_cast<float>(std::sin(1.7 * t + 0.9 * path.back() + 0.3 * path.size())));
  }
  return row;
}

int32_t open(SegmentDraws& draws, uint64_t seed, bool ask = false) {
  SegmentRules rules;
  rules.delimiters = {{2}, {1, 1}};
  rules.eos = {kEnd};
  rules.max_step_tokens = 3;
  rules.max_path_tokens = 40;
  rules.ask_after_token = ask;
  return draws.open({0}, seed, rules, SamplingOptions());
}

// Steps until nothing waits. Segments of an even sum end where somebody asks. Counts in `asked`
// the rows of each prefix.
std::vector<FinishedSegment> run(SpanTree& spans, SegmentDraws& draws, int32_t tree,
                                 std::vector<float> (*logits)(const Tokens&) = logits_after,
                                 std::map<int32_t, int>* asked = nullptr) {
  for (;;) {
    for (const EndQuestion& q : draws.take_questions()) {
      int32_t sum = 0;
      for (int32_t token : q.tokens) sum += token;
      draws.answer(tree, q.walker, sum % 2 == 0);
    }
    if (!draws.waiting(tree)) break;
    draws.begin_step(tree);
    StepBatch batch(spans);
    std::vector<int32_t> added;
    int64_t limit = 1 << 20;
    CHECK(draws.collect(tree, batch, limit, 1 << 20, added) == SegmentDraws::Collected::kAll);
    batch.finish(4);
    batch.commit();
    for (int32_t prefix : added) {
      const std::vector<float> row = logits(draws.tokens(tree, prefix));
      draws.supply(tree, prefix, row.data(), static_cast<int32_t>(row.size()));
      if (asked != nullptr) ++(*asked)[prefix];
    }
    draws.end_step(tree);
  }
  return draws.take_finished();
}

std::vector<Tokens> tokens_of(const std::vector<FinishedSegment>& found) {
  std::vector<Tokens> out;
  for (const FinishedSegment& f : found) out.push_back(f.tokens);
  return out;
}

void test_distinct() {
  for (const bool ask : {false, true}) {
    SpanTree spans(400, 2);
    SegmentDraws draws(spans);
    const int32_t together = open(draws, 5, ask);
    draws.expand(together, 1, 0, DrawMode::kDistinct, 60, 0, 0);
    const std::vector<FinishedSegment> found = run(spans, draws, together);
    std::set<Tokens> seen;
    double mass = 0;
    for (const FinishedSegment& f : found) {
      if (f.prefix < 0) continue;
      CHECK(seen.insert(f.tokens).second);
      mass += std::exp(f.logprob);
    }
    CHECK(found.size() == 60 && found.back().prefix == -1);
    CHECK(std::abs(mass - 1) < 1e-5);

    const int32_t apart = open(draws, 5, ask);
    std::vector<Tokens> one_by_one;
    for (int32_t i = 0; i < 60; ++i) {
      draws.expand(apart, 1, 0, DrawMode::kDistinct, 1, i, 0);
      for (Tokens& tokens : tokens_of(run(spans, draws, apart))) {
        one_by_one.push_back(std::move(tokens));
      }
    }
    CHECK(one_by_one == tokens_of(found));
    draws.close(together);
    draws.close(apart);
    CHECK(spans.live_spans() == 0 && spans.pool().used_slots() == 0);
  }
}

// A vocabulary of which not every token is ranked at once.
std::vector<float> wide_logits_after(const Tokens& path) {
  std::vector<float> row;
  for (int32_t t = 0; t < 3000; ++t) {
    row.push_back(static_cast<float>(std::sin(1.7 * t + path.back())));
  }
  return row;
}

void test_rows_that_were_let_go() {
  std::vector<std::vector<Tokens>> found;
  for (const int64_t row_bytes : {int64_t{0}, SegmentDraws::kRowBytes}) {
    SpanTree spans(2000, 2);
    SegmentDraws draws(spans, row_bytes);
    SegmentRules rules;
    rules.max_step_tokens = 2;
    rules.max_path_tokens = 40;
    const int32_t tree = draws.open({0}, 3, rules, SamplingOptions());
    std::map<int32_t, int> asked;
    found.emplace_back();
    for (int32_t draw = 0; draw < 20; ++draw) {
      draws.expand(tree, 1, 0, DrawMode::kDistinct, 10, 10 * draw, 0);
      draws.expand(tree, 2, 0, DrawMode::kSample, 10, 10 * draw, 0);
      for (Tokens& tokens : tokens_of(run(spans, draws, tree, wide_logits_after, &asked))) {
        found.back().push_back(std::move(tokens));
      }
    }
    const bool again = std::ranges::any_of(asked, [](const auto& a) { return a.second > 1; });
    CHECK(again == (row_bytes == 0));
    std::sort(found.back().begin(), found.back().end());
  }
  CHECK(found[0].size() == 400 && found[0] == found[1]);
}

void test_greedy_and_top() {
  SpanTree spans(100, 2);
  SegmentDraws draws(spans);
  const int32_t tree = open(draws, 1);
  draws.expand(tree, 1, 0, DrawMode::kGreedy, 1, 0, 0);
  draws.expand(tree, 2, 0, DrawMode::kTop, 5, 0, 0);
  const std::vector<FinishedSegment> found = run(spans, draws, tree);
  CHECK(found.size() == 6);
  std::set<int32_t> tops;
  int32_t exhausted = 0;
  for (const FinishedSegment& f : found) {
    if (f.request != 2) continue;
    exhausted += f.prefix < 0;
    if (f.prefix >= 0) tops.insert(f.tokens.at(0));
  }
  CHECK(tops.size() == kVocabulary && exhausted == 1);
}

void test_failures() {
  SpanTree spans(100, 2);
  SegmentDraws draws(spans);
  const int32_t tree = open(draws, 1);
  draws.expand(tree, 1, 0, DrawMode::kSample, 2, 0, 0);
  std::vector<float> row(kVocabulary, std::numeric_limits<float>::quiet_NaN());
  bool raised = false;
  try {
    draws.supply(tree, 0, row.data(), kVocabulary);
  } catch (const NotFinite&) {
    raised = true;
  }
  CHECK(raised);
  draws.cancel(tree);
  CHECK(!draws.waiting(tree) && draws.take_finished().empty());
  draws.expand(tree, 1, 0, DrawMode::kSample, 2, 0, 0);
  CHECK(run(spans, draws, tree).size() == 2);
}

}  // namespace

int main() {
  test_distinct();
  test_rows_that_were_let_go();
  test_greedy_and_top();
  test_failures();
}
