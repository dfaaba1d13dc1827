#include "sampling/next_tokens.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "common/errors.h"

namespace treeward {

namespace {

constexpr int32_t kFirstRanks = 64;
// Each time more is asked for, so many times as much is sorted: a draw that goes far pays for a
// few passes over the row and not for hundreds.
constexpr int32_t kGrowth = 6;

}  // namespace

NextTokens::NextTokens(const float* logits, int32_t vocabulary, const SamplingOptions& options)
    : temperature_(options.temperature) {
  thread_local std::vector<Candidate> candidates;
  candidates.clear();
  if (!keeps_every_token(options, vocabulary) || vocabulary <= kFirstRanks) {
    logits_row(logits, vocabulary, options, candidates);
    append(candidates);
    size_ = static_cast<int32_t>(choices_.size());
    for (const Choice& choice : choices_) {
      mass_ += choice.weight;
      n_drawn_ += choice.weight > 0;
    }
    return;
  }
  totals_ = row_totals(logits, vocabulary, temperature_);
  size_ = totals_.n_finite;
  n_drawn_ = totals_.n_drawn;
  mass_ = 1;
  row_.assign(logits, logits + vocabulary);
  rank_up_to(0);
}

bool NextTokens::rank_up_to(int32_t rank) {
  if (row_.empty()) return false;
  const auto first = static_cast<int32_t>(choices_.size());
  int64_t last = std::max(first * kGrowth, kFirstRanks);
  while (last <= rank) last *= kGrowth;
  last = std::min<int64_t>(last, size_);
  thread_local std::vector<Candidate> candidates;
  candidates.clear();
  ranked_candidates(row_.data(), static_cast<int32_t>(row_.size()), temperature_, totals_,
                    first - n_masked_, static_cast<int32_t>(last) - n_masked_, candidates);
  append(candidates);
  if (last == size_) let_row_go();
  return true;
}

void NextTokens::let_row_go() { std::vector<float>().swap(row_); }

void NextTokens::renew(NextTokens&& again) {
  // A model may round a row otherwise in another batch. With what was ranked taken out, no token
  // can come twice or be missed.
  std::vector<float> row = std::move(again.row_);
  constexpr float kMasked = -std::numeric_limits<float>::infinity();
  if (!row.empty()) {
    for (const Choice& choice : choices_) row[static_cast<size_t>(choice.token)] = kMasked;
  }
  n_masked_ = static_cast<int32_t>(choices_.size());
  if (std::ranges::count_if(row, [](float x) { return x != kMasked; }) != size_ - n_masked_) {
    throw NotFinite("logits row: computed again, it masks other tokens than before");
  }
  row_ = std::move(row);
}

void NextTokens::append(const std::vector<Candidate>& candidates) {
  choices_.reserve(choices_.size() + candidates.size());
  for (const Candidate& candidate : candidates) {
    choices_.push_back({candidate.token, candidate.logprob, candidate.weight, -1});
  }
}

}  // namespace treeward
