// Sixteen floats at a time, for the files of AVX-512 (F, BW, VL, DQ).
#pragma once

#if defined(__GNUC__) && !defined(__clang__)
// GCC's own header starts from undefined registers and then warns about them (GCC bug 105593).
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif

#include <immintrin.h>

#include <cstdint>

namespace treeward::TREEWARD_ISA {

struct Vec {
  using Reg = __m512;
  static constexpr int kWidth = 16;
  static constexpr int kScoreBlocks = 4;  // 4 rows x 4 sums of the 32 registers
  static constexpr int kValueVectors = 4;

  static Reg load(const float* from) { return _mm512_loadu_ps(from); }
  static Reg load(const uint16_t* from) {
    const __m256i halves = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
  }
  static void store(float* to, Reg x) { _mm512_storeu_ps(to, x); }
  static Reg set1(float x) { return _mm512_set1_ps(x); }
  static Reg iota() { return _mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15); }
  static float first(Reg x) { return _mm512_cvtss_f32(x); }
  static Reg add(Reg a, Reg b) { return _mm512_add_ps(a, b); }
  static Reg sub(Reg a, Reg b) { return _mm512_sub_ps(a, b); }
  static Reg mul(Reg a, Reg b) { return _mm512_mul_ps(a, b); }
  static Reg div(Reg a, Reg b) { return _mm512_div_ps(a, b); }
  static Reg fma(Reg a, Reg b, Reg c) { return _mm512_fmadd_ps(a, b, c); }
  static Reg max(Reg a, Reg b) { return _mm512_max_ps(a, b); }
  static Reg abs(Reg x) { return _mm512_andnot_ps(_mm512_set1_ps(-0.0f), x); }
  static Reg copy_sign(Reg x, Reg sign) {
    return _mm512_or_ps(abs(x), _mm512_and_ps(_mm512_set1_ps(-0.0f), sign));
  }
  /// p * 2^n where x >= least, else 0; n is whole.
  static Reg scale(Reg p, Reg n, Reg, Reg x, Reg least) {
    return _mm512_maskz_scalef_ps(_mm512_cmp_ps_mask(x, least, _CMP_NLT_UQ), p, n);
  }
  static Reg where_less(Reg a, Reg b, Reg x, Reg y) {
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), y, x);
  }
  static float reduce_add(Reg x) { return _mm512_reduce_add_ps(x); }
  static float reduce_max(Reg x) { return _mm512_reduce_max_ps(x); }
  __attribute__((always_inline)) static void transpose(Reg (&t)[16]) {
    Reg a[16], b[16];
    for (int i = 0; i < 16; i += 2) {
      a[i] = _mm512_unpacklo_ps(t[i], t[i + 1]);
      a[i + 1] = _mm512_unpackhi_ps(t[i], t[i + 1]);
    }
    for (int i = 0; i < 16; i += 4) {  // b[i + j]: column j of each 4 x 4 tile
      b[i] = _mm512_shuffle_ps(a[i], a[i + 2], 0x44);
      b[i + 1] = _mm512_shuffle_ps(a[i], a[i + 2], 0xEE);
      b[i + 2] = _mm512_shuffle_ps(a[i + 1], a[i + 3], 0x44);
      b[i + 3] = _mm512_shuffle_ps(a[i + 1], a[i + 3], 0xEE);
    }
    for (int j = 0; j < 4; ++j) {
      a[j] = _mm512_shuffle_f32x4(b[j], b[j + 4], 0x88);           // tile columns 0 and 2, rows 0-7
      a[j + 4] = _mm512_shuffle_f32x4(b[j], b[j + 4], 0xDD);       // 1 and 3
      a[j + 8] = _mm512_shuffle_f32x4(b[j + 8], b[j + 12], 0x88);  // rows 8-15
      a[j + 12] = _mm512_shuffle_f32x4(b[j + 8], b[j + 12], 0xDD);
    }
    for (int j = 0; j < 4; ++j) {
      t[j] = _mm512_shuffle_f32x4(a[j], a[j + 8], 0x88);
      t[j + 4] = _mm512_shuffle_f32x4(a[j + 4], a[j + 12], 0x88);
      t[j + 8] = _mm512_shuffle_f32x4(a[j], a[j + 8], 0xDD);
      t[j + 12] = _mm512_shuffle_f32x4(a[j + 4], a[j + 12], 0xDD);
    }
  }
};

}  // namespace treeward::TREEWARD_ISA
