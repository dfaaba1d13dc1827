#include "sampling/logits_row.h"

#include <algorithm>
#include <bit>
#include <cfloat>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>

#include "common/errors.h"

namespace treeward {
namespace {

// Every pass walks blocks of this many entries. The loops inside a block have a constant length
// and no early exit: that is what lets a compiler without flags for newer CPUs vectorise them.
constexpr int kBlock = 64;
constexpr float kInfinity = std::numeric_limits<float>::infinity();

// top_p and min_p are floats: 0.3f lies 1e-8 above 0.3, and exact comparison would keep a fourth
// of ten equal tokens. One float step of slack gives what the decimal number says.
constexpr double kSlack = FLT_EPSILON;

// An array as whole blocks; the last one is padded with -inf, which no pass ever counts.
class Blocks {
 public:
  Blocks(const float* data, int64_t size) : data_(data), whole_(size / kBlock), count_(whole_) {
    if (const int64_t rest = size % kBlock; rest != 0) {
      std::fill(std::begin(tail_), std::end(tail_), -kInfinity);
      std::copy_n(data + whole_ * kBlock, rest, tail_);
      ++count_;
    }
  }
  int64_t count() const { return count_; }
  const float* block(int64_t i) const { return i < whole_ ? data_ + i * kBlock : tail_; }

