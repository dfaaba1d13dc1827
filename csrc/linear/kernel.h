// What PackedLinear hands to the kernel of an instruction set. Only plain data crosses here.
#pragma once

#include <cstdint>

namespace treeward {

/// Some panels for some rows.
struct LinearTask {
  const uint32_t* pairs;  // of the first panel, which are `inputs` / 2 * 64 apart
  const float* bias;      // of its first output
  int32_t n_vectors;      // vectors of 16 outputs in all panels together
  int32_t n_outputs;      // outputs to write; what fills up the last vector is none
  int32_t inputs;
  const uint16_t* x;
  int64_t x_stride;
  int32_t rows;
  uint16_t* out;  // row 0, first output
  int64_t out_stride;
  float* sums;           // [rows][n_vectors * 16], used where the inputs are cut
  const uint32_t* next;  // what the thread will probably read after these panels
};

/// Rows that go through a panel while it is in the second level cache.
inline constexpr int32_t kLinearRows = 64;

/// Inputs done in one go, so that a panel's share and the rows' fit that cache.
inline constexpr int32_t kLinearInputs = 1536;

namespace isa_avx512bf16 {
void linear(const LinearTask& task);
}

}  // namespace treeward
