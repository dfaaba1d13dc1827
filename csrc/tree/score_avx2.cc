// Scores of children with AVX2: a block is two registers of eight lanes.
#include <immintrin.h>

#include "tree/score.h"

namespace treeward {
namespace {

struct Lanes {
  __m256 low, high;

  static Lanes load(const float* numbers) {
    return {_mm256_load_ps(numbers), _mm256_load_ps(numbers + 8)};
  }
  static Lanes load(const int32_t* numbers) {
    const auto* halves = reinterpret_cast<const __m256i*>(numbers);
    return {_mm256_cvtepi32_ps(_mm256_load_si256(halves)),
            _mm256_cvtepi32_ps(_mm256_load_si256(halves + 1))};
  }
  static Lanes all(float number) { return {_mm256_set1_ps(number), _mm256_set1_ps(number)}; }
};

inline Lanes operator+(Lanes a, Lanes b) {
  return {_mm256_add_ps(a.low, b.low), _mm256_add_ps(a.high, b.high)};
}
inline Lanes operator-(Lanes a, Lanes b) {
  return {_mm256_sub_ps(a.low, b.low), _mm256_sub_ps(a.high, b.high)};
}
inline Lanes operator*(Lanes a, Lanes b) {
  return {_mm256_mul_ps(a.low, b.low), _mm256_mul_ps(a.high, b.high)};
}
inline Lanes operator/(Lanes a, Lanes b) {
  return {_mm256_div_ps(a.low, b.low), _mm256_div_ps(a.high, b.high)};
}
inline Lanes larger(Lanes a, Lanes b) {
  return {_mm256_max_ps(a.low, b.low), _mm256_max_ps(a.high, b.high)};
}
inline Lanes root(Lanes a) { return {_mm256_sqrt_ps(a.low), _mm256_sqrt_ps(a.high)}; }

// All bits of lane k set where bit k of `lanes` is.
inline __m256 spread(uint32_t lanes) {
  const __m256i bit = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
  const __m256i wanted = _mm256_and_si256(_mm256_set1_epi32(static_cast<int>(lanes)), bit);
  return _mm256_castsi256_ps(_mm256_cmpeq_epi32(wanted, bit));
}
inline uint32_t bits(__m256 low, __m256 high) {
  return static_cast<uint32_t>(_mm256_movemask_ps(low)) |
         static_cast<uint32_t>(_mm256_movemask_ps(high)) << 8;
}
inline Lanes where(uint32_t lanes, Lanes then, Lanes otherwise) {
  return {_mm256_blendv_ps(otherwise.low, then.low, spread(lanes)),
          _mm256_blendv_ps(otherwise.high, then.high, spread(lanes >> 8))};
}
inline uint32_t visited_lanes(const int32_t* visits) {
  const auto* halves = reinterpret_cast<const __m256i*>(visits);
  const __m256i zero = _mm256_setzero_si256();
  return bits(_mm256_castsi256_ps(_mm256_cmpgt_epi32(_mm256_load_si256(halves), zero)),
              _mm256_castsi256_ps(_mm256_cmpgt_epi32(_mm256_load_si256(halves + 1), zero)));
}
inline float largest(Lanes a, uint32_t lanes) {
  const __m256 least = _mm256_set1_ps(-__builtin_inff());
  const Lanes open = where(lanes, a, {least, least});
  const __m256 eight = _mm256_max_ps(open.low, open.high);
  __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  four = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(four, _mm_movehdup_ps(four)));
}
inline uint32_t lanes_equal(Lanes a, float number) {
  const __m256 wanted = _mm256_set1_ps(number);
  return bits(_mm256_cmp_ps(a.low, wanted, _CMP_EQ_OQ), _mm256_cmp_ps(a.high, wanted, _CMP_EQ_OQ));
}

}  // namespace
}  // namespace treeward

#include "tree/score_kernel.h"

namespace treeward {

const ScoreKernels kAvx2Scores = kKernels;

}  // namespace treeward
