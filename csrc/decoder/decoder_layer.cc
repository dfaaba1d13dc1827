#include "decoder/decoder_layer.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <string>
#include <utility>

#include "attention/check.h"
#include "common/errors.h"
#include "common/thread_pool.h"
#include "decoder/elementwise.h"

namespace treeward {
namespace {

void expect(const char* name, int64_t found, const char* what, int64_t wanted) {
  if (found == wanted) return;
  throw InvalidArgument(std::string(name) + ": " + std::to_string(found) + " is not the " + what +
                        ", " + std::to_string(wanted));
}

uint16_t* reserve(AlignedBuffer& buffer, int64_t n) {
  return reinterpret_cast<uint16_t*>(buffer.reserve(static_cast<size_t>(n + 1) / 2));
}

#if defined(TREEWARD_COMPILE_AVX512BF16)

namespace isa = isa_avx512bf16;

// Below so many elements another thread costs more than it saves.
constexpr int64_t kParallelElements = 6'000;
constexpr int64_t kTasksPerThread = 4;

// Rows whose gates are in memory at once. Products read all weights for fewer rows than these.
constexpr int32_t kFinishRows = 256;

/// Calls fn(row) for each row, on several threads where there is enough to do.
template <class Function>
void each_row(int64_t rows, int64_t elements_of_row, Function&& fn) {
  ThreadPool& pool = thread_pool();
  const int64_t useful = 1 + rows * elements_of_row / kParallelElements;
  const auto threads = static_cast<int>(std::min<int64_t>(useful, pool.size()));
  if (threads == 1) {
    for (int64_t row = 0; row < rows; ++row) fn(row);
    return;
  }
  const int64_t n_tasks = std::min(rows, kTasksPerThread * threads);
  pool.parallel_for(n_tasks, threads, [&](int64_t task, int) {
    for (int64_t row = rows * task / n_tasks; row < rows * (task + 1) / n_tasks; ++row) fn(row);
  });
}

/// Queries, keys and values of all rows, positions applied: [rows][q_heads + 2 kv_heads][head_dim].
/// Keys and values are kept.
uint16_t* make_heads(const DecoderLayer& layer, const DecoderStep& step, const KvLayer& kept,
                     const uint16_t* hidden, DecoderScratch& scratch) {
  const int64_t rows = step.plan->n_rows, size = layer.hidden(), head_dim = layer.head_dim;
  const int64_t q_size = layer.query.outputs(), k_size = layer.key.outputs();
  const int64_t stride = q_size + 2 * k_size;
  uint16_t* const normed = reserve(scratch.normed, rows * size);
  each_row(rows, size, [&](int64_t row) {
    isa::rms_norm(hidden + row * size, layer.input_norm.data(), layer.epsilon, layer.hidden(),
                  normed + row * size);
  });
  uint16_t* const heads = reserve(scratch.heads, rows * stride);
  const std::array<PackedLinear::Product, 3> products = {
      {{&layer.query, heads, stride},
       {&layer.key, heads + q_size, stride},
       {&layer.value, heads + q_size + k_size, stride}}};
  PackedLinear::multiply(products, normed, size, step.plan->n_rows);
  const ConstRows keys{heads + q_size, stride, head_dim};
  const ConstRows values{heads + q_size + k_size, stride, head_dim};
  each_row(rows, stride, [&](int64_t row) {
    for (int64_t at = 0; at < q_size + k_size; at += head_dim) {
      const std::vector<float>& norm = at < q_size ? layer.query_norm : layer.key_norm;
      uint16_t* const head = heads + row * stride + at;
      if (!norm.empty()) isa::rms_norm(head, norm.data(), layer.epsilon, layer.head_dim, head);
      isa::rotate(head, step.cos + row * head_dim, step.sin + row * head_dim, layer.head_dim);
    }
    append_row(*step.plan, kept, keys, values, row);
  });
  return heads;
}

/// Projection, residual sum and feed-forward part of a range of the rows that attended; row i goes
/// to places[i] of out and has its residual there in hidden. No places: row i to i.
void finish_rows(const DecoderLayer& layer, const uint16_t* attended, RowRange range,
                 std::span<const int32_t> places, const uint16_t* hidden, uint16_t* out,
                 DecoderScratch& scratch) {
  const int64_t size = layer.hidden(), inner = layer.gate.outputs();
  const int32_t n_rows = range.end - range.begin;
  const auto place = [&](int64_t row) -> int64_t {
    return places.empty() ? range.begin + row : places[static_cast<size_t>(range.begin + row)];
  };
  uint16_t* const normed = reserve(scratch.normed, n_rows * size);
  uint16_t* const products = reserve(scratch.products, n_rows * size);
  uint16_t* const sum = reserve(scratch.sum, n_rows * size);
  const int64_t q_size = layer.query.outputs();
  layer.projection.multiply(attended + range.begin * q_size, q_size, n_rows, products, size);
  each_row(n_rows, size, [&](int64_t row) {
    isa::add(hidden + place(row) * size, products + row * size, layer.hidden(), sum + row * size);
    isa::rms_norm(sum + row * size, layer.attention_norm.data(), layer.epsilon, layer.hidden(),
                  normed + row * size);
  });
  uint16_t* const gates = reserve(scratch.gates, n_rows * 2 * inner);
  const std::array<PackedLinear::Product, 2> gate_up = {
      {{&layer.gate, gates, 2 * inner}, {&layer.up, gates + inner, 2 * inner}}};
  PackedLinear::multiply(gate_up, normed, size, n_rows);
  each_row(n_rows, inner, [&](int64_t row) {
    uint16_t* const gate = gates + row * 2 * inner;
    isa::gated_silu(gate, gate + inner, layer.gate.outputs());
  });
  layer.down.multiply(gates, 2 * inner, n_rows, products, size);
  each_row(n_rows, size, [&](int64_t row) {
    isa::add(sum + row * size, products + row * size, layer.hidden(), out + place(row) * size);
  });
}

#endif

void check_asked(const AskedRows& asked, int32_t n_rows) {
  const int64_t n_asked = asked.plan == nullptr ? 0 : asked.plan->n_rows;
  expect("asked", static_cast<int64_t>(asked.rows.size()), "rows of its plan", n_asked);
  int32_t least = 0;
  for (const int32_t row : asked.rows) {
    if (row < least || row >= n_rows) {
      throw InvalidArgument("asked: must be ascending rows of the step");
    }
    least = row + 1;
  }
}

}  // namespace

void DecoderLayer::check() const {
  if (head_dim < 2 || head_dim % 2 != 0) {
    throw InvalidArgument("head_dim: " + std::to_string(head_dim) + " is not even and positive");
  }
  for (const auto& [name, layer] : {std::pair{"query", &query}, {"key", &key}, {"value", &value}}) {
    expect(name, layer->inputs(), "hidden size", hidden());
    expect(name, layer->outputs() % head_dim, "rest of whole heads", 0);
  }
  expect("value", value.outputs(), "size of the keys", key.outputs());
  expect("query", query.outputs() % key.outputs(), "rest of whole groups", 0);
  expect("projection", projection.inputs(), "size of the queries", query.outputs());
  expect("projection", projection.outputs(), "hidden size", hidden());
  expect("gate", gate.inputs(), "hidden size", hidden());
  expect("up", up.inputs(), "hidden size", hidden());
  expect("up", up.outputs(), "outputs of the gate", gate.outputs());
  expect("down", down.inputs(), "outputs of the gate", gate.outputs());
  expect("down", down.outputs(), "hidden size", hidden());
  for (const auto* norm : {&input_norm, &attention_norm}) {
    expect("norm", static_cast<int64_t>(norm->size()), "hidden size", hidden());
  }
  for (const auto* norm : {&query_norm, &key_norm}) {
    if (!norm->empty()) expect("norm", static_cast<int64_t>(norm->size()), "head_dim", head_dim);
  }
}

void DecoderLayer::run(const DecoderStep& step, const KvLayer& kept, const AskedRows& asked,
                       const uint16_t* hidden_rows, uint16_t* out, DecoderScratch& scratch) const {
  if (!PackedLinear::available()) {
    throw InvalidArgument("layer: the instruction set in use lacks bf16 products");
  }
  if (kept.type != ElementType::bf16) throw InvalidArgument("kept: is not bfloat16");
  expect("kept", kept.head_dim, "head_dim", head_dim);
  expect("kept", int64_t{kept.kv_heads} * head_dim, "size of the keys", key.outputs());
  check_asked(asked, step.plan->n_rows);
  for (const void* data : {hidden_rows, step.cos, step.sin, const_cast<const uint16_t*>(out)}) {
    if (data == nullptr && step.plan->n_rows > 0) throw InvalidArgument("rows: an address is null");
  }
  if (out == hidden_rows && out != nullptr) throw InvalidArgument("out: must not be hidden");
#if defined(TREEWARD_COMPILE_AVX512BF16)
  check_layer(kept);
  check_append_slots(*step.plan, kept);
  const int64_t q_size = query.outputs(), stride = q_size + 2 * key.outputs();
  uint16_t* const heads = make_heads(*this, step, kept, hidden_rows, scratch);

  // From here on rows do not look at each other: those asked for close up.
  const Plan& plan = asked.plan == nullptr ? *step.plan : *asked.plan;
  for (size_t i = 0; i < asked.rows.size(); ++i) {
    std::memmove(heads + static_cast<int64_t>(i) * stride, heads + asked.rows[i] * stride,
                 static_cast<size_t>(q_size) * sizeof(uint16_t));
  }
  uint16_t* const attended = reserve(scratch.attended, plan.n_rows * q_size);
  attend(plan, kept, {heads, stride, head_dim}, static_cast<int32_t>(q_size / head_dim),
         {attended, q_size, head_dim}, attention, scratch.attention);
  if (asked.plan != nullptr) {
    const int64_t elements = int64_t{step.plan->n_rows} * hidden();
    std::memset(out, 0, static_cast<size_t>(elements) * sizeof(uint16_t));
  }
  for (int32_t row = 0; row < plan.n_rows; row += kFinishRows) {
    const RowRange range{row, std::min(row + kFinishRows, plan.n_rows)};
    finish_rows(*this, attended, range, asked.rows, hidden_rows, out, scratch);
  }
#else
  (void)hidden_rows, (void)out, (void)scratch;
#endif
}

void run_layers(std::span<const KeptDecoderLayer> layers, const DecoderStep& step,
                const AskedRows& asked, const uint16_t* hidden, uint16_t* out,
                DecoderScratch& scratch) {
  if (layers.empty()) throw InvalidArgument("layers: there is none");
  const DecoderLayer& first = *layers.front().layer;
  for (const auto& [layer, kept] : layers) {
    expect("layers", layer->hidden(), "hidden size of the first", first.hidden());
    expect("layers", layer->head_dim, "head_dim of the first", first.head_dim);
  }
  if (out == hidden && out != nullptr) throw InvalidArgument("out: must not be hidden");
  // Every other layer writes to out, the last one among them.
  uint16_t* to = out;
  uint16_t* other = reserve(scratch.between, int64_t{step.plan->n_rows} * first.hidden());
  if (layers.size() % 2 == 0) std::swap(to, other);
  for (size_t i = 0; i < layers.size(); ++i) {
    const bool last = i + 1 == layers.size();
    layers[i].layer->run(step, *layers[i].kept, last ? asked : AskedRows(), hidden, to, scratch);
    hidden = to;
    std::swap(to, other);
  }
}

}  // namespace treeward
