// Passes over a row for AVX2: eight floats at a time.
#include <immintrin.h>

#include <cstdint>

#define TREEWARD_ISA isa_avx2

namespace treeward::isa_avx2 {

struct Lanes {
  typedef float Floats __attribute__((vector_size(32)));
  typedef int32_t Ints __attribute__((vector_size(32)));
  static constexpr int kWidth = 8;

  static float largest(Floats x) {
    __m128 m = _mm_max_ps(_mm256_castps256_ps128((__m256)x), _mm256_extractf128_ps((__m256)x, 1));
    m = _mm_max_ps(m, _mm_movehl_ps(m, m));
    return _mm_cvtss_f32(_mm_max_ss(m, _mm_movehdup_ps(m)));
  }
  static uint64_t at_least(Floats x, float threshold) {
    const __m256 hits = _mm256_cmp_ps((__m256)x, _mm256_set1_ps(threshold), _CMP_GE_OQ);
    return static_cast<uint32_t>(_mm256_movemask_ps(hits));
  }
};

}  // namespace treeward::isa_avx2

#include "sampling/row_kernel.h"

namespace treeward::isa_avx2 {

RowKernels row_kernels() { return table_of_kernels(); }

}  // namespace treeward::isa_avx2
