// Passes over a row for any processor: four floats at a time, which compilers map to what it has.
#include <cstdint>

#define TREEWARD_ISA isa_scalar

namespace treeward::isa_scalar {

struct Lanes {
  typedef float Floats __attribute__((vector_size(16)));
  typedef int32_t Ints __attribute__((vector_size(16)));
  static constexpr int kWidth = 4;

  static float largest(Floats x) {
    const float a = x[0] > x[1] ? x[0] : x[1];
    const float b = x[2] > x[3] ? x[2] : x[3];
    return a > b ? a : b;
  }
  static uint64_t at_least(Floats x, float threshold) {
    const Ints hits = x >= threshold;
    return static_cast<uint64_t>((hits[0] & 1) | (hits[1] & 2) | (hits[2] & 4) | (hits[3] & 8));
  }
};

}  // namespace treeward::isa_scalar

#include "sampling/row_kernel.h"

namespace treeward::isa_scalar {

RowKernels row_kernels() { return table_of_kernels(); }

}  // namespace treeward::isa_scalar
