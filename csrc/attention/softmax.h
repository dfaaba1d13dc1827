// Weights of the scores of a group of rows. Included by the file of one instruction set, after its
// Vec.
#pragma once

#include "attention/kernels.h"
#include "attention/plan.h"
#include "attention/unroll.h"
#include "attention/vector_math.h"
#include "attention/visibility.h"

namespace treeward::TREEWARD_ISA {

constexpr float kMinusInfinity = -__builtin_inff();

/// Rows whose maxima, or sums, are found together: one a lane.
inline constexpr int kLanes = Vec::kWidth;

/// A group's rows, up to a multiple of the lanes.
inline constexpr int kRowRoom = (kRowGroup + kLanes - 1) / kLanes * kLanes;

/// Caps the scores of a row where asked and hides keys outside the range. Returns the largest ones
/// lane by lane.
inline Vec::Reg prepare_scores(float* scores, KeyRange keys, float softcap) {
  constexpr int kWidth = Vec::kWidth;
  const Vec::Reg hidden = Vec::set1(kMinusInfinity);
  Vec::Reg largest = hidden;
  if (keys.begin == 0 && keys.end == kChunkTokens && softcap == 0.0f) {
    TREEWARD_UNROLL
    for (int i = 0; i < kChunkTokens; i += kWidth) {
      largest = Vec::max(largest, Vec::load(scores + i));
    }
    return largest;
  }
  const Vec::Reg first_key = Vec::set1(static_cast<float>(keys.begin));
  const Vec::Reg end_key = Vec::set1(static_cast<float>(keys.end));
  const Vec::Reg cap = Vec::set1(softcap);
  for (int i = keys.begin / kWidth * kWidth; i < keys.end; i += kWidth) {
    Vec::Reg score = Vec::load(scores + i);
    if (softcap != 0.0f) score = Vec::mul(cap, tanh(Vec::div(score, cap)));
    const Vec::Reg key = Vec::add(Vec::iota(), Vec::set1(static_cast<float>(i)));
    score = Vec::where_less(key, first_key, hidden, score);
    score = Vec::where_less(key, end_key, score, hidden);
    Vec::store(scores + i, score);
    largest = Vec::max(largest, score);
  }
  return largest;
}

/// The softmax of `n` rows of scores [n][kChunkTokens]: their largest scores in max[kRowRoom], the
/// sums of their weights in sum[kRowRoom]. weigh(scores, keys, max) makes weights of one row's
/// scores and returns their sum lane by lane. A row that sees no key is left alone.
///
/// Lanes are only added up once the vectors of many rows are there: a row alone would wait for each
/// of its steps.
template <class Weigh>
inline void softmax_rows(float* scores, int n, const KeyRange* keys, float softcap, float* max,
                         float* sum, Weigh&& weigh) {
  for (int first = 0; first < n; first += kLanes) {
    const int rows = n - first < kLanes ? n - first : kLanes;
    Vec::Reg lanes[kLanes];
    for (int r = 0; r < rows; ++r) {
      const KeyRange seen = keys[first + r];
      lanes[r] = seen.empty() ? Vec::set1(0.0f)
                              : prepare_scores(scores + (first + r) * kChunkTokens, seen, softcap);
    }
    Vec::max_of_each(lanes, rows, max + first);
    for (int r = 0; r < rows; ++r) {
      const KeyRange seen = keys[first + r];
      if (seen.empty()) continue;
      lanes[r] = weigh(scores + (first + r) * kChunkTokens, seen, max[first + r]);
    }
    Vec::sum_of_each(lanes, rows, sum + first);
  }
}

/// Turns the scores of one row into weights exp(score - max), and returns their sum lane by lane.
/// Keys outside the range weigh 0, and adding 0 changes nothing, so the sum is that of the visible
/// keys alone.
inline Vec::Reg exp_weights(float* scores, KeyRange keys, float max) {
  constexpr int kWidth = Vec::kWidth;
  const Vec::Reg shift = Vec::set1(max);
  Vec::Reg total = Vec::set1(0.0f);
  for (int i = keys.begin / kWidth * kWidth; i < keys.end; i += kWidth) {
    const Vec::Reg weight = exp_nonpositive(Vec::sub(Vec::load(scores + i), shift));
    Vec::store(scores + i, weight);
    total = Vec::add(total, weight);
  }
  return total;
}

}  // namespace treeward::TREEWARD_ISA
