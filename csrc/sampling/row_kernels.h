// What logits_row hands to the kernels of one instruction set. Only plain data crosses here.
#pragma once

#include <cstdint>

namespace treeward {

/// Every pass walks a row in blocks of this many entries; results do not depend on how many of
/// them an instruction set takes at a time.
inline constexpr int kEntryBlock = 64;

/// A row as whole blocks. The last one is a copy padded with -inf where the row does not fill it.
///
///     data   | block 0 | block 1 | ... | block whole-1 | rest
///     tail                                             | rest, -inf ... |
struct RowView {
  const float* data;
  const float* tail;  // [kEntryBlock], read as block `whole` when count > whole
  int64_t whole;
  int64_t count;
};

/// Kernels of one instruction set. All give the same bits at every level: none fuses a product
/// with a sum, and each sum has an order that the block fixes and the vector width does not.
struct RowKernels {
  /// maxima[b] = largest entry of block b; returns the largest of all. A NaN may or may not be
  /// seen.
  float (*block_maxima)(const RowView& row, float* maxima);
  /// Sum of e^((x - largest) * scale), NaN if and only if an entry is. largest is the maximum.
  double (*exp_sum)(const RowView& row, float largest, float scale);
  /// How many entries are at least the threshold.
  int64_t (*count_at_least)(const RowView& row, float threshold);
  /// Bit j tells whether entry j of a block is at least the threshold.
  uint64_t (*block_mask)(const float* block, float threshold);
};

namespace isa_scalar {
RowKernels row_kernels();
}
namespace isa_avx2 {
RowKernels row_kernels();
}
namespace isa_avx512 {
RowKernels row_kernels();
}

/// The kernels of the level in use (common/simd.h).
const RowKernels& row_kernels();

}  // namespace treeward
