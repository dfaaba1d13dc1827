// The pool of pages that hold keys and values. Only numbers live here: the tensors belong to the
// model runner, and slot s of the pool is row (s / page_size, s % page_size) of each of them.
//
//   page        0             1             2
//          +-------------+-------------+-------------+
//   slot   | 0 1 2 3 ... | 16 17 ...   | 32 33 ...   |      page_size = 16
//          +-------------+-------------+-------------+
//   used        16             7             0            tokens that hold a slot of the page
//
// A page is written to by one tree at a time, which holds it open. Its slots are handed out in
// order, to any span of that tree, so that a branch of three tokens costs three slots and not a
// page. A page returns to the free list when its last token goes; one that lost only some of its
// tokens has holes, which a full pool hands out again, to whichever tree asks, before it evicts.
#pragma once

#include <cstdint>
#include <vector>

namespace treeward {

class PagePool {
 public:
  /// Throws InvalidArgument unless both numbers are positive and their product fits 31 bits.
  PagePool(int32_t n_pages, int32_t page_size);

  int32_t n_pages() const { return n_pages_; }
  int32_t page_size() const { return page_size_; }
  int32_t free_pages() const { return static_cast<int32_t>(free_.size()); }
  /// Tokens that hold a slot now.
  int64_t used_slots() const { return used_slots_; }

  int32_t used_in(int32_t page) const { return used_[page]; }

  /// Takes a free page; -1 when there is none.
  int32_t take_page();
  /// Takes a page that has both tokens and holes and is not held open; -1 when there is none.
  int32_t take_page_with_holes();
  /// The first free slot of a page that is not before `from` within it; -1 when there is none.
  int32_t free_slot(int32_t page, int32_t from) const;
  /// Gives a free slot of a taken page to a token.
  void use_slot(int32_t slot);
  /// Takes a token out of its slot; frees the page when it was the last one and the page is not
  /// held open for writing. Returns true when the page was freed.
  bool drop_slot(int32_t slot);
  /// A page that a tree still writes to stays taken even when empty.
  void hold_open(int32_t page);
  void let_go(int32_t page);

 private:
  void free_or_list(int32_t page);

  int32_t n_pages_;
  int32_t page_size_;
  int64_t used_slots_ = 0;
  std::vector<int32_t> free_;
  std::vector<int32_t> used_;  // tokens in the page
  std::vector<uint8_t> open_;  // held open by a tree's writer
  std::vector<uint8_t> taken_;
  std::vector<uint8_t> in_use_;     // [slots] whether a token holds it
  std::vector<int32_t> holed_;      // pages that had holes when they were listed, each once
  std::vector<uint8_t> is_listed_;  // in holed_
};

}  // namespace treeward
