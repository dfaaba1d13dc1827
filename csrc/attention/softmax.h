// Weights of one row's scores. Included by the file of one instruction set, after its Vec.
#pragma once

#include "attention/plan.h"
#include "attention/unroll.h"
#include "attention/vector_math.h"
#include "attention/visibility.h"

namespace treeward::TREEWARD_ISA {

constexpr float kMinusInfinity = -__builtin_inff();

/// Caps the scores of a row where asked, hides keys outside the range, and finds the largest.
inline float prepare_scores(float* scores, KeyRange keys, float softcap) {
  constexpr int kWidth = Vec::kWidth;
  const Vec::Reg hidden = Vec::set1(kMinusInfinity);
  Vec::Reg largest = hidden;
  if (keys.begin == 0 && keys.end == kChunkTokens && softcap == 0.0f) {
    TREEWARD_UNROLL
    for (int i = 0; i < kChunkTokens; i += kWidth) {
      largest = Vec::max(largest, Vec::load(scores + i));
    }
    return Vec::reduce_max(largest);
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
  return Vec::reduce_max(largest);
}

/// Turns the scores of one row into weights exp(score - max). Keys outside the range weigh 0, and
/// adding 0 changes nothing, so the sum is that of the visible keys alone.
inline void softmax_row(float* scores, KeyRange keys, float softcap, float* max, float* sum) {
  constexpr int kWidth = Vec::kWidth;
  *max = prepare_scores(scores, keys, softcap);
  const Vec::Reg shift = Vec::set1(*max);
  Vec::Reg total = Vec::set1(0.0f);
  for (int i = keys.begin / kWidth * kWidth; i < keys.end; i += kWidth) {
    const Vec::Reg weight = exp_nonpositive(Vec::sub(Vec::load(scores + i), shift));
    Vec::store(scores + i, weight);
    total = Vec::add(total, weight);
  }
  *sum = Vec::reduce_add(total);
}

}  // namespace treeward::TREEWARD_ISA
