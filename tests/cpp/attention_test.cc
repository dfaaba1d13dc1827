// Attention against sums in double, at every level of the host; meant for the sanitizers, since
// buffers are exactly as large as they must be.
#include "attention/attention.h"

#include <cmath>
#include <cstring>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "bf16.h"
#include "check.h"
#include "common/errors.h"
#include "common/simd.h"
#include "common/thread_pool.h"

namespace treeward {
namespace {

struct Case {
  int32_t q_heads, kv_heads, head_dim, page_size;
  int32_t prefix, branch, n_branches;  // tokens; the last token of each branch is a row
  AttentionParams params;
};

/// Exactly n elements on the heap, as floats and as what the kernels see.
struct Tensor {
  ElementType type;
  std::vector<float> values;
  std::unique_ptr<char[]> data;

  Tensor(ElementType t, size_t n, std::mt19937* random) : type(t), values(n), data() {
    std::normal_distribution<float> normal;
    data = std::make_unique<char[]>(n * bytes());
    for (size_t i = 0; i < n; ++i) set(i, random ? normal(*random) : NAN);
  }
  size_t bytes() const { return type == ElementType::f32 ? 4 : 2; }
  void set(size_t i, float x) {
    const uint16_t half = to_bf16(x);
    values[i] = type == ElementType::f32 ? x : from_bf16(half);
    std::memcpy(data.get() + i * bytes(), type == ElementType::f32 ? (void*)&x : (void*)&half,
                bytes());
  }
  float get(size_t i) const {
    if (type == ElementType::f32) {
      float x;
      std::memcpy(&x, data.get() + i * 4, 4);
      return x;
    }
    uint16_t x;
    std::memcpy(&x, data.get() + i * 2, 2);
    return from_bf16(x);
  }
};

/// A prefix shared by branches; rows are the last tokens of the branches. `together`: one item a
/// prefix chunk; otherwise one for each row.
Plan make_plan(const Case& c, bool together) {
  Plan plan;
  plan.n_rows = c.n_branches;
  plan.slots.resize(c.prefix + c.n_branches * c.branch);
  // Slots backwards: neighbours on the path are not neighbours in the pool.
  std::iota(plan.slots.rbegin(), plan.slots.rend(), 0);
  std::vector<std::vector<int32_t>> partials(c.n_branches);
  const auto add = [&](int32_t begin, int32_t end, int32_t slot, int32_t n, int32_t position) {
    for (int32_t first = 0; first < n; first += kChunkTokens) {
      plan.items.push_back({begin, end, slot + first, std::min(kChunkTokens, n - first),
                            position + first, plan.n_partials});
      for (int32_t row = begin; row < end; ++row) partials[row].push_back(plan.n_partials++);
    }
  };
  if (together) add(0, c.n_branches, 0, c.prefix, 0);
  for (int32_t row = 0; row < c.n_branches; ++row) {
    if (!together) add(row, row + 1, 0, c.prefix, 0);
    add(row, row + 1, c.prefix + row * c.branch, c.branch, c.prefix);
    plan.query_position.push_back(c.prefix + c.branch - 1);
    plan.append_slots.push_back(plan.slots[c.prefix + (row + 1) * c.branch - 1]);
  }
  plan.reduce_begin.push_back(0);
  for (const auto& of_row : partials) {
    plan.reduce_partials.insert(plan.reduce_partials.end(), of_row.begin(), of_row.end());
    plan.reduce_begin.push_back(static_cast<int32_t>(plan.reduce_partials.size()));
  }
  return plan;
}

struct Problem {
  Case c;
  Tensor keys, values, query, new_keys, new_values, out;
  KvLayer layer;

  Problem(const Case& given, ElementType type, std::mt19937& random)
      : c(given),
        keys(type, pool_elements(given), &random),
        values(type, pool_elements(given), &random),
        query(type, rows_elements(given, given.q_heads), &random),
        new_keys(type, rows_elements(given, given.kv_heads), &random),
        new_values(type, rows_elements(given, given.kv_heads), &random),
        out(type, rows_elements(given, given.q_heads), nullptr),
        layer{keys.data.get(), values.data.get(), pages(given), given.kv_heads,
              given.page_size, given.head_dim,    type} {}

  static int32_t pages(const Case& c) {
    return (c.prefix + c.n_branches * c.branch + c.page_size - 1) / c.page_size;
  }
  static size_t pool_elements(const Case& c) {
    return static_cast<size_t>(pages(c)) * c.kv_heads * c.page_size * c.head_dim;
  }
  static size_t rows_elements(const Case& c, int32_t heads) {
    return static_cast<size_t>(c.n_branches) * heads * c.head_dim;
  }

  size_t pool_at(int32_t slot, int32_t head, int32_t d) const {
    return ((static_cast<size_t>(slot / c.page_size) * c.kv_heads + head) * c.page_size +
            slot % c.page_size) *
               c.head_dim +
           d;
  }

  void run(const Plan& plan, AttentionScratch& scratch) {
    const int64_t q = static_cast<int64_t>(c.q_heads) * c.head_dim;
    const int64_t kv = static_cast<int64_t>(c.kv_heads) * c.head_dim;
    append(plan, layer, {new_keys.data.get(), kv, c.head_dim},
           {new_values.data.get(), kv, c.head_dim});
    attend(plan, layer, {query.data.get(), q, c.head_dim}, c.q_heads,
           {out.data.get(), q, c.head_dim}, c.params, scratch);
  }

