// bfloat16 numbers for the C++ tests, by plain arithmetic on their bits.
#pragma once

#include <cstdint>
#include <cstring>

namespace treeward {

/// Rounded to nearest, ties to even; not for NaN.
inline uint16_t to_bf16(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof(bits));
  return static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

inline float from_bf16(uint16_t x) {
  const uint32_t bits = static_cast<uint32_t>(x) << 16;
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

}  // namespace treeward
