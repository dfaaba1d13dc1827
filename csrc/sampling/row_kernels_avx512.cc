// Passes over a row for AVX-512 (F, BW, VL, DQ): sixteen floats at a time.
#if defined(__GNUC__) && !defined(__clang__)
// GCC's own header starts from undefined registers and then warns about them (GCC bug 105593).
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif

#include <immintrin.h>

#include <cstdint>

#define TREEWARD_ISA isa_avx512

namespace treeward::isa_avx512 {

struct Lanes {
  typedef float Floats __attribute__((vector_size(64)));
  typedef int32_t Ints __attribute__((vector_size(64)));
  static constexpr int kWidth = 16;

  static float largest(Floats x) { return _mm512_reduce_max_ps((__m512)x); }
  static uint64_t at_least(Floats x, float threshold) {
    return _mm512_cmp_ps_mask((__m512)x, _mm512_set1_ps(threshold), _CMP_GE_OQ);
  }
};

}  // namespace treeward::isa_avx512

#include "sampling/row_kernel.h"

namespace treeward::isa_avx512 {

RowKernels row_kernels() { return table_of_kernels(); }

}  // namespace treeward::isa_avx512
