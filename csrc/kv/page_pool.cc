#include "kv/page_pool.h"

#include <algorithm>
#include <cstddef>
#include <limits>
#include <string>

#include "common/errors.h"

namespace treeward {

PagePool::PagePool(int32_t n_pages, int32_t page_size) : n_pages_(n_pages), page_size_(page_size) {
  if (n_pages <= 0 || page_size <= 0) {
    throw InvalidArgument("a page pool needs at least one page and one slot a page, got " +
                          std::to_string(n_pages) + " pages of " + std::to_string(page_size));
  }
  if (static_cast<int64_t>(n_pages) * page_size > std::numeric_limits<int32_t>::max()) {
    throw InvalidArgument("a page pool holds at most 2^31 - 1 tokens, got " +
                          std::to_string(n_pages) + " pages of " + std::to_string(page_size));
  }
  free_.reserve(n_pages);
  for (int32_t page = n_pages - 1; page >= 0; --page) free_.push_back(page);
  used_.assign(n_pages, 0);
  open_.assign(n_pages, 0);
  taken_.assign(n_pages, 0);
  in_use_.assign(static_cast<size_t>(n_pages) * page_size, 0);
  is_listed_.assign(n_pages, 0);
}

int32_t PagePool::take_page() {
  if (free_.empty()) return -1;
  const int32_t page = free_.back();
  free_.pop_back();
  taken_[page] = 1;
  return page;
}

int32_t PagePool::take_page_with_holes() {
  while (!holed_.empty()) {
    const int32_t page = holed_.back();
    holed_.pop_back();
    is_listed_[page] = 0;
    // Since it was listed it may have been freed, or filled by another tree.
    if (taken_[page] && !open_[page] && used_[page] < page_size_) return page;
  }
  return -1;
}

int32_t PagePool::free_slot(int32_t page, int32_t from) const {
  const auto begin = in_use_.begin() + static_cast<std::ptrdiff_t>(page) * page_size_;
  const auto found = std::find(begin + from, begin + page_size_, 0);
  if (found == begin + page_size_) return -1;
  return static_cast<int32_t>(found - in_use_.begin());
}

void PagePool::use_slot(int32_t slot) {
  in_use_[slot] = 1;
  ++used_[slot / page_size_];
  ++used_slots_;
}

bool PagePool::drop_slot(int32_t slot) {
  const int32_t page = slot / page_size_;
  if (!in_use_[slot]) throw Error("slot " + std::to_string(slot) + " was freed twice");
  in_use_[slot] = 0;
  --used_[page];
  --used_slots_;
  free_or_list(page);
  return !taken_[page];
}

void PagePool::hold_open(int32_t page) { open_[page] = 1; }

void PagePool::let_go(int32_t page) {
  open_[page] = 0;
  free_or_list(page);
}

void PagePool::free_or_list(int32_t page) {
  if (!taken_[page] || open_[page]) return;
  if (used_[page] == 0) {
    taken_[page] = 0;
    free_.push_back(page);
  } else if (used_[page] < page_size_ && !is_listed_[page]) {
    is_listed_[page] = 1;
    holed_.push_back(page);
  }
}

}  // namespace treeward
