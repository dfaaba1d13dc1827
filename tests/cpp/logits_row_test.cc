// Logits rows, draws and the counter-based generator, without Python in between.
#include "sampling/logits_row.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "check.h"
#include "common/errors.h"
#include "common/random.h"
#include "common/simd.h"
#include "common/thread_pool.h"
#include "sampling/gumbel.h"
#include "sampling/row_kernels.h"

namespace {

using treeward::Candidate;
using treeward::SamplingOptions;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

template <typename Error, typename Function>
bool throws(Function&& function) {
  try {
    function();
  } catch (const Error&) {
    return true;
  }
  return false;
}

std::vector<float> random_row(uint64_t key, int32_t size) {
  std::vector<float> row(static_cast<size_t>(size));
  for (size_t i = 0; i < row.size(); ++i) {
    row[i] = static_cast<float>(20 * treeward::philox_uniform(key, i, 0) - 10);
  }
  return row;
}

std::vector<Candidate> candidates_of(const std::vector<float>& row,
                                     const SamplingOptions& options) {
  std::vector<Candidate> out;
  const int32_t count =
      treeward::logits_row(row.data(), static_cast<int32_t>(row.size()), options, out);
  CHECK(count == static_cast<int32_t>(out.size()));
  return out;
}

void philox_known_answers() {
  const uint64_t ones = ~uint64_t{0};
  CHECK((treeward::philox(0, 0, 0) ==
         treeward::PhiloxBlock{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  CHECK((treeward::philox(ones, ones, ones) ==
         treeward::PhiloxBlock{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  CHECK((treeward::philox(0x299f31d0a4093822, 0x85a308d3243f6a88, 0x0370734413198a2e) ==
         treeward::PhiloxBlock{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

void rows_agree_with_sorting() {
  for (const int32_t size : {1, 5, 63, 64, 65, 600, 20000}) {
    const std::vector<float> row = random_row(11, size);
    double mass = 0;
    for (const float x : row) mass += std::exp(static_cast<double>(x));
    std::vector<int32_t> order(row.size());
    for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int32_t>(i);
    const auto logit = [&](int32_t token) { return row[static_cast<size_t>(token)]; };
    std::stable_sort(order.begin(), order.end(),
                     [&](int32_t a, int32_t b) { return logit(a) > logit(b); });
    for (const int32_t top_k : {0, 1, 64, 700}) {
      SamplingOptions options;
      options.top_k = top_k;
      const std::vector<Candidate> kept = candidates_of(row, options);
      CHECK(kept.size() == static_cast<size_t>(top_k == 0 ? size : std::min(top_k, size)));
      double total = 0;
      for (size_t i = 0; i < kept.size(); ++i) {
        CHECK(kept[i].token == order[i]);
        CHECK(std::abs(kept[i].logprob - (logit(order[i]) - std::log(mass))) < 2e-6);
        total += kept[i].weight;
      }
      CHECK(std::abs(total - 1) < 1e-5);
    }
  }
}

void truncation() {
  const std::vector<float> row = {std::log(0.1f), std::log(0.4f), std::log(0.3f), std::log(0.2f)};
  CHECK(candidates_of(row, {1, 0, 0.5f, 0}).size() == 2);
  CHECK(candidates_of(row, {1, 2, 0.5f, 0}).size() == 1);
  CHECK(candidates_of(row, {1, 0, 1e-6f, 0}).size() == 1);
  CHECK(candidates_of(row, {1, 0, 1, 0.6f}).size() == 2);
  CHECK(candidates_of(row, {0, 0, 1, 0}).front().token == 1);
  CHECK(candidates_of(row, {0, 0, 1, 0}).front().weight == 1);
}

void appends_and_leaves_alone_on_error() {
  std::vector<Candidate> out = {{7, 0, 0}};
  const std::vector<float> row = {1, -kInfinity, 2};
  CHECK(treeward::logits_row(row.data(), 3, {}, out) == 2);
  CHECK(out.size() == 3 && out[0].token == 7 && out[1].token == 2 && out[2].token == 0);
  for (const float bad : {kNaN, kInfinity}) {
    const std::vector<float> broken = {1, bad, 2};
    CHECK(throws<treeward::NotFinite>([&] { treeward::logits_row(broken.data(), 3, {}, out); }));
  }
  const std::vector<float> masked(70, -kInfinity);
  CHECK(throws<treeward::NotFinite>([&] { treeward::logits_row(masked.data(), 70, {}, out); }));
  CHECK(throws<treeward::InvalidArgument>([&] { treeward::logits_row(row.data(), 0, {}, out); }));
  CHECK(throws<treeward::InvalidArgument>(
      [&] { treeward::logits_row(row.data(), 3, {kNaN, 0, 1, 0}, out); }));
  CHECK(out.size() == 3);
}

void bfloat16_rows() {
  std::vector<float> row = random_row(3, 600);
  std::vector<uint16_t> bits(row.size());
  for (size_t i = 0; i < row.size(); ++i) {
    bits[i] = static_cast<uint16_t>(std::bit_cast<uint32_t>(row[i]) >> 16);
    row[i] = std::bit_cast<float>(static_cast<uint32_t>(bits[i]) << 16);
  }
  SamplingOptions options;
  options.top_k = 64;
  const std::vector<Candidate> expected = candidates_of(row, options);
  std::vector<Candidate> out;
  CHECK(treeward::logits_row(bits.data(), 600, options, out) == 64);
  for (size_t i = 0; i < expected.size(); ++i) {
    CHECK(out[i].token == expected[i].token && out[i].logprob == expected[i].logprob);
  }
}

void draws() {
  const std::vector<Candidate> candidates = {{3, -1, 0.0f}, {1, -1, 0.5f}, {2, -2, 0.5f}};
  const auto drawn = treeward::gumbel_top_k(std::span<const Candidate>(candidates), 3, 1, 2);
  CHECK(drawn.size() == 2 && drawn[0].score >= drawn[1].score);
  CHECK(drawn[0].index != 0 && drawn[1].index != 0 && drawn[0].index != drawn[1].index);
  const std::vector<double> weights = {0, 0.5, 0.5};
  const auto same = treeward::gumbel_top_k(std::span<const double>(weights), 3, 1, 2);
  CHECK(same[0].index == drawn[0].index && same[0].score == drawn[0].score);
  CHECK(treeward::pick(std::span<const Candidate>(candidates), 0.0) == 1);
  CHECK(treeward::pick(std::span<const double>(weights), 0.99) == 2);
  const std::vector<double> rewards = {0, 0, 1};
  CHECK(treeward::blend(candidates, rewards, 1) == 1);
  CHECK(treeward::blend(candidates, rewards, 2) == 2);
  CHECK(throws<treeward::NotFinite>(
      [&] { treeward::blend(candidates, std::vector<double>{0, kNaN, 0}, 1); }));
}

void no_level_falls_back_to_scalar() {
  using treeward::SimdLevel;
  const SimdLevel before = treeward::current_level();
  const auto scalar = treeward::isa_scalar::row_kernels().exp_sum;
  for (const SimdLevel level : treeward::available_levels()) {
    treeward::set_level(level);
    CHECK((treeward::row_kernels().exp_sum == scalar) == (level == SimdLevel::scalar));
  }
  treeward::set_level(before);
}

void small_vocabularies_are_worth_threads_too() {
  const int most = treeward::thread_pool().size();
  CHECK(treeward::threads_for_rows(1, 150'000) == 1);
  CHECK(treeward::threads_for_rows(8, 500) == 1);
  CHECK(treeward::threads_for_rows(64, 500) == std::min(most, 4));
  CHECK(treeward::threads_for_rows(64, 150'000) == std::min(most, 64));
}

}  // namespace

int main() {
  philox_known_answers();
  rows_agree_with_sorting();
  truncation();
  appends_and_leaves_alone_on_error();
  bfloat16_rows();
  draws();
  no_level_falls_back_to_scalar();
  small_vocabularies_are_worth_threads_too();
  return 0;
}
