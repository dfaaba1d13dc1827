// A decoder layer against sums in double; meant for the sanitizers, since buffers are exactly as
// large as they must be.
#include "decoder/decoder_layer.h"

#include <cmath>
#include <cstring>
#include <memory>
#include <random>
#include <utility>
#include <vector>

#include "bf16.h"
#include "check.h"
#include "common/errors.h"

namespace treeward {
namespace {

constexpr int32_t kRows = 37, kHidden = 20, kHeads = 4, kKvHeads = 2, kHeadDim = 6, kInner = 34;
constexpr int32_t kPageSize = 8, kPages = 5;
constexpr float kEpsilon = 1e-5f;
using Doubles = std::vector<double>;

/// Exactly n numbers on the heap, as bf16 and in double.
struct Tensor {
  std::unique_ptr<uint16_t[]> data;
  Doubles values;
  Tensor(size_t n, double deviation, std::mt19937& random)
      : data(std::make_unique<uint16_t[]>(n)), values(n) {
    std::normal_distribution<double> normal(0.0, deviation);
    for (size_t i = 0; i < n; ++i) {
      data[i] = to_bf16(static_cast<float>(normal(random)));
      values[i] = from_bf16(data[i]);
    }
  }
};

struct Product {
  Tensor weight, bias;
  int32_t outputs, inputs;
  Product(int32_t out, int32_t in, std::mt19937& random)
      : weight(static_cast<size_t>(out) * in, 0.3, random),
        bias(static_cast<size_t>(out), 0.3, random),
        outputs(out),
        inputs(in) {}
  PackedLinear packed() const {
    return {weight.data.get(), inputs, bias.data.get(), outputs, inputs};
  }
  Doubles times(const Doubles& x) const {
    Doubles out = bias.values;
    for (int32_t o = 0; o < outputs; ++o) {
      for (int32_t i = 0; i < inputs; ++i) out[o] += weight.values[o * inputs + i] * x[i];
    }
    return out;
  }
};

Doubles rms_norm(const double* x, const std::vector<float>& weight) {
  double squares = 0.0;
  for (size_t i = 0; i < weight.size(); ++i) squares += x[i] * x[i];
  const double factor = 1.0 / std::sqrt(squares / static_cast<double>(weight.size()) + kEpsilon);
  Doubles out(weight.size());
  for (size_t i = 0; i < weight.size(); ++i) out[i] = weight[i] * x[i] * factor;
  return out;
}

std::vector<float> rising(int32_t n, float first) {
  std::vector<float> weights(static_cast<size_t>(n));
  for (size_t i = 0; i < weights.size(); ++i) weights[i] = first + 0.03f * static_cast<float>(i);
  return weights;
}

struct Model {
  std::mt19937 random{3};
  Product query{kHeads * kHeadDim, kHidden, random}, key{kKvHeads * kHeadDim, kHidden, random},
      value{kKvHeads * kHeadDim, kHidden, random}, projection{kHidden, kHeads * kHeadDim, random},
      gate{kInner, kHidden, random}, up{kInner, kHidden, random}, down{kHidden, kInner, random};
  std::vector<float> input_norm = rising(kHidden, 0.7f), attention_norm = rising(kHidden, 1.1f),
                     query_norm = rising(kHeadDim, 0.5f), key_norm = rising(kHeadDim, 0.9f);
  Tensor hidden{static_cast<size_t>(kRows) * kHidden, 1.0, random},
      cos{static_cast<size_t>(kRows) * kHeadDim, 1.0, random},
      sin{static_cast<size_t>(kRows) * kHeadDim, 1.0, random};
  float scale = 0.4f;

  DecoderLayer layer() const {
    return {query.packed(), key.packed(),  value.packed(), projection.packed(), gate.packed(),
            up.packed(),    down.packed(), input_norm,     attention_norm,      query_norm,
            key_norm,       kEpsilon,      kHeadDim,       {scale, 0, 0}};
  }

  Doubles turned(Doubles heads, const std::vector<float>& norm, int32_t row) const {
    for (size_t at = 0; at < heads.size(); at += kHeadDim) {
      const Doubles x = rms_norm(&heads[at], norm);
      for (int32_t i = 0; i < kHeadDim; ++i) {
        const double other = i < kHeadDim / 2 ? -x[i + kHeadDim / 2] : x[i - kHeadDim / 2];
        heads[at + i] =
            x[i] * cos.values[row * kHeadDim + i] + other * sin.values[row * kHeadDim + i];
      }
    }
    return heads;
  }

