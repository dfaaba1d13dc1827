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
  static constexpr int kRegisters = 32;
  static constexpr int kValueVectors = 4;
  template <class T>
  static constexpr int kColumns = 16 / sizeof(T);  // that load_columns() gives at once

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

  /// columns[i] = 32 bits at `byte` + 4 i of 16 rows. Rows come in as quarters of registers, so
  /// that only shuffles within quarters remain.
  ///
  ///     quarter l of gathered[j] is row 4 l + j
  __attribute__((always_inline)) static void load_words(const char* const* rows, int byte,
                                                        __m512i (&columns)[4]) {
    // In a loop the compiler would keep sixteen addresses in vector registers and move each back.
    asm volatile("" : "+r"(rows));
    __m512 gathered[4];
    for (int j = 0; j < 4; ++j) {
      const auto quarter = [&](int l) {
        return _mm_loadu_ps(reinterpret_cast<const float*>(rows[4 * l + j] + byte));
      };
      __m512 x = _mm512_castps128_ps512(quarter(0));
      x = _mm512_mask_broadcast_f32x4(x, 0x00f0, quarter(1));
      x = _mm512_mask_broadcast_f32x4(x, 0x0f00, quarter(2));
      gathered[j] = _mm512_mask_broadcast_f32x4(x, 0xf000, quarter(3));
    }
    const __m512 a = _mm512_unpacklo_ps(gathered[0], gathered[1]);
    const __m512 b = _mm512_unpackhi_ps(gathered[0], gathered[1]);
    const __m512 c = _mm512_unpacklo_ps(gathered[2], gathered[3]);
    const __m512 d = _mm512_unpackhi_ps(gathered[2], gathered[3]);
    columns[0] = _mm512_castps_si512(_mm512_shuffle_ps(a, c, 0x44));
    columns[1] = _mm512_castps_si512(_mm512_shuffle_ps(a, c, 0xEE));
    columns[2] = _mm512_castps_si512(_mm512_shuffle_ps(b, d, 0x44));
    columns[3] = _mm512_castps_si512(_mm512_shuffle_ps(b, d, 0xEE));
  }

  /// columns[i] = element from + i of 16 rows.
  template <class T>
  __attribute__((always_inline)) static void load_columns(const char* const* rows, int from,
                                                          Reg (&columns)[kColumns<T>]) {
    __m512i words[4];
    load_words(rows, from * static_cast<int>(sizeof(T)), words);
    for (int i = 0; i < 4; ++i) {
      if constexpr (sizeof(T) == sizeof(float)) {
        columns[i] = _mm512_castsi512_ps(words[i]);
      } else {
        const __m512i upper = _mm512_set1_epi32(static_cast<int>(0xffff0000));
        columns[2 * i] = _mm512_castsi512_ps(_mm512_slli_epi32(words[i], 16));
        columns[2 * i + 1] = _mm512_castsi512_ps(_mm512_and_si512(words[i], upper));
      }
    }
  }
};

}  // namespace treeward::TREEWARD_ISA
