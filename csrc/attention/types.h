// Tensors and parameters of tree attention, as plain data.
#pragma once

#include <cstdint>

namespace treeward {

enum class ElementType : int { f32 = 0, bf16 = 1 };

/// Keys and values of one layer, each a contiguous tensor [pages, kv_heads, page_size, head_dim]:
///
///     page 0                                        page 1
///     | head 0                  | head 1          | | head 0 ...
///     | slot 0 | slot 1 | ...   | slot 0 | ...    | | slot page_size | ...
///     | <- head_dim ->
///
/// The slots of one head lie side by side, so one head's chunk is read in runs of a page.
struct KvLayer {
  void* keys;
  void* values;
  int32_t pages, kv_heads, page_size, head_dim;
  ElementType type;
};

/// Tensor [rows, heads, head_dim] of the layer's element type. Strides are in elements; the
/// stride along head_dim is 1.
struct ConstRows {
  const void* data;
  int64_t row_stride, head_stride;
};

/// Like ConstRows, to be written.
struct Rows {
  void* data;
  int64_t row_stride, head_stride;
};

struct AttentionParams {
  float scale = 1.0f;    // multiplies every dot product
  int32_t window = 0;    // tokens of the path a row sees, itself included; <= 0: all of them
  float softcap = 0.0f;  // score s becomes softcap * tanh(s / softcap); 0: not
};

}  // namespace treeward
