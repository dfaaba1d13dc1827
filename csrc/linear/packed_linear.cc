#include "linear/packed_linear.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "common/errors.h"
#include "common/huge_pages.h"
#include "common/simd.h"
#include "common/thread_pool.h"
#include "linear/kernel.h"

namespace treeward {
namespace {

// Below this many multiply-adds waking a thread costs more than it saves.
constexpr int64_t kParallelWork = 400'000;

// Panels of a group at most: its rows stay in the second level cache for all of them.
constexpr int64_t kMostPanels = 4;
constexpr int64_t kTasksPerThread = 4;

int64_t whole(int64_t n, int64_t multiple) { return (n + multiple - 1) / multiple; }

float to_float(uint16_t bf16) {
  const uint32_t bits = uint32_t{bf16} << 16;
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

/// Sums of a thread that cuts its inputs; kept between calls.
float* sums_of_thread(size_t n) {
  thread_local std::vector<float> sums;
  if (sums.size() < n) sums.resize(n);
  return sums.data();
}

}  // namespace

bool PackedLinear::available() {
#if defined(TREEWARD_COMPILE_AVX512BF16)
  return current_level() == SimdLevel::avx512bf16;
#else
  return false;
#endif
}

PackedLinear::PackedLinear(const uint16_t* weight, int64_t weight_stride, const uint16_t* bias,
                           int32_t outputs, int32_t inputs)
    : outputs_(outputs), inputs_(inputs) {
  if (outputs < 1 || inputs < 1 || inputs % 2 != 0) {
    throw InvalidArgument("weight: [" + std::to_string(outputs) + ", " + std::to_string(inputs) +
                          "] needs outputs and an even number of inputs");
  }
  if (weight_stride < inputs) {
    throw InvalidArgument("weight_stride: " + std::to_string(weight_stride) +
                          " is less than the inputs");
  }
  const size_t bytes = static_cast<size_t>(n_panels() * panel_pairs()) * sizeof(uint32_t);
  pairs_ = std::static_pointer_cast<uint32_t>(shared_huge_pages(bytes));
  std::memset(pairs_.get(), 0, bytes);
  for (int64_t output = 0; output < outputs; ++output) {
    uint32_t* to = pairs_.get() + output / kPanel * panel_pairs() + output % kPanel;
    const uint16_t* from = weight + output * weight_stride;
    for (int64_t input = 0; input < inputs; input += 2, to += kPanel) {
      std::memcpy(to, from + input, sizeof(*to));
    }
  }
  bias_.assign(static_cast<size_t>(whole(outputs, kVector) * kVector), 0.0f);
  if (bias != nullptr) std::transform(bias, bias + outputs, bias_.begin(), to_float);
}

/// Consecutive panels of a layer.
struct PackedLinear::PanelGroup {
  const Product* product;
  int64_t begin, end;
  const uint32_t* pairs() const {
    return product->layer->pairs_.get() + begin * product->layer->panel_pairs();
  }
};

/// Groups are numbered through all products. Beyond them lies the layer that was packed next, in
/// the same memory, which a model probably multiplies next.
PackedLinear::PanelGroup PackedLinear::find_group(std::span<const Product> products, int64_t group,
                                                  int64_t panels_of_group) {
  const Product* product = products.data();
  for (const Product* last = product + products.size() - 1; product < last; ++product) {
    const int64_t n_groups = whole(product->layer->n_panels(), panels_of_group);
    if (group < n_groups) break;
    group -= n_groups;
  }
  const int64_t begin = group * panels_of_group;
  return {product, begin, std::min(begin + panels_of_group, product->layer->n_panels())};
}

void PackedLinear::multiply_group(const PanelGroup& group, const PanelGroup& next,
                                  const uint16_t* x, int64_t x_stride, int32_t rows, int64_t row) {
#if defined(TREEWARD_COMPILE_AVX512BF16)
  const Product& product = *group.product;
  const PackedLinear& layer = *product.layer;
  const int64_t output = group.begin * kPanel;
  const auto n_outputs =
      static_cast<int32_t>(std::min<int64_t>(group.end * kPanel, layer.outputs_) - output);
  const auto n_rows = static_cast<int32_t>(std::min<int64_t>(kLinearRows, rows - row));
  const auto n_vectors = static_cast<int32_t>(whole(n_outputs, kVector));
  float* sums = sums_of_thread(static_cast<size_t>(n_rows) * n_vectors * kVector);
  isa_avx512bf16::linear({.pairs = group.pairs(),
                          .bias = layer.bias_.data() + output,
                          .n_vectors = n_vectors,
                          .n_outputs = n_outputs,
                          .inputs = layer.inputs_,
                          .x = x + row * x_stride,
                          .x_stride = x_stride,
                          .rows = n_rows,
                          .out = product.out + row * product.out_stride + output,
                          .out_stride = product.out_stride,
                          .sums = sums,
                          .next = next.pairs()});
#else
  (void)group, (void)next, (void)x, (void)x_stride, (void)rows, (void)row;
#endif
}

void PackedLinear::multiply(std::span<const Product> products, const uint16_t* x, int64_t x_stride,
                            int32_t rows) {
  if (!available()) throw InvalidArgument("linear: the instruction set in use lacks bf16 products");
  if (rows < 0) throw InvalidArgument("rows: must not be negative");
  int64_t n_panels = 0, outputs = 0;
  for (const Product& product : products) {
    if (product.layer->inputs_ != products[0].layer->inputs_) {
      throw InvalidArgument("inputs: layers that share their rows differ in them");
    }
    if (x_stride < product.layer->inputs_ || product.out_stride < product.layer->outputs_) {
      throw InvalidArgument("stride: less than a row");
    }
    n_panels += product.layer->n_panels();
    outputs += product.layer->outputs_;
  }
  if (products.empty()) return;
  const int64_t n_blocks = whole(rows, kLinearRows);
  const int64_t work = int64_t{rows} * products[0].layer->inputs_ * outputs;
  const int pool_size = thread_pool().size();
  const int threads = static_cast<int>(std::min<int64_t>(1 + work / kParallelWork, pool_size));
  const int64_t panels_of_group =
      std::clamp<int64_t>(n_panels / (threads * kTasksPerThread), 1, kMostPanels);
  int64_t n_groups = 0;
  for (const Product& product : products) {
    n_groups += whole(product.layer->n_panels(), panels_of_group);
  }
  const auto run = [&](int64_t task, int) {
    const int64_t block = task / n_groups, group = task % n_groups;
    int64_t next = group + threads;
    if (next >= n_groups && block + 1 < n_blocks) next -= n_groups;
    multiply_group(find_group(products, group, panels_of_group),
                   find_group(products, next, panels_of_group), x, x_stride, rows,
                   block * kLinearRows);
  };
  thread_pool().parallel_for(n_groups * n_blocks, threads, run);
}

}  // namespace treeward
