#include "kv/page_pool.h"

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
}

int32_t PagePool::take_page() {
  if (free_.empty()) return -1;
  const int32_t page = free_.back();
  free_.pop_back();
  taken_[page] = 1;
  return page;
}

void PagePool::use_slot(int32_t slot) {
  ++used_[slot / page_size_];
  ++used_slots_;
}

bool PagePool::drop_slot(int32_t slot) {
  const int32_t page = slot / page_size_;
  if (used_[page] <= 0) throw Error("slot " + std::to_string(slot) + " was freed twice");
  --used_[page];
  --used_slots_;
  free_page_if_idle(page);
  return !taken_[page];
}

void PagePool::hold_open(int32_t page) { open_[page] = 1; }

void PagePool::let_go(int32_t page) {
  open_[page] = 0;
  free_page_if_idle(page);
}

void PagePool::free_page_if_idle(int32_t page) {
  if (taken_[page] && !open_[page] && used_[page] == 0) {
    taken_[page] = 0;
    free_.push_back(page);
  }
}

}  // namespace treeward
