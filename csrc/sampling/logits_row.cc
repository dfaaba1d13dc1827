#include "sampling/logits_row.h"

#include <algorithm>
#include <bit>
#include <cfloat>
#include <cmath>
#include <iterator>
#include <limits>
#include <string>

#include "common/errors.h"
#include "common/thread_pool.h"
#include "sampling/candidate_key.h"
#include "sampling/row_kernels.h"

namespace treeward {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// top_p and min_p are floats: 0.3f lies 1e-8 above 0.3, and exact comparison would keep a fourth
// of ten equal tokens. One float step of slack gives what the decimal number says.
constexpr double kSlack = FLT_EPSILON;

// An array as whole blocks; the last one is padded with -inf, which no pass ever counts.
class Blocks {
 public:
  Blocks(const float* data, int64_t size) {
    view_ = {data, tail_, size / kEntryBlock, size / kEntryBlock};
    if (const int64_t rest = size % kEntryBlock; rest != 0) {
      std::fill(std::begin(tail_), std::end(tail_), -kInfinity);
      std::copy_n(data + view_.whole * kEntryBlock, rest, tail_);
      ++view_.count;
    }
  }
  Blocks(const Blocks&) = delete;
  Blocks& operator=(const Blocks&) = delete;

  const RowView& view() const { return view_; }
  int64_t count() const { return view_.count; }
  const float* block(int64_t i) const {
    return i < view_.whole ? view_.data + i * kEntryBlock : tail_;
  }

 private:
  RowView view_;
  float tail_[kEntryBlock];
};

// Working memory of one thread, kept between calls so that a row costs no allocation.
struct Scratch {
  std::vector<float> widened;
  std::vector<float> block_max;
  std::vector<uint64_t> keys;
  std::vector<uint64_t> spare_keys;
  std::vector<double> weights;
};

Scratch& scratch() {
  thread_local Scratch memory;
  return memory;
}

int64_t count_at_least(const Blocks& values, float threshold) {
  return row_kernels().count_at_least(values.view(), threshold);
}

// ---------------------------------------------------------------- selection

// A threshold that at least k of the values reach (or every finite one, if they are fewer) and,
// for rows that are not full of ties, few more. Counting passes vectorise and never mispredict,
// which makes bisection cheaper here than a heap or nth_element over the row.
float threshold_for(const Blocks& values, float largest, int64_t k) {
  const int64_t enough = k + k / 4 + 8;
  if (count_at_least(values, -FLT_MAX) <= enough) return -FLT_MAX;
  float low = -FLT_MAX;
  float high = largest;
  for (float width = 4.0f; width < 1e8f; width *= 4.0f) {
    const float trial = largest - width;
    const int64_t reached = count_at_least(values, trial);
    if (reached >= k) {
      low = trial;
      if (reached <= enough) return low;
      break;
    }
    high = trial;
  }
  if (low == -FLT_MAX) return low;
  for (int step = 0; step < 16; ++step) {
    const float middle = low + 0.5f * (high - low);
    if (middle <= low || middle >= high) break;
    const int64_t reached = count_at_least(values, middle);
    if (reached < k) {
      high = middle;
    } else {
      low = middle;
      if (reached <= enough) break;
    }
  }
  return low;
}

// Keys of the entries that reach the threshold; returns how many lie in `keys`, which may be
// longer. A block whose maximum stays below the threshold is not read again.
int64_t collect(const Blocks& row, const std::vector<float>& block_max, float threshold,
                std::vector<uint64_t>& keys) {
  const RowKernels& kernels = row_kernels();
  int64_t found = 0;
  for (int64_t b = 0; b < row.count(); ++b) {
    if (!(block_max[static_cast<size_t>(b)] >= threshold)) continue;
    if (keys.size() < static_cast<size_t>(found + kEntryBlock)) {
      keys.resize(2 * static_cast<size_t>(found + kEntryBlock));
    }
    const float* x = row.block(b);
    for (uint64_t mask = kernels.block_mask(x, threshold); mask != 0; mask &= mask - 1) {
      const int j = std::countr_zero(mask);
      keys[static_cast<size_t>(found++)] = key_of(x[j], b * kEntryBlock + j);
    }
  }
  return found;
}

// ---------------------------------------------------------------- one row

struct Row {
  const Blocks& blocks;
  const SamplingOptions& options;
  float largest = 0;
  double mass = 0;  // sum of e^(x - largest)

