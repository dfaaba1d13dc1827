// A bf16 linear layer for the few rows of a step: weights packed once, in the order in which the
// products read them.
//
//     weight [outputs][inputs]  ->  panels of 64 outputs, the last one filled up with zeros
//
//     panel   inputs 0, 1 of 64 outputs | inputs 2, 3 of 64 outputs | ...
//             (0,0)(0,1) (1,0)(1,1) (2,0)(2,1) ...                        (output,input), 2 bytes
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace treeward {

/// out = x · weightᵀ + bias. Each output is one chain of multiply-adds along the inputs, two at a
/// time, with the bias added last: a row has the same bits whatever it is batched with.
class PackedLinear {
 public:
  static constexpr int kVector = 16;  // outputs of a vector
  static constexpr int kPanel = 64;   // outputs of a panel

  /// Whether the instruction set in use can multiply packed weights.
  static bool available();

  /// Copies bf16 weights [outputs][inputs], rows `weight_stride` elements apart; `bias` is
  /// [outputs] or null. InvalidArgument unless inputs is even and both are positive.
  PackedLinear(const uint16_t* weight, int64_t weight_stride, const uint16_t* bias, int32_t outputs,
               int32_t inputs);

  int32_t outputs() const { return outputs_; }
  int32_t inputs() const { return inputs_; }

  /// One of several products of the same rows: where a layer's bf16 [rows][outputs] go.
  struct Product {
    const PackedLinear* layer;
    uint16_t* out;
    int64_t out_stride;
  };

  /// bf16 x [rows][inputs] times each of the layers, in one loop; strides in elements.
  /// InvalidArgument if the instruction set in use cannot, the layers differ in inputs, or a row
  /// does not fit its stride.
  static void multiply(std::span<const Product> products, const uint16_t* x, int64_t x_stride,
                       int32_t rows);

  /// The same for one layer.
  void multiply(const uint16_t* x, int64_t x_stride, int32_t rows, uint16_t* out,
                int64_t out_stride) const {
    const Product product{this, out, out_stride};
    multiply({&product, 1}, x, x_stride, rows);
  }

 private:
  int64_t n_panels() const { return (int64_t{outputs_} + kPanel - 1) / kPanel; }
  int64_t panel_pairs() const { return int64_t{inputs_} / 2 * kPanel; }

  struct PanelGroup;
  static PanelGroup find_group(std::span<const Product> products, int64_t group,
                               int64_t panels_of_group);
  static void multiply_group(const PanelGroup& group, const PanelGroup& next, const uint16_t* x,
                             int64_t x_stride, int32_t rows, int64_t row);

  int32_t outputs_, inputs_;
  std::shared_ptr<uint32_t> pairs_;
  std::vector<float> bias_;  // [outputs, filled up to whole vectors]
};

}  // namespace treeward
