#include "kv/eviction_queue.h"

#include <algorithm>

namespace treeward {

namespace {

constexpr size_t kChildren = 4;

}  // namespace

void EvictionQueue::put(int32_t span, bool discarded, int64_t tick) {
  if (span >= static_cast<int32_t>(place_.size())) place_.resize(span + 1, -1);
  const uint64_t rank = (discarded ? 0 : uint64_t{1} << 63) | static_cast<uint64_t>(tick);
  size_t at;
  if (place_[span] >= 0) {
    at = static_cast<size_t>(place_[span]);
    if (heap_[at].rank == rank) return;
  } else {
    at = heap_.size();
    heap_.emplace_back();
  }
  settle(at, Entry{rank, span});
}

void EvictionQueue::remove(int32_t span) {
  if (!contains(span)) return;
  const auto at = static_cast<size_t>(place_[span]);
  place_[span] = -1;
  const Entry last = heap_.back();
  heap_.pop_back();
  if (at < heap_.size()) settle(at, last);
}

// Writes an entry at a place, or where it must go from there, up or down.
void EvictionQueue::settle(size_t at, Entry entry) {
  while (at > 0) {
    const size_t parent = (at - 1) / kChildren;
    if (!entry.before(heap_[parent])) break;
    set(at, heap_[parent]);
    at = parent;
  }
  for (;;) {
    const size_t begin = kChildren * at + 1;
    if (begin >= heap_.size()) break;
    const size_t end = std::min(begin + kChildren, heap_.size());
    size_t least = begin;
    for (size_t child = begin + 1; child < end; ++child) {
      if (heap_[child].before(heap_[least])) least = child;
    }
    if (!heap_[least].before(entry)) break;
    set(at, heap_[least]);
    at = least;
  }
  set(at, entry);
}

}  // namespace treeward
