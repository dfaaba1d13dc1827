// Hash of a block of prompt tokens. It only finds candidates, the tokens themselves decide, so
// it is made to be fast: products of 64 bits folded to 64 (the method of the wyhash family), in
// four lanes that do not wait for each other.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>

#include "common/random.h"

namespace treeward {

inline constexpr int32_t kBlockTokens = 64;

inline uint64_t fold_product(uint64_t a, uint64_t b) {
  __extension__ using Wide = unsigned __int128;
  const Wide product = static_cast<Wide>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

/// Hash of the kBlockTokens tokens at `tokens`.
inline uint64_t block_hash(const int32_t* tokens) {
  constexpr int kLanes = 4;
  constexpr int kWords = kBlockTokens / 2;  // of 64 bits
  std::array<uint64_t, kWords> words;
  std::memcpy(words.data(), tokens, sizeof(words));
  std::array<uint64_t, kLanes> lanes = {0x243F6A8885A308D3ull, 0x13198A2E03707344ull,
                                        0xA4093822299F31D0ull, 0x082EFA98EC4E6C89ull};
  for (int i = 0; i < kWords; i += 2 * kLanes) {
    for (int lane = 0; lane < kLanes; ++lane) {
      // Added and not only multiplied: a factor of 0 must not wipe out what came before.
      lanes[lane] += fold_product(words[i + 2 * lane] ^ lanes[lane],
                                  words[i + 2 * lane + 1] ^ 0x9E3779B97F4A7C15ull);
    }
  }
  const uint64_t left = fold_product(lanes[0] ^ 0x452821E638D01377ull, lanes[1]) + lanes[0];
  const uint64_t right = fold_product(lanes[2] ^ 0xBE5466CF34E90C6Cull, lanes[3]) + lanes[2];
  return mix64(left ^ mix64(right));
}

}  // namespace treeward