 private:
  const float* data_;
  int64_t whole_;
  int64_t count_;
  float tail_[kBlock];
};

// Working memory of one thread, kept between calls so that a row costs no allocation.
struct Scratch {
  std::vector<float> widened;
  std::vector<float> block_max;
  std::vector<uint64_t> keys;
  std::vector<double> weights;
};

Scratch& scratch() {
  thread_local Scratch memory;
  return memory;
}

// ---------------------------------------------------------------- passes over blocks

// Largest entry of a block. A NaN may or may not survive the comparisons; exp_sum finds it.
float block_maximum(const float* x) {
  float largest[kBlock / 2];
  for (int j = 0; j < kBlock / 2; ++j) {
    largest[j] = x[j] > x[j + kBlock / 2] ? x[j] : x[j + kBlock / 2];
  }
  for (int half = kBlock / 4; half > 0; half /= 2) {
    for (int j = 0; j < half; ++j) {
      largest[j] = largest[j] > largest[j + half] ? largest[j] : largest[j + half];
    }
  }
  return largest[0];
}

// e^d for -87 <= d <= 0 with a relative error below 2e-7 and e^0 = 1; without meaning outside.
// Cody-Waite range reduction and a polynomial 1 + r + r^2 q(r), where q has the least maximal
// relative error over |r| <= log(2) / 2.
inline float exp_nonpositive(float d) {
  // Adding 1.5 * 2^23 rounds to an integer and leaves it in the low bits of the float; the 127
  // on top is the bias of the exponent that those bits become.
  constexpr float kRound = 12582912.0f + 127.0f;
  const float shifted = d * 1.44269504088896341f + kRound;
  const float n = shifted - kRound;
  const float r = (d - n * 0.693359375f) + n * 2.12194440e-4f;
  float p = 8.312501013278961e-3f;
  p = p * r + 4.1890330612659454e-2f;
  p = p * r + 0.16667115688323975f;
  p = p * r + 0.499992311000824f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  return p * std::bit_cast<float>(std::bit_cast<uint32_t>(shifted) << 23);
}

// Sum of e^((x - largest) * scale) over the row, NaN if and only if an entry is. In float within
// a group of blocks, where ten roundings are the most that a term sees, and in double beyond.
double exp_sum(const Blocks& row, float largest, float scale) {
  constexpr int64_t kGroup = 4;
  double total = 0;
  for (int64_t first = 0; first < row.count(); first += kGroup) {
    float sum[kBlock] = {};
    const int64_t last = std::min(first + kGroup, row.count());
    for (int64_t b = first; b < last; ++b) {
      const float* x = row.block(b);
      float d[kBlock];
      float e[kBlock];
      for (int j = 0; j < kBlock; ++j) d[j] = (x[j] - largest) * scale;
      for (int j = 0; j < kBlock; ++j) e[j] = exp_nonpositive(d[j]);
      // Below e^-87 (1.6e-38) a term is nothing beside the 1 of the maximum, and the exponent
      // above has wrapped around. This loop stays apart from the last one: joined, GCC branches
      // around the polynomial and then keeps everything scalar.
      for (int j = 0; j < kBlock; ++j) sum[j] += d[j] <= -87.0f ? 0.0f : e[j];
    }
    for (int half = kBlock / 2; half > 0; half /= 2) {
      for (int j = 0; j < half; ++j) sum[j] += sum[j + half];
    }
    total += static_cast<double>(sum[0]);
  }
  return total;
}

int64_t count_at_least(const Blocks& values, float threshold) {
  int64_t total = 0;
  for (int64_t b = 0; b < values.count(); ++b) {
    const float* x = values.block(b);
    int32_t hits = 0;
    for (int j = 0; j < kBlock; ++j) hits += x[j] >= threshold ? 1 : 0;
    total += hits;
  }
  return total;
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

// Sorting keys upwards sorts by descending logit, then by ascending token.
inline uint64_t key_of(float logit, int64_t token) {
  const uint32_t bits = std::bit_cast<uint32_t>(logit + 0.0f);  // the sum turns -0 into +0
  const uint32_t flip = (0u - (bits >> 31)) | 0x80000000u;
  return (static_cast<uint64_t>(~(bits ^ flip)) << 32) | static_cast<uint64_t>(token);
}

inline int32_t token_of(uint64_t key) { return static_cast<int32_t>(key & 0xFFFFFFFFu); }

inline float logit_of(uint64_t key) {
  const uint32_t ordered = ~static_cast<uint32_t>(key >> 32);
  const uint32_t flip = ((ordered >> 31) - 1u) | 0x80000000u;
  return std::bit_cast<float>(ordered ^ flip);
}

// Keys of the entries that reach the threshold; returns how many lie in `keys`, which may be
// longer. A block whose maximum stays below the threshold is not read again.
int64_t collect(const Blocks& row, const std::vector<float>& block_max, float threshold,
                std::vector<uint64_t>& keys) {
  int64_t found = 0;
  for (int64_t b = 0; b < row.count(); ++b) {
    if (!(block_max[static_cast<size_t>(b)] >= threshold)) continue;
    if (keys.size() < static_cast<size_t>(found + kBlock)) {
      keys.resize(2 * static_cast<size_t>(found + kBlock));
    }
    const float* x = row.block(b);
    uint64_t* write = keys.data();
    // Every key is written and only the count tells whether it stays: no branch to mispredict.
    for (int j = 0; j < kBlock; ++j) {
      write[found] = key_of(x[j], b * kBlock + j);
      found += x[j] >= threshold ? 1 : 0;
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

// Leaves the entries that reach the threshold as sorted keys with their relative weights in the
// scratch, no more than `limit` of them; returns the sum of those weights.
double take(const Row& row, float threshold, int64_t limit, Scratch& memory) {
  const int64_t found = collect(row.blocks, memory.block_max, threshold, memory.keys);
  const int64_t kept = std::min(limit, found);
  uint64_t* keys = memory.keys.data();
  if (kept < found) std::nth_element(keys, keys + kept, keys + found);
  std::sort(keys, keys + kept);
  memory.weights.clear();
  double sum = 0;
  for (int64_t i = 0; i < kept; ++i) {
    memory.weights.push_back(row.weight(keys[i]));
    sum += memory.weights.back();
  }
  return sum;
}

// Takes at least the candidates that will be kept. Returns the mass of which top_p is a part.
double select(const Row& row, int64_t vocabulary, Scratch& memory) {
  const SamplingOptions& options = row.options;
  if (options.top_k > 0 && options.top_k < vocabulary) {
    return take(row, threshold_for(row, memory, options.top_k), options.top_k, memory);
  }
  float least = options.min_p > 0 ? row.logit_at(0.5 * options.min_p) : -FLT_MAX;
  if (options.top_p >= 1) return take(row, least, vocabulary, memory);

  double mass = row.mass;
  if (options.temperature != 1) {
    mass = exp_sum(row.blocks, row.largest, std::min(1.0f / options.temperature, FLT_MAX));
  }
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
  memory.block_max.resize(static_cast<size_t>(blocks.count()));
  Row row{blocks, options};
  row.largest = -kInfinity;
  for (int64_t b = 0; b < blocks.count(); ++b) {
    const float here = block_maximum(blocks.block(b));
    memory.block_max[static_cast<size_t>(b)] = here;
    row.largest = here > row.largest ? here : row.largest;
  }
  if (!std::isfinite(row.largest)) raise_not_finite(logits, vocabulary);
  row.mass = exp_sum(blocks, row.largest, 1.0f);
  if (std::isnan(row.mass)) raise_not_finite(logits, vocabulary);

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

}  // namespace treeward
