// Scores of children in portable C++; the loops are short enough for any compiler to unroll.
#include <cmath>

#include "common/simd.h"
#include "tree/score.h"

namespace treeward {
namespace {

struct Lanes {
  float at[kLanes];

  template <typename Function>
  static Lanes each(Function&& function) {
    Lanes out;
    for (int lane = 0; lane < kLanes; ++lane) out.at[lane] = function(lane);
    return out;
  }
  static Lanes load(const float* numbers) {
    return each([&](int lane) { return numbers[lane]; });
  }
  static Lanes load(const int32_t* numbers) {
    return each([&](int lane) { return static_cast<float>(numbers[lane]); });
  }
  static Lanes all(float number) {
    return each([&](int) { return number; });
  }
};

Lanes operator+(const Lanes& a, const Lanes& b) {
  return Lanes::each([&](int lane) { return a.at[lane] + b.at[lane]; });
}
Lanes operator-(const Lanes& a, const Lanes& b) {
  return Lanes::each([&](int lane) { return a.at[lane] - b.at[lane]; });
}
Lanes operator*(const Lanes& a, const Lanes& b) {
  return Lanes::each([&](int lane) { return a.at[lane] * b.at[lane]; });
}
Lanes operator/(const Lanes& a, const Lanes& b) {
  return Lanes::each([&](int lane) { return a.at[lane] / b.at[lane]; });
}
Lanes larger(const Lanes& a, const Lanes& b) {
  return Lanes::each([&](int lane) { return a.at[lane] > b.at[lane] ? a.at[lane] : b.at[lane]; });
}
Lanes root(const Lanes& a) {
  return Lanes::each([&](int lane) { return std::sqrt(a.at[lane]); });
}
Lanes where(uint32_t lanes, const Lanes& then, const Lanes& otherwise) {
  return Lanes::each(
      [&](int lane) { return (lanes >> lane) & 1u ? then.at[lane] : otherwise.at[lane]; });
}
uint32_t visited_lanes(const int32_t* visits) {
  uint32_t lanes = 0;
  for (int lane = 0; lane < kLanes; ++lane) lanes |= (visits[lane] > 0 ? 1u : 0u) << lane;
  return lanes;
}
float largest(const Lanes& a, uint32_t lanes) {
  float best = a.at[__builtin_ctz(lanes)];
  for (uint32_t left = lanes & (lanes - 1); left != 0; left &= left - 1) {
    const float next = a.at[__builtin_ctz(left)];
    if (next > best) best = next;
  }
  return best;
}
uint32_t lanes_equal(const Lanes& a, float number) {
  uint32_t lanes = 0;
  for (int lane = 0; lane < kLanes; ++lane) lanes |= (a.at[lane] == number ? 1u : 0u) << lane;
  return lanes;
}

}  // namespace
}  // namespace treeward

#include "tree/score_kernel.h"

namespace treeward {

const ScoreKernels kScalarScores = kKernels;

const ScoreKernels& score_kernels() {
  switch (current_level()) {
#if defined(TREEWARD_COMPILE_AVX512)
    case SimdLevel::avx512bf16:  // has nothing more that is of use here
    case SimdLevel::avx512:
      return kAvx512Scores;
#endif
#if defined(TREEWARD_COMPILE_AVX2)
    case SimdLevel::avx2:
      return kAvx2Scores;
#endif
    default:
      return kScalarScores;
  }
}

}  // namespace treeward
