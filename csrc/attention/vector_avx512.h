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
  /// out[i] = the largest lane of x[i], for n <= 16 vectors; out has room for 16.
  static void max_of_each(const Reg* x, int n, float* out) {
    reduce_each(x, n, out, [](Reg a, Reg b) { return max(a, b); });
  }
  /// out[i] = the sum of the lanes of x[i]; as max_of_each().
  static void sum_of_each(const Reg* x, int n, float* out) {
    reduce_each(x, n, out, [](Reg a, Reg b) { return add(a, b); });
  }

  /// Lane i is taken with i + 8, then i + 4, i + 2 and i + 1. Each step halves the vectors, too:
  ///
  ///     halves    (x0, x4), (x8, x12)      each 8 lanes, side by side in one vector
  ///     quarters  (x0, x4, x8, x12) ..     4 lanes, four such vectors: of x0, of x1, x2 and x3
  ///     pairs     (x0, x1 | x4, x5 ..)     2 lanes, two vectors
  ///     lanes     (x0, x1, x2, x3 | x4 ..)
  template <class Operation>
  __attribute__((always_inline)) static void reduce_each(const Reg* x, int n, float* out,
                                                         Operation&& of) {
    if (n == 1) {
      Reg all = of(x[0], _mm512_shuffle_f32x4(x[0], x[0], 0x4E));
      all = of(all, _mm512_shuffle_f32x4(all, all, 0xB1));
      all = of(all, _mm512_shuffle_ps(all, all, 0x4E));
      *out = first(of(all, _mm512_shuffle_ps(all, all, 0xB1)));
      return;
    }
    const auto at = [&](int i) { return x[i < n ? i : 0]; };
    const auto halves = [&](Reg a, Reg b) {
      return of(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xEE));
    };
    Reg quarters[4];
    for (int i = 0; i < 4; ++i) {
      const Reg low = halves(at(i), at(i + 4));
      const Reg high = n <= 8 ? low : halves(at(i + 8), at(i + 12));
      quarters[i] =
          of(_mm512_shuffle_f32x4(low, high, 0x88), _mm512_shuffle_f32x4(low, high, 0xDD));
    }
    const auto pairs = [&](Reg a, Reg b) {
      return of(_mm512_shuffle_ps(a, b, 0x44), _mm512_shuffle_ps(a, b, 0xEE));
    };
    const Reg low = pairs(quarters[0], quarters[1]), high = pairs(quarters[2], quarters[3]);
    store(out, of(_mm512_shuffle_ps(low, high, 0x88), _mm512_shuffle_ps(low, high, 0xDD)));
  }

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
