// exp and tanh over vectors. Included by the file of one instruction set, after its Vec.
#pragma once

#ifndef TREEWARD_ISA
#error "define TREEWARD_ISA and Vec first"
#endif

namespace treeward::TREEWARD_ISA {

/// exp(x) for x <= 0, within 2 ulp; exactly 0 below -87.3 (so for -inf), NaN for NaN.
/// Cephes: x = n ln 2 + r, |r| <= ln 2 / 2, exp(x) = 2^n p(r).
inline Vec::Reg exp_nonpositive(Vec::Reg x) {
  // Adding 1.5 * 2^23 leaves the nearest integer in the low bits.
  const Vec::Reg magic = Vec::set1(12582912.0f);
  const Vec::Reg shifted = Vec::fma(x, Vec::set1(1.44269504088896341f), magic);
  const Vec::Reg n = Vec::sub(shifted, magic);
  Vec::Reg r = Vec::fma(n, Vec::set1(-0.693359375f), x);
  r = Vec::fma(n, Vec::set1(2.12194440e-4f), r);
  Vec::Reg p = Vec::set1(1.9875691500e-4f);
  p = Vec::fma(p, r, Vec::set1(1.3981999507e-3f));
  p = Vec::fma(p, r, Vec::set1(8.3334519073e-3f));
  p = Vec::fma(p, r, Vec::set1(4.1665795894e-2f));
  p = Vec::fma(p, r, Vec::set1(1.6666665459e-1f));
  p = Vec::fma(p, r, Vec::set1(5.0000001201e-1f));
  p = Vec::add(Vec::fma(Vec::mul(r, r), p, r), Vec::set1(1.0f));
  return Vec::scale(p, n, shifted, x, Vec::set1(-87.3f));
}

/// tanh(x), within a few ulp; NaN for NaN. Near 0, where 1 - exp(-2|x|) would lose digits, it is
/// an odd polynomial (Cephes).
inline Vec::Reg tanh(Vec::Reg x) {
  const Vec::Reg size = Vec::abs(x);
  const Vec::Reg e = exp_nonpositive(Vec::mul(size, Vec::set1(-2.0f)));
  const Vec::Reg one = Vec::set1(1.0f);
  const Vec::Reg far = Vec::copy_sign(Vec::div(Vec::sub(one, e), Vec::add(one, e)), x);
  const Vec::Reg z = Vec::mul(x, x);
  Vec::Reg p = Vec::set1(-5.70498872745e-3f);
  p = Vec::fma(p, z, Vec::set1(2.06390887954e-2f));
  p = Vec::fma(p, z, Vec::set1(-5.37397155531e-2f));
  p = Vec::fma(p, z, Vec::set1(1.33314422036e-1f));
  p = Vec::fma(p, z, Vec::set1(-3.33332819422e-1f));
  const Vec::Reg near = Vec::fma(Vec::mul(p, z), x, x);
  return Vec::where_less(size, Vec::set1(0.625f), near, far);
}

}  // namespace treeward::TREEWARD_ISA
