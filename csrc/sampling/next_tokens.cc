#include "sampling/next_tokens.h"

#include <algorithm>

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
  logits_.assign(logits, logits + vocabulary);
  rank_up_to(0);
}

void NextTokens::rank_up_to(int32_t rank) {
  const auto first = static_cast<int32_t>(choices_.size());
  int64_t last = std::max(first * kGrowth, kFirstRanks);
  while (last <= rank) last *= kGrowth;
  last = std::min<int64_t>(last, size_);
  thread_local std::vector<Candidate> candidates;
  candidates.clear();
  ranked_candidates(logits_.data(), static_cast<int32_t>(logits_.size()), temperature_, totals_,
                    first, static_cast<int32_t>(last), candidates);
  append(candidates);
  if (last == size_) std::vector<float>().swap(logits_);
}

void NextTokens::append(const std::vector<Candidate>& candidates) {
  choices_.reserve(choices_.size() + candidates.size());
  for (const Candidate& candidate : candidates) {
    choices_.push_back({candidate.token, candidate.logprob, candidate.weight, -1});
  }
}

}  // namespace treeward