  // Tempered probability relative to the largest: 1 for the argmax.
  double weight(uint64_t key) const {
    return std::exp((static_cast<double>(logit_of(key)) - largest) / options.temperature);
  }
  // The logit at which the tempered weight falls to `ratio`, rounded down on purpose: callers
  // filter with it first and decide by the exact weight afterwards.
  float logit_at(double ratio) const {
    const double offset = options.temperature * std::log(ratio);
    const double margin = 1e-6 * (1.0 + std::abs(offset) + std::abs(largest));
    return static_cast<float>(std::max(largest + offset - margin, -double{FLT_MAX}));
  }
};

// As threshold_for, over the whole row. Where the row has many blocks, the maxima alone tell: k
// blocks whose maxima reach a threshold hold k entries that do.
float threshold_for(const Row& row, const Scratch& memory, int64_t k) {
  if (row.blocks.count() < 2 * k) return threshold_for(row.blocks, row.largest, k);
  return threshold_for(Blocks(memory.block_max.data(), row.blocks.count()), row.largest, k);
}

// Puts the first `kept` of `found` keys in order.
void sort_first(Scratch& memory, int64_t found, int64_t kept) {
  if (2 * kept > found) {
    sort_keys(memory.keys, found, memory.spare_keys);
    return;
  }
  uint64_t* keys = memory.keys.data();
  std::nth_element(keys, keys + kept, keys + found);
  std::sort(keys, keys + kept);
}

// Leaves the entries that reach the threshold as sorted keys with their relative weights in the
// scratch, no more than `limit` of them; returns the sum of those weights.
double take(const Row& row, float threshold, int64_t limit, Scratch& memory) {
  const int64_t found = collect(row.blocks, memory.block_max, threshold, memory.keys);
  const int64_t kept = std::min(limit, found);
  sort_first(memory, found, kept);
  const uint64_t* keys = memory.keys.data();
  memory.weights.clear();
  double sum = 0;
  for (int64_t i = 0; i < kept; ++i) {
    memory.weights.push_back(row.weight(keys[i]));
    sum += memory.weights.back();
  }
  return sum;
}

// Sum of the tempered weights of the whole row.
double tempered_mass(const Row& row) {
  const float temperature = row.options.temperature;
  if (temperature == 1) return row.mass;
  const float scale = std::min(1.0f / temperature, FLT_MAX);
  return row_kernels().exp_sum(row.blocks.view(), row.largest, scale);
}

// Takes at least the candidates that will be kept. Returns the mass of which top_p is a part.
double select(const Row& row, int64_t vocabulary, Scratch& memory) {
  const SamplingOptions& options = row.options;
  if (options.top_k > 0 && options.top_k < vocabulary) {
    return take(row, threshold_for(row, memory, options.top_k), options.top_k, memory);
  }
  float least = options.min_p > 0 ? row.logit_at(0.5 * options.min_p) : -FLT_MAX;
  if (options.top_p >= 1) return take(row, least, vocabulary, memory);

  const double mass = tempered_mass(row);
  // Tokens below (1 - top_p) / vocabulary make up less than 1 - top_p together: never needed.
  const double tail = (1.0 - static_cast<double>(options.top_p)) * mass;
  least = std::max(least, row.logit_at(0.5 * tail / static_cast<double>(vocabulary)));
  // How long the prefix is shows only once its mass is summed, so it is guessed and grown.
  for (int64_t guess = 128;; guess *= 8) {
    const float threshold =
        guess < vocabulary ? std::max(least, threshold_for(row, memory, guess)) : least;
    const double reached = take(row, threshold, vocabulary, memory);
    if (reached >= options.top_p * mass || threshold == least) return mass;
  }
}

int32_t append_kept(const Row& row, double mass, const Scratch& memory,
                    std::vector<Candidate>& out) {
  const auto& weights = memory.weights;
  size_t kept = weights.size();
  if (row.options.top_p < 1) {
    const double target = row.options.top_p * mass * (1.0 - kSlack);
    double reached = 0;
    for (size_t i = 0; i < kept; ++i) {
      reached += weights[i];
      if (reached >= target) kept = i + 1;
    }
  }
  const double least = row.options.min_p * (1.0 - kSlack);
  while (kept > 1 && weights[kept - 1] < least) --kept;

  double total = 0;
  for (size_t i = 0; i < kept; ++i) total += weights[i];
  const double log_mass = std::log(row.mass);
  const size_t start = out.size();
  out.resize(start + kept);
  for (size_t i = 0; i < kept; ++i) {
    const uint64_t key = memory.keys[i];
    // Logits at both ends of the float range may be further apart than a float can say.
    const double logprob = static_cast<double>(logit_of(key)) - row.largest - log_mass;
    out[start + i] = {token_of(key), static_cast<float>(std::max(logprob, -double{FLT_MAX})),
                      static_cast<float>(weights[i] / total)};
  }
  return static_cast<int32_t>(kept);
}

[[noreturn]] void raise_not_finite(const float* logits, int32_t vocabulary) {
  for (int32_t i = 0; i < vocabulary; ++i) {
    if (logits[i] <= FLT_MAX) continue;
    throw NotFinite("logits row: entry " + std::to_string(i) + " is " +
                    (std::isnan(logits[i]) ? "NaN" : "+inf"));
  }
  throw NotFinite("logits row: all " + std::to_string(vocabulary) +
                  " entries are -inf, no token is left");
}

// Maximum and mass of a row; leaves the maxima of its blocks in the scratch.
Row read_row(const Blocks& blocks, const float* logits, int32_t vocabulary,
             const SamplingOptions& options, Scratch& memory) {
  memory.block_max.resize(static_cast<size_t>(blocks.count()));
  const RowKernels& kernels = row_kernels();
  Row row{blocks, options};
  row.largest = kernels.block_maxima(blocks.view(), memory.block_max.data());
  if (!std::isfinite(row.largest)) raise_not_finite(logits, vocabulary);
  row.mass = kernels.exp_sum(blocks.view(), row.largest, 1.0f);
  if (std::isnan(row.mass)) raise_not_finite(logits, vocabulary);
  return row;
}

// Probabilities below this are as good as zero: they vanish in a float.
constexpr double kLeastProbability = 2e-45;

void check_vocabulary(int32_t vocabulary) {
  if (vocabulary <= 0) {
    throw InvalidArgument("vocabulary must be positive, got " + std::to_string(vocabulary));
  }
}

}  // namespace

