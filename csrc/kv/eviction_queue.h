// The evictable spans in the order in which they go: what the search discarded first, then the
// least recently used.
//
//   heap    [0]  [1] [2] [3] [4]  [5] ...      children of place p: 4p + 1 ... 4p + 4,
//           first                              none of which goes before p
//   place   span -> its place in the heap, -1 outside
//
// A heap and not a queue: a parent joins when its last child goes, at the time of its own last
// use. Four children a place keep it shallow: 100 thousand spans are nine levels.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace treeward {

class EvictionQueue {
 public:
  bool empty() const { return heap_.empty(); }
  size_t size() const { return heap_.size(); }
  bool contains(int32_t span) const {
    return span < static_cast<int32_t>(place_.size()) && place_[span] >= 0;
  }
  /// The span that goes first; the queue must not be empty.
  int32_t first() const { return heap_.front().span; }

  /// Puts a span in, or moves it to its new place.
  void put(int32_t span, bool discarded, int64_t tick);
  /// Takes a span out; nothing happens when it is outside.
  void remove(int32_t span);

 private:
  struct Entry {
    uint64_t rank = 0;  // bit 63: not discarded; below it the tick
    int32_t span = -1;

    bool before(const Entry& other) const {
      return rank != other.rank ? rank < other.rank : span < other.span;
    }
  };

  void set(size_t at, const Entry& entry) {
    heap_[at] = entry;
    place_[entry.span] = static_cast<int32_t>(at);
  }
  void settle(size_t at, Entry entry);

  std::vector<Entry> heap_;
  std::vector<int32_t> place_;
};

}  // namespace treeward
