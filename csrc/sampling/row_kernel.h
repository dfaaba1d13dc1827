// The passes over a row. Included by the file of one instruction set, after its Lanes.
#pragma once

#ifndef TREEWARD_ISA
#error "define TREEWARD_ISA and Lanes first"
#endif

#include <algorithm>
#include <cstring>

#include "sampling/row_kernels.h"

namespace treeward::TREEWARD_ISA {

using Floats = Lanes::Floats;
using Ints = Lanes::Ints;

inline constexpr int kVectors = kEntryBlock / Lanes::kWidth;

inline Floats load(const float* from) {
  Floats x;
  std::memcpy(&x, from, sizeof(x));
  return x;
}

inline const float* block_of(const RowView& row, int64_t b) {
  return b < row.whole ? row.data + b * kEntryBlock : row.tail;
}

inline float block_maxima(const RowView& row, float* maxima) {
  Floats largest = load(block_of(row, 0));
  for (int64_t b = 0; b < row.count; ++b) {
    const float* x = block_of(row, b);
    Floats here = load(x);
    for (int v = 1; v < kVectors; ++v) {
      const Floats next = load(x + v * Lanes::kWidth);
      here = here > next ? here : next;
    }
    maxima[b] = Lanes::largest(here);
    largest = largest > here ? largest : here;
  }
  return Lanes::largest(largest);
}

// e^d for -87 <= d <= 0 with a relative error below 2e-7 and e^0 = 1; without meaning outside.
// Cody-Waite range reduction and a polynomial 1 + r + r^2 q(r), where q has the least maximal
// relative error over |r| <= log(2) / 2.
inline Floats exp_nonpositive(Floats d) {
  // Adding 1.5 * 2^23 rounds to an integer and leaves it in the low bits of the float; the 127
  // on top is the bias of the exponent that those bits become.
  constexpr float kRound = 12582912.0f + 127.0f;
  const Floats shifted = d * 1.44269504088896341f + kRound;
  const Floats n = shifted - kRound;
  const Floats r = (d - n * 0.693359375f) + n * 2.12194440e-4f;
  Floats p = r * 8.312501013278961e-3f + 4.1890330612659454e-2f;
  p = p * r + 0.16667115688323975f;
  p = p * r + 0.499992311000824f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  return p * (Floats)((Ints)shifted << 23);
}

// In float within a group of blocks, where ten roundings are the most that a term sees, and in
// double beyond.
inline double exp_sum(const RowView& row, float largest, float scale) {
  constexpr int64_t kGroup = 4;
  const Floats zero = {};
  double total = 0;
  for (int64_t first = 0; first < row.count; first += kGroup) {
    Floats sums[kVectors] = {};
    const int64_t last = std::min(first + kGroup, row.count);
    for (int64_t b = first; b < last; ++b) {
      const float* x = block_of(row, b);
      for (int v = 0; v < kVectors; ++v) {
        const Floats d = (load(x + v * Lanes::kWidth) - largest) * scale;
        // Below e^-87 (1.6e-38) a term is nothing beside the 1 of the maximum, and the exponent
        // has wrapped around.
        sums[v] += d <= -87.0f ? zero : exp_nonpositive(d);
      }
    }
    // Lane j of the block and lane j + half of it, as long as there are halves.
    for (int half = kVectors / 2; half > 0; half /= 2) {
      for (int v = 0; v < half; ++v) sums[v] += sums[v + half];
    }
    float lanes[Lanes::kWidth];
    std::memcpy(lanes, &sums[0], sizeof(lanes));
    for (int half = Lanes::kWidth / 2; half > 0; half /= 2) {
      for (int j = 0; j < half; ++j) lanes[j] += lanes[j + half];
    }
    total += static_cast<double>(lanes[0]);
  }
  return total;
}

inline int64_t count_at_least(const RowView& row, float threshold) {
  int64_t total = 0;
  // A comparison that holds is -1 in its lane; 2^20 blocks stay far from overflow.
  constexpr int64_t kGroup = 1 << 20;
  for (int64_t first = 0; first < row.count; first += kGroup) {
    Ints hits = {};
    const int64_t last = std::min(first + kGroup, row.count);
    for (int64_t b = first; b < last; ++b) {
      const float* x = block_of(row, b);
      for (int v = 0; v < kVectors; ++v) hits += load(x + v * Lanes::kWidth) >= threshold;
    }
    for (int j = 0; j < Lanes::kWidth; ++j) total -= hits[j];
  }
  return total;
}

inline uint64_t block_mask(const float* block, float threshold) {
  uint64_t mask = 0;
  for (int v = 0; v < kVectors; ++v) {
    const uint64_t bits = Lanes::at_least(load(block + v * Lanes::kWidth), threshold);
    mask |= bits << (v * Lanes::kWidth);
  }
  return mask;
}

inline RowKernels table_of_kernels() { return {block_maxima, exp_sum, count_at_least, block_mask}; }

}  // namespace treeward::TREEWARD_ISA
