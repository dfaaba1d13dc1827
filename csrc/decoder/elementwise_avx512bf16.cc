#include "decoder/elementwise.h"

#define TREEWARD_ISA isa_avx512bf16
#include "attention/vector_avx512.h"
#include "attention/vector_math.h"

namespace treeward::isa_avx512bf16 {
namespace {

constexpr int32_t kWidth = Vec::kWidth;

/// The first n of 16 elements; n may be more.
inline __mmask16 first(int32_t n) {
  return n >= kWidth ? __mmask16{0xffff} : static_cast<__mmask16>((1u << n) - 1);
}

inline Vec::Reg widen(__m256i halves) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
}

inline Vec::Reg load(const uint16_t* from, __mmask16 mask) {
  return widen(_mm256_maskz_loadu_epi16(mask, from));
}

inline void store(uint16_t* to, __mmask16 mask, Vec::Reg x) {
  _mm256_mask_storeu_epi16(to, mask, (__m256i)_mm512_cvtneps_pbh(x));
}

inline Vec::Reg rounded(Vec::Reg x) { return widen((__m256i)_mm512_cvtneps_pbh(x)); }

/// Calls fn(element, mask) for each vector of n elements; only the last mask may have gaps.
template <class Function>
inline void each_vector(int32_t n, Function&& fn) {
  int32_t i = 0;
  for (; i + kWidth <= n; i += kWidth) fn(i, __mmask16{0xffff});
  if (i < n) fn(i, first(n - i));
}

}  // namespace

void rms_norm(const uint16_t* x, const float* weight, float epsilon, int32_t n, uint16_t* out) {
  Vec::Reg sums = Vec::set1(0.0f);
  each_vector(n, [&](int32_t i, __mmask16 mask) {
    const Vec::Reg values = load(x + i, mask);
    sums = Vec::fma(values, values, sums);
  });
  const float mean = Vec::reduce_add(sums) / static_cast<float>(n);
  // The built-in, as a function of another header could be kept by the linker for all files.
  const Vec::Reg factor = Vec::set1(1.0f / __builtin_sqrtf(mean + epsilon));
  each_vector(n, [&](int32_t i, __mmask16 mask) {
    const Vec::Reg scaled = rounded(Vec::mul(load(x + i, mask), factor));
    store(out + i, mask, Vec::mul(_mm512_maskz_loadu_ps(mask, weight + i), scaled));
  });
}

void add(const uint16_t* x, const uint16_t* y, int32_t n, uint16_t* out) {
  each_vector(n, [&](int32_t i, __mmask16 mask) {
    store(out + i, mask, Vec::add(load(x + i, mask), load(y + i, mask)));
  });
}

void rotate(uint16_t* head, const uint16_t* cos, const uint16_t* sin, int32_t head_dim) {
  const int32_t half = head_dim / 2;
  each_vector(half, [&](int32_t i, __mmask16 mask) {
    const Vec::Reg a = load(head + i, mask), b = load(head + half + i, mask);
    const auto turned = [&](Vec::Reg own, Vec::Reg other, int32_t at) {
      return Vec::add(rounded(Vec::mul(own, load(cos + at, mask))),
                      rounded(Vec::mul(other, load(sin + at, mask))));
    };
    const Vec::Reg minus_b = Vec::sub(Vec::set1(-0.0f), b);
    const Vec::Reg front = turned(a, minus_b, i), back = turned(b, a, half + i);
    store(head + i, mask, front);
    store(head + half + i, mask, back);
  });
}

void gated_silu(uint16_t* gate, const uint16_t* up, int32_t n) {
  each_vector(n, [&](int32_t i, __mmask16 mask) {
    const Vec::Reg x = load(gate + i, mask), one = Vec::set1(1.0f);
    // Of the two forms of the sigmoid the one whose exponential stays below 1.
    const Vec::Reg e = exp_nonpositive(Vec::sub(Vec::set1(0.0f), Vec::abs(x)));
    const Vec::Reg above = Vec::where_less(x, Vec::set1(0.0f), e, one);
    const Vec::Reg silu = Vec::div(Vec::mul(x, above), Vec::add(one, e));
    store(gate + i, mask, Vec::mul(rounded(silu), load(up + i, mask)));
  });
}

}  // namespace treeward::isa_avx512bf16
