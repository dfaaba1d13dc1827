// Kernels for AVX2 with FMA: eight floats at a time.
#include <immintrin.h>

#include <cstdint>

#define TREEWARD_ISA isa_avx2

namespace treeward::isa_avx2 {

struct Vec {
  using Reg = __m256;
  static constexpr int kWidth = 8;
  static constexpr int kScoreBlocks = 2;  // 4 rows x 2 sums of the 16 registers
  static constexpr int kRegisters = 16;
  static constexpr int kValueVectors = 2;
  template <class T>
  static constexpr int kColumns = kWidth;  // that load_columns() gives at once

  static Reg load(const float* from) { return _mm256_loadu_ps(from); }
  static Reg load(const uint16_t* from) {
    const __m128i halves = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(halves), 16));
  }
  static void store(float* to, Reg x) { _mm256_storeu_ps(to, x); }
  static Reg set1(float x) { return _mm256_set1_ps(x); }
  static Reg iota() { return _mm256_setr_ps(0, 1, 2, 3, 4, 5, 6, 7); }
  static float first(Reg x) { return _mm256_cvtss_f32(x); }
  static Reg add(Reg a, Reg b) { return _mm256_add_ps(a, b); }
  static Reg sub(Reg a, Reg b) { return _mm256_sub_ps(a, b); }
  static Reg mul(Reg a, Reg b) { return _mm256_mul_ps(a, b); }
  static Reg div(Reg a, Reg b) { return _mm256_div_ps(a, b); }
  static Reg fma(Reg a, Reg b, Reg c) { return _mm256_fmadd_ps(a, b, c); }
  static Reg max(Reg a, Reg b) { return _mm256_max_ps(a, b); }
  static Reg abs(Reg x) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x); }
  static Reg copy_sign(Reg x, Reg sign) {
    return _mm256_or_ps(abs(x), _mm256_and_ps(_mm256_set1_ps(-0.0f), sign));
  }
  /// p * 2^n where x >= least, else 0. The low bits of shifted = 1.5 * 2^23 + n are n.
  static Reg scale(Reg p, Reg, Reg shifted, Reg x, Reg least) {
    const __m256i exponent = _mm256_add_epi32(_mm256_castps_si256(shifted), _mm256_set1_epi32(127));
    const Reg power = _mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23));
    return _mm256_andnot_ps(_mm256_cmp_ps(x, least, _CMP_LT_OQ), _mm256_mul_ps(p, power));
  }
  static Reg where_less(Reg a, Reg b, Reg x, Reg y) {
    return _mm256_blendv_ps(y, x, _mm256_cmp_ps(a, b, _CMP_LT_OQ));
  }
  static float reduce_add(Reg x) {
    __m128 y = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    y = _mm_add_ps(y, _mm_movehl_ps(y, y));
    return _mm_cvtss_f32(_mm_add_ss(y, _mm_movehdup_ps(y)));
  }
  static float reduce_max(Reg x) {
    __m128 y = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    y = _mm_max_ps(y, _mm_movehl_ps(y, y));
    return _mm_cvtss_f32(_mm_max_ss(y, _mm_movehdup_ps(y)));
  }
  /// out[i] = the largest lane of x[i], for n vectors.
  static void max_of_each(const Reg* x, int n, float* out) {
    for (int i = 0; i < n; ++i) out[i] = reduce_max(x[i]);
  }
  /// out[i] = the sum of the lanes of x[i], for n vectors.
  static void sum_of_each(const Reg* x, int n, float* out) {
    for (int i = 0; i < n; ++i) out[i] = reduce_add(x[i]);
  }
  __attribute__((always_inline)) static void transpose(Reg (&t)[8]) {
    Reg a[8], b[8];
    for (int i = 0; i < 8; i += 2) {
      a[i] = _mm256_unpacklo_ps(t[i], t[i + 1]);
      a[i + 1] = _mm256_unpackhi_ps(t[i], t[i + 1]);
    }
    for (int i = 0; i < 8; i += 4) {
      b[i] = _mm256_shuffle_ps(a[i], a[i + 2], 0x44);
      b[i + 1] = _mm256_shuffle_ps(a[i], a[i + 2], 0xEE);
      b[i + 2] = _mm256_shuffle_ps(a[i + 1], a[i + 3], 0x44);
      b[i + 3] = _mm256_shuffle_ps(a[i + 1], a[i + 3], 0xEE);
    }
    for (int i = 0; i < 4; ++i) {
      t[i] = _mm256_permute2f128_ps(b[i], b[i + 4], 0x20);
      t[i + 4] = _mm256_permute2f128_ps(b[i], b[i + 4], 0x31);
    }
  }
  /// columns[i] = element from + i of kWidth rows.
  template <class T>
  __attribute__((always_inline)) static void load_columns(const char* const* rows, int from,
                                                          Reg (&columns)[kWidth]) {
    for (int i = 0; i < kWidth; ++i) {
      columns[i] = load(reinterpret_cast<const T*>(rows[i]) + from);
    }
    transpose(columns);
  }
};

}  // namespace treeward::isa_avx2

#include "attention/chunk_kernel.h"
#include "attention/float_panel.h"
#include "attention/merge_kernel.h"

namespace treeward::isa_avx2 {

AttentionKernels attention_kernels() {
  return {{chunks<FloatPanel<float>>, chunks<FloatPanel<Bf16>>}, {merge<float>, merge<Bf16>}};
}

}  // namespace treeward::isa_avx2
