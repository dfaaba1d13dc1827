// Finds spans by a 64-bit key: children by (parent, first token), prompt blocks by a hash.
//
//   place       0      1      2      3      4      5
//            +------+------+------+------+------+------+--
//   entry    |  -   | k7 s2| k9 s4| k7 s8|  -   | k1 s5|       capacity: a power of two,
//            +------+------+------+------+------+------+--     at most half of it in use
//
// One array with linear probing: a look-up is one cache miss where a node of a chained table is
// two. Removal closes the gap it leaves, so there are no tombstones and probes stay short.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "common/huge_page_allocator.h"

namespace treeward {

/// The key of the child of a span that begins with a token.
inline uint64_t child_key(int32_t parent, int32_t token) {
  return (static_cast<uint64_t>(static_cast<uint32_t>(parent)) << 32) |
         static_cast<uint32_t>(token);
}

class SpanIndex {
 public:
  SpanIndex() : entries_(kFirstCapacity) {}

  /// Adds a span under a key, beside those that the key has already.
  void insert(uint64_t key, int32_t span);
  /// Removes one span from a key; nothing happens when it is not there.
  void erase(uint64_t key, int32_t span);
  /// Puts another span in the place of one that a key has.
  void replace(uint64_t key, int32_t from, int32_t to) {
    for (size_t at = home(key); entries_[at].span >= 0; at = next(at)) {
      if (entries_[at].key != key || entries_[at].span != from) continue;
      entries_[at].span = to;
      return;
    }
  }
  /// The span of a key that has one at most; -1 without.
  int32_t find(uint64_t key) const {
    return find(key, [](int32_t) { return true; });
  }
  /// The first span of a key that `accept(span)` takes; -1 without.
  template <typename Accept>
  int32_t find(uint64_t key, Accept&& accept) const {
    for (size_t at = home(key); entries_[at].span >= 0; at = next(at)) {
      if (entries_[at].key == key && accept(entries_[at].span)) return entries_[at].span;
    }
    return -1;
  }

 private:
  struct Entry {
    uint64_t key = 0;
    int32_t span = -1;  // -1: empty
  };
  using Entries = std::vector<Entry, HugePageAllocator<Entry>>;
  static constexpr size_t kFirstCapacity = 64;

  // The high half of a product depends on every bit of the key (Knuth's multiplicative hashing).
  size_t home(uint64_t key) const {
    return static_cast<size_t>(((key ^ (key >> 32)) * 0x9E3779B97F4A7C15ull) >> 32) &
           (entries_.size() - 1);
  }
  size_t next(size_t at) const { return (at + 1) & (entries_.size() - 1); }
  void grow();

  Entries entries_;
  size_t used_ = 0;
};

}  // namespace treeward
