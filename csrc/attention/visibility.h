// Which keys of a chunk a row sees. Included by the file of one instruction set.
#pragma once

#ifndef TREEWARD_ISA
#error "define TREEWARD_ISA and Vec first"
#endif

#include <cstdint>

namespace treeward::TREEWARD_ISA {

/// Keys [begin, end) of a chunk; begin >= end: none.
struct KeyRange {
  int begin, end;
  bool empty() const { return begin >= end; }
};

inline int clamp(int64_t x, int low, int high) {
  return x < low ? low : x > high ? high : static_cast<int>(x);
}

/// Keys of the chunk that a row at position `at` sees.
inline KeyRange visible_keys(int64_t at, int64_t first, int n_tokens, int32_t window) {
  const int end = clamp(at - first + 1, 0, n_tokens);
  const int begin = window > 0 ? clamp(at - window + 1 - first, 0, n_tokens) : 0;
  return {begin, end};
}

/// The smallest range that holds both, neither being empty.
inline KeyRange cover(KeyRange a, KeyRange b) {
  return {a.begin < b.begin ? a.begin : b.begin, a.end > b.end ? a.end : b.end};
}

/// What both hold.
inline KeyRange common(KeyRange a, KeyRange b) {
  return {a.begin > b.begin ? a.begin : b.begin, a.end < b.end ? a.end : b.end};
}

}  // namespace treeward::TREEWARD_ISA
