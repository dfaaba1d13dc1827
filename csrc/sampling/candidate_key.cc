#include "sampling/candidate_key.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <utility>

namespace treeward {

void sort_keys(std::vector<uint64_t>& keys, int64_t n, std::vector<uint64_t>& spare) {
  // Comparisons mispredict on random logits; from here on counting passes cost less.
  constexpr int64_t kWorthCounting = 400;
  if (n < kWorthCounting) {
    std::sort(keys.begin(), keys.begin() + n);
    return;
  }
  // Least significant digit first over the logit alone: a stable sort keeps tokens ascending.
  constexpr int kBits = 11;
  constexpr int kPasses = 3;
  constexpr size_t kDigits = size_t{1} << kBits;
  const auto digit = [](uint64_t key, int pass) {
    return static_cast<size_t>(key >> (32 + pass * kBits)) & (kDigits - 1);
  };
  std::array<std::array<uint32_t, kDigits>, kPasses> places{};
  for (int64_t i = 0; i < n; ++i) {
    for (int pass = 0; pass < kPasses; ++pass) ++places[pass][digit(keys[i], pass)];
  }
  if (spare.size() < static_cast<size_t>(n)) spare.resize(n);
  for (int pass = 0; pass < kPasses; ++pass) {
    uint32_t next = 0;
    for (uint32_t& place : places[pass]) next += std::exchange(place, next);
    for (int64_t i = 0; i < n; ++i) spare[places[pass][digit(keys[i], pass)]++] = keys[i];
    keys.swap(spare);
  }
}

}  // namespace treeward