void check_sampling_options(const SamplingOptions& options) {
  if (!(options.temperature >= 0) || !std::isfinite(options.temperature)) {
    throw InvalidArgument("temperature must be finite and at least 0, got " +
                          std::to_string(options.temperature));
  }
  if (options.top_k < 0) {
    throw InvalidArgument("top_k must be at least 0, got " + std::to_string(options.top_k));
  }
  if (!(options.top_p > 0 && options.top_p <= 1)) {
    throw InvalidArgument("top_p must be in (0, 1], got " + std::to_string(options.top_p));
  }
  if (!(options.min_p >= 0 && options.min_p < 1)) {
    throw InvalidArgument("min_p must be in [0, 1), got " + std::to_string(options.min_p));
  }
}

int32_t logits_row(const float* logits, int32_t vocabulary, const SamplingOptions& options,
                   std::vector<Candidate>& out) {
  check_sampling_options(options);
  check_vocabulary(vocabulary);
  Scratch& memory = scratch();
  const Blocks blocks(logits, vocabulary);
  const Row row = read_row(blocks, logits, vocabulary, options, memory);
  if (options.temperature == 0) {
    // Everything that attains the maximum, of which the lowest token is taken.
    const SamplingOptions plain;
    const Row argmax{blocks, plain, row.largest, row.mass};
    take(argmax, row.largest, 1, memory);
    return append_kept(argmax, 1.0, memory, out);
  }
  const double mass = select(row, vocabulary, memory);
  return append_kept(row, mass, memory, out);
}

