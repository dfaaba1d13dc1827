// The eviction queue against an ordered set, and the index of spans against a multimap.
#include "kv/eviction_queue.h"

#include <map>
#include <random>
#include <set>
#include <tuple>

#include "check.h"
#include "kv/block_hash.h"
#include "kv/span_index.h"

namespace {

using treeward::EvictionQueue;
using treeward::SpanIndex;

void test_queue_against_a_set() {
  std::mt19937 random(1);
  EvictionQueue queue;
  std::set<std::tuple<bool, int64_t, int32_t>> expected;  // (kept, tick, span)
  std::map<int32_t, std::tuple<bool, int64_t, int32_t>> by_span;
  for (int step = 0; step < 20000; ++step) {
    const auto span = static_cast<int32_t>(random() % 300);
    const auto known = by_span.find(span);
    if (random() % 3 == 0) {
      queue.remove(span);
      if (known != by_span.end()) {
        expected.erase(known->second);
        by_span.erase(known);
      }
    } else {
      const bool discarded = random() % 4 == 0;
      const auto tick = static_cast<int64_t>(random() % 1000);
      queue.put(span, discarded, tick);
      if (known != by_span.end()) expected.erase(known->second);
      by_span[span] = {!discarded, tick, span};
      expected.insert(by_span[span]);
    }
    CHECK(queue.size() == expected.size() && queue.contains(span) == (by_span.count(span) > 0));
    if (!expected.empty()) CHECK(queue.first() == std::get<2>(*expected.begin()));
  }
  while (!expected.empty()) {
    CHECK(queue.first() == std::get<2>(*expected.begin()));
    queue.remove(queue.first());
    expected.erase(expected.begin());
  }
  CHECK(queue.empty());
}

void test_index_against_a_multimap() {
  std::mt19937 random(2);
  SpanIndex index;
  std::multimap<uint64_t, int32_t> expected;
  for (int step = 0; step < 30000; ++step) {
    // Few keys, close together: long probes, and several spans under one key.
    const uint64_t key = (random() % 40) << (random() % 2 * 32);
    const auto span = static_cast<int32_t>(random() % 5);
    const auto range = expected.equal_range(key);
    auto known = range.first;
    while (known != range.second && known->second != span) ++known;
    const bool there = known != range.second;
    if (random() % 2 == 0) {
      index.erase(key, span);
      if (there) expected.erase(known);
    } else if (!there) {
      index.insert(key, span);
      expected.emplace(key, span);
    }
    const int32_t found = index.find(key, [span](int32_t s) { return s == span; });
    bool now = false;
    const auto after = expected.equal_range(key);
    for (auto it = after.first; it != after.second; ++it) now = now || it->second == span;
    CHECK(found == (now ? span : -1));
    CHECK((index.find(key) >= 0) == (after.first != after.second));
  }
}

void test_block_hash_sees_every_token() {
  int32_t tokens[treeward::kBlockTokens] = {};
  std::set<uint64_t> seen = {treeward::block_hash(tokens)};
  for (int i = 0; i < treeward::kBlockTokens; ++i) {
    for (const int32_t token : {1, 2, 3, -1, 1 << 30}) {
      tokens[i] = token;
      CHECK(seen.insert(treeward::block_hash(tokens)).second);
    }
    tokens[i] = 0;
  }
}

}  // namespace

int main() {
  test_queue_against_a_set();
  test_index_against_a_multimap();
  test_block_hash_sees_every_token();
}
