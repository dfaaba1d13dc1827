// fp32 and bf16 elements. Included by the file of one instruction set, after its Vec.
#pragma once

#ifndef TREEWARD_ISA
#error "define TREEWARD_ISA and Vec first"
#endif

#include <cstdint>
#include <cstring>

#include "attention/kernels.h"
#include "attention/types.h"

namespace treeward::TREEWARD_ISA {

using Bf16 = uint16_t;  // the upper half of a float

inline float to_float(float x) { return x; }

inline float to_float(Bf16 x) {
  const uint32_t bits = static_cast<uint32_t>(x) << 16;
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

inline void from_float(float value, float* out) { *out = value; }

/// Rounds to nearest, ties to even; NaN stays NaN.
inline void from_float(float value, Bf16* out) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  // Without a branch, so that a loop over this becomes vectors.
  const uint32_t quiet = (bits >> 16) | 0x40u;
  const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  *out = static_cast<Bf16>((bits & 0x7fffffffu) > 0x7f800000u ? quiet : rounded);
}

/// Where the vector of (slot, head) begins in the keys or values of a layer, in elements.
inline int64_t slot_offset(const KvLayer& layer, int32_t slot, int32_t head) {
  const int64_t page = slot / layer.page_size;
  return ((page * layer.kv_heads + head) * layer.page_size + slot % layer.page_size) *
         layer.head_dim;
}

/// Copies n elements to floats, with zeros up to n_padded.
template <class T>
inline void copy_padded(const T* from, int n, int n_padded, float* to) {
  constexpr int kWidth = Vec::kWidth;
  int i = 0;
  for (; i + kWidth <= n; i += kWidth) Vec::store(to + i, Vec::load(from + i));
  for (; i < n; ++i) to[i] = to_float(from[i]);
  for (; i < n_padded; ++i) to[i] = 0.0f;
}

}  // namespace treeward::TREEWARD_ISA