  void check_against_doubles() const {
    const int32_t n = c.prefix + c.branch;
    for (int32_t row = 0; row < c.n_branches; ++row) {
      for (int32_t head = 0; head < c.q_heads; ++head) {
        const int32_t kv_head = head / (c.q_heads / c.kv_heads);
        const size_t at = (static_cast<size_t>(row) * c.q_heads + head) * c.head_dim;
        double total = 0;
        std::vector<double> sum(c.head_dim, 0.0);
        for (int32_t p = c.params.window > 0 ? std::max(0, n - c.params.window) : 0; p < n; ++p) {
          const int32_t i = p < c.prefix ? p : c.prefix + row * c.branch + p - c.prefix;
          const int32_t slot = c.prefix + c.n_branches * c.branch - 1 - i;
          double score = 0;
          for (int32_t d = 0; d < c.head_dim; ++d) {
            score += double{query.get(at + d)} * keys.get(pool_at(slot, kv_head, d));
          }
          score *= c.params.scale;
          if (c.params.softcap > 0) score = c.params.softcap * std::tanh(score / c.params.softcap);
          total += std::exp(score);
          for (int32_t d = 0; d < c.head_dim; ++d) {
            sum[d] += std::exp(score) * values.get(pool_at(slot, kv_head, d));
          }
        }
        for (int32_t d = 0; d < c.head_dim; ++d) {
          const double expected = sum[d] / total, got = out.get(at + d);
          const double tolerance = layer.type == ElementType::f32 ? 1e-5 : 1.2e-2;
          CHECK(std::abs(got - expected) <= tolerance * std::max(0.5, std::abs(expected)));
        }
      }
    }
  }
};

const std::vector<Case> kCases = {
    {4, 2, 32, 16, 40, 3, 5, {0.18f, 0, 0.0f}},     {14, 2, 64, 16, 130, 1, 7, {0.125f, 0, 0.0f}},
    {3, 3, 1, 1, 64, 1, 2, {1.0f, 0, 0.0f}},        {4, 1, 7, 4, 65, 66, 3, {0.4f, 70, 0.0f}},
    {8, 2, 80, 16, 10, 5, 9, {0.11f, 0, 30.0f}},    {2, 1, 48, 64, 200, 64, 4, {0.14f, 1, 0.0f}},
    {14, 2, 64, 16, 1100, 9, 5, {0.125f, 0, 0.0f}}, {2, 2, 16, 16, 1024, 65, 3, {0.3f, 600, 0.0f}},
    {6, 2, 33, 8, 0, 3, 4, {0.2f, 0, 2.0f}},        {16, 8, 128, 16, 64, 1, 33, {0.09f, 0, 0.0f}},
};

/// And groups of every number of rows, up to one more than a group takes.
std::vector<Case> all_cases() {
  std::vector<Case> cases = kCases;
  for (int32_t rows = 1; rows <= 25; ++rows) {
    cases.push_back({1, 1, 32, 16, 70, 2, rows, {0.2f, 0, 0.0f}});
  }
  return cases;
}

void right_and_reproducible() {
  std::mt19937 random(7);
  AttentionScratch scratch;  // shared by all calls: sizes grow and shrink
  for (const Case& c : all_cases()) {
    for (const ElementType type : {ElementType::f32, ElementType::bf16}) {
      Problem problem(c, type, random);
      problem.run(make_plan(c, true), scratch);
      problem.check_against_doubles();
      const size_t bytes = problem.out.values.size() * problem.out.bytes();
      const std::string expected(problem.out.data.get(), bytes);
      for (const int threads : {1, 2, 8}) {
        thread_pool().resize(threads);
        for (const bool together : {true, false}) {
          std::memset(problem.out.data.get(), 0xff, bytes);
          problem.run(make_plan(c, together), scratch);
          CHECK(expected == std::string(problem.out.data.get(), bytes));
        }
      }
    }
  }
}

void wrong_plans_are_refused() {
  std::mt19937 random(7);
  AttentionScratch scratch;
  Problem problem(kCases[0], ElementType::f32, random);
  const Plan good = make_plan(kCases[0], true);
  const auto refuses = [&](auto&& change) {
    Plan plan = good;
    change(plan);
    try {
      problem.run(plan, scratch);
    } catch (const InvalidArgument&) {
      return true;
    }
    return false;
  };
  CHECK(!refuses([](Plan&) {}));
  CHECK(refuses([](Plan& p) { p.slots[0] = 1 << 20; }));
  CHECK(refuses([](Plan& p) { p.append_slots[0] = -2; }));
  CHECK(refuses([](Plan& p) { p.items[0].query_end = 100; }));
  CHECK(refuses([](Plan& p) { p.items[0].partial_begin = 1; }));
  CHECK(refuses([](Plan& p) { p.items[0].n_tokens = 65; }));
  CHECK(refuses([](Plan& p) { p.reduce_begin[1] = 1000; }));
  CHECK(refuses([](Plan& p) { p.reduce_partials[0] = p.reduce_partials[2]; }));
  CHECK(refuses([](Plan& p) { p.n_rows = 4; }));
  CHECK(refuses([](Plan& p) { p.n_partials = -1; }));
}

}  // namespace
}  // namespace treeward

int main() {
  for (const treeward::SimdLevel level : treeward::available_levels()) {
    treeward::set_level(level);
    std::printf("level %s\n", treeward::simd_level_name(level));
    treeward::right_and_reproducible();
  }
  treeward::wrong_plans_are_refused();
  treeward::thread_pool().resize(1);
  return 0;
}
