// Scores of children with AVX-512: a block is one register, so a pass is one register wide.
#if defined(__GNUC__) && !defined(__clang__)
// GCC's own header starts from undefined registers and then warns about them (GCC bug 105593).
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif

#include <immintrin.h>

#include "tree/score.h"

namespace treeward {
namespace {

struct Lanes {
  __m512 at;

  static Lanes load(const float* numbers) { return {_mm512_load_ps(numbers)}; }
  static Lanes load(const int32_t* numbers) {
    return {_mm512_cvtepi32_ps(_mm512_load_si512(numbers))};
  }
  static Lanes all(float number) { return {_mm512_set1_ps(number)}; }
};

inline Lanes operator+(Lanes a, Lanes b) { return {_mm512_add_ps(a.at, b.at)}; }
inline Lanes operator-(Lanes a, Lanes b) { return {_mm512_sub_ps(a.at, b.at)}; }
inline Lanes operator*(Lanes a, Lanes b) { return {_mm512_mul_ps(a.at, b.at)}; }
inline Lanes operator/(Lanes a, Lanes b) { return {_mm512_div_ps(a.at, b.at)}; }
inline Lanes larger(Lanes a, Lanes b) { return {_mm512_max_ps(a.at, b.at)}; }
inline Lanes root(Lanes a) { return {_mm512_sqrt_ps(a.at)}; }
inline Lanes where(uint32_t lanes, Lanes then, Lanes otherwise) {
  return {_mm512_mask_mov_ps(otherwise.at, static_cast<__mmask16>(lanes), then.at)};
}
inline uint32_t visited_lanes(const int32_t* visits) {
  return _mm512_cmpgt_epi32_mask(_mm512_load_si512(visits), _mm512_setzero_si512());
}
inline float largest(Lanes a, uint32_t lanes) {
  return _mm512_mask_reduce_max_ps(static_cast<__mmask16>(lanes), a.at);
}
inline uint32_t lanes_equal(Lanes a, float number) {
  return _mm512_cmp_ps_mask(a.at, _mm512_set1_ps(number), _CMP_EQ_OQ);
}

}  // namespace
}  // namespace treeward

#include "tree/score_kernel.h"

namespace treeward {

const ScoreKernels kAvx512Scores = kKernels;

}  // namespace treeward