  /// All rows, one path: row r sees rows 0 to r.
  std::vector<Doubles> expected() const {
    std::vector<Doubles> queries, keys, values, out;
    for (int32_t row = 0; row < kRows; ++row) {
      const Doubles normed = rms_norm(&hidden.values[row * kHidden], input_norm);
      queries.push_back(turned(query.times(normed), query_norm, row));
      keys.push_back(turned(key.times(normed), key_norm, row));
      values.push_back(value.times(normed));
    }
    for (int32_t row = 0; row < kRows; ++row) {
      Doubles attended(kHeads * kHeadDim);
      for (int32_t head = 0; head < kHeads; ++head) {
        const int32_t kv = head / (kHeads / kKvHeads) * kHeadDim;
        Doubles weights;
        double total = 0.0;
        for (int32_t other = 0; other <= row; ++other) {
          double dot = 0.0;
          for (int32_t i = 0; i < kHeadDim; ++i) {
            dot += queries[row][head * kHeadDim + i] * keys[other][kv + i];
          }
          weights.push_back(std::exp(scale * dot));
          total += weights.back();
        }
        for (int32_t other = 0; other <= row; ++other) {
          for (int32_t i = 0; i < kHeadDim; ++i) {
            attended[head * kHeadDim + i] += weights[other] / total * values[other][kv + i];
          }
        }
      }
      Doubles sum = projection.times(attended);
      for (int32_t i = 0; i < kHidden; ++i) sum[i] += hidden.values[row * kHidden + i];
      const Doubles normed = rms_norm(sum.data(), attention_norm);
      Doubles inner = gate.times(normed);
      const Doubles ups = up.times(normed);
      for (int32_t i = 0; i < kInner; ++i) inner[i] *= ups[i] / (1.0 + std::exp(-inner[i]));
      const Doubles last = down.times(inner);
      for (int32_t i = 0; i < kHidden; ++i) sum[i] += last[i];
      out.push_back(sum);
    }
    return out;
  }
};

/// One path in one chunk, its slots backwards.
Plan path() {
  Plan plan;
  plan.n_rows = plan.n_partials = kRows;
  plan.items.push_back({0, kRows, 0, kRows, 0, 0});
  plan.reduce_begin.push_back(0);
  for (int32_t row = 0; row < kRows; ++row) {
    plan.query_position.push_back(row);
    plan.slots.push_back(kRows - 1 - row);
    plan.append_slots.push_back(kRows - 1 - row);
    plan.reduce_partials.push_back(row);
    plan.reduce_begin.push_back(row + 1);
  }
  return plan;
}

void layers_match() {
  const Model model;
  const DecoderLayer layer = model.layer();
  layer.check();
  const std::vector<Doubles> expected = model.expected();
  const Plan plan = path();
  constexpr size_t kPoolElements = size_t{kPages} * kKvHeads * kPageSize * kHeadDim;
  const auto keys = std::make_unique<uint16_t[]>(kPoolElements);
  const auto values = std::make_unique<uint16_t[]>(kPoolElements);
  const KvLayer kept{keys.get(), values.get(), kPages,           kKvHeads,
                     kPageSize,  kHeadDim,     ElementType::bf16};
  const DecoderStep step{&plan, model.cos.data.get(), model.sin.data.get()};
  DecoderScratch scratch;
  const auto run = [&](const AskedRows& asked) {
    auto out = std::make_unique<uint16_t[]>(size_t{kRows} * kHidden);
    std::memset(out.get(), 0xab, size_t{kRows} * kHidden * sizeof(uint16_t));
    layer.run(step, kept, asked, model.hidden.data.get(), out.get(), scratch);
    return out;
  };
  const auto all = run({});
  for (int32_t row = 0; row < kRows; ++row) {
    for (int32_t i = 0; i < kHidden; ++i) {
      const double found = from_bf16(all[row * kHidden + i]);
      CHECK(std::abs(found - expected[row][i]) <= 0.04 * std::abs(expected[row][i]) + 0.25);
    }
  }

  const std::vector<int32_t> rows = {0, 5, kRows - 1};
  const Plan of_rows = plan_of_rows(plan, rows);
  const auto some = run({&of_rows, rows});
  for (int32_t row = 0; row < kRows; ++row) {
    const bool asked = row == 0 || row == 5 || row == kRows - 1;
    for (int32_t i = 0; i < kHidden; ++i) {
      CHECK(some[row * kHidden + i] == (asked ? all[row * kHidden + i] : 0));
    }
  }
  // Layers in a row: each takes what the one before it gave, and the last one leaves rows out.
  for (const size_t n_layers : {size_t{1}, size_t{2}, size_t{3}}) {
    auto in = std::make_unique<uint16_t[]>(size_t{kRows} * kHidden);
    std::memcpy(in.get(), model.hidden.data.get(), size_t{kRows} * kHidden * sizeof(uint16_t));
    for (size_t i = 0; i < n_layers; ++i) {
      auto out = std::make_unique<uint16_t[]>(size_t{kRows} * kHidden);
      const AskedRows asked = i + 1 < n_layers ? AskedRows() : AskedRows{&of_rows, rows};
      layer.run(step, kept, asked, in.get(), out.get(), scratch);
      in = std::move(out);
    }
    const std::vector<KeptDecoderLayer> layers(n_layers, KeptDecoderLayer{&layer, &kept});
    auto out = std::make_unique<uint16_t[]>(size_t{kRows} * kHidden);
    run_layers(layers, step, {&of_rows, rows}, model.hidden.data.get(), out.get(), scratch);
    CHECK(std::memcmp(in.get(), out.get(), size_t{kRows} * kHidden * sizeof(uint16_t)) == 0);
  }

  const std::vector<int32_t> wrong = {5, 0, 1};
  bool refused = false;
  try {
    run({&of_rows, wrong});
  } catch (const InvalidArgument&) {
    refused = true;
  }
  CHECK(refused);
}

}  // namespace
}  // namespace treeward

int main() {
  if (!treeward::PackedLinear::available()) return 0;
  treeward::layers_match();
  return 0;
}