int32_t logits_row(const uint16_t* logits, int32_t vocabulary, const SamplingOptions& options,
                   std::vector<Candidate>& out) {
  check_vocabulary(vocabulary);
  std::vector<float>& widened = scratch().widened;
  widened.resize(static_cast<size_t>(vocabulary));
  float* write = widened.data();
  for (int32_t i = 0; i < vocabulary; ++i) {
    write[i] = std::bit_cast<float>(static_cast<uint32_t>(logits[i]) << 16);
  }
  return logits_row(write, vocabulary, options, out);
}

bool keeps_every_token(const SamplingOptions& options, int32_t vocabulary) {
  const bool cut = options.top_k > 0 && options.top_k < vocabulary;
  return options.temperature > 0 && !cut && options.top_p >= 1 && options.min_p <= 0;
}

RowTotals row_totals(const float* logits, int32_t vocabulary, float temperature) {
  SamplingOptions options;
  options.temperature = temperature;
  check_sampling_options(options);
  check_vocabulary(vocabulary);
  const Blocks blocks(logits, vocabulary);
  const Row row = read_row(blocks, logits, vocabulary, options, scratch());
  RowTotals totals;
  totals.largest = row.largest;
  totals.log_mass = std::log(row.mass);
  totals.tempered_mass = tempered_mass(row);
  totals.least_drawn = row.logit_at(kLeastProbability * totals.tempered_mass);
  totals.n_finite = static_cast<int32_t>(count_at_least(blocks, -FLT_MAX));
  totals.n_drawn = static_cast<int32_t>(count_at_least(blocks, totals.least_drawn));
  return totals;
}

void ranked_candidates(const float* logits, int32_t vocabulary, float temperature,
                       const RowTotals& totals, int32_t first, int32_t last,
                       std::vector<Candidate>& out) {
  SamplingOptions options;
  options.temperature = temperature;
  Scratch& memory = scratch();
  const Blocks blocks(logits, vocabulary);
  memory.block_max.resize(static_cast<size_t>(blocks.count()));
  row_kernels().block_maxima(blocks.view(), memory.block_max.data());
  const Row row{blocks, options, totals.largest, 0};
  const bool all = last >= totals.n_finite;
  const float threshold = all ? -FLT_MAX : threshold_for(row, memory, last);
  const int64_t found = collect(blocks, memory.block_max, threshold, memory.keys);
  const auto kept = static_cast<int32_t>(std::min<int64_t>(last, found));
  sort_first(memory, found, kept);
  for (int32_t i = first; i < kept; ++i) {
    const uint64_t key = memory.keys[static_cast<size_t>(i)];
    const float logit = logit_of(key);
    const double logprob = static_cast<double>(logit) - totals.largest - totals.log_mass;
    // Never 0 where it may be drawn, always 0 where it may not: n_drawn counts on it.
    const double weight = std::max(row.weight(key) / totals.tempered_mass, kLeastProbability);
    out.push_back({token_of(key), static_cast<float>(std::max(logprob, -double{FLT_MAX})),
                   logit >= totals.least_drawn ? static_cast<float>(weight) : 0.0f});
  }
}

int threads_for_rows(int64_t n_rows, int32_t vocabulary) {
  // To read a thousand entries takes a tenth of a microsecond, to sort the first candidates of a
  // row a few; waking a thread costs several.
  constexpr int64_t kEntriesToSort = 1 << 12;
  constexpr int64_t kEntriesWorthAThread = 1 << 16;
  const int64_t most = std::min<int64_t>(n_rows, thread_pool().size());
  return static_cast<int>(
      std::clamp<int64_t>(n_rows * (vocabulary + kEntriesToSort) / kEntriesWorthAThread, 1,
                          std::max<int64_t>(most, 1)));
}

void logits_rows(std::span<const RowRequest> rows, int32_t vocabulary,
                 std::vector<RowResult>& out) {
  out.resize(rows.size());
  const int threads = threads_for_rows(static_cast<int64_t>(rows.size()), vocabulary);
  thread_pool().parallel_for(static_cast<int64_t>(rows.size()), threads, [&](int64_t i, int) {
    const RowRequest& request = rows[static_cast<size_t>(i)];
    RowResult& result = out[static_cast<size_t>(i)];
    result.candidates.clear();
    result.error.clear();
    try {
      logits_row(request.logits, vocabulary, request.options, result.candidates);
    } catch (const NotFinite& error) {
      result.error = error.what();
    }
  });
}

}  // namespace treeward
