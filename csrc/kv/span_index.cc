#include "kv/span_index.h"

#include <utility>

namespace treeward {

void SpanIndex::insert(uint64_t key, int32_t span) {
  if (2 * (used_ + 1) > entries_.size()) grow();
  size_t at = home(key);
  while (entries_[at].span >= 0) at = next(at);
  entries_[at] = {key, span};
  ++used_;
}

void SpanIndex::erase(uint64_t key, int32_t span) {
  size_t hole = home(key);
  while (entries_[hole].span >= 0 && !(entries_[hole].key == key && entries_[hole].span == span)) {
    hole = next(hole);
  }
  if (entries_[hole].span < 0) return;
  --used_;
  // Entries behind the hole move up, unless that would put one before its home.
  const size_t mask = entries_.size() - 1;
  for (size_t at = next(hole); entries_[at].span >= 0; at = next(at)) {
    const size_t from_home = (at - home(entries_[at].key)) & mask;
    if (from_home < ((at - hole) & mask)) continue;
    entries_[hole] = entries_[at];
    hole = at;
  }
  entries_[hole] = Entry();
}

void SpanIndex::grow() {
  const Entries before = std::exchange(entries_, Entries(2 * entries_.size()));
  for (const Entry& entry : before) {
    if (entry.span < 0) continue;
    size_t at = home(entry.key);
    while (entries_[at].span >= 0) at = next(at);
    entries_[at] = entry;
  }
}

}  // namespace treeward
