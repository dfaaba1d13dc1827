// Slots of spans: giving them out, and taking them back from the leaves inward when the pool is
// full. The set of evictable spans is kept up to date as residency and locks change, so making
// room never walks the tree.
#include <algorithm>
#include <string>

#include "common/errors.h"
#include "kv/span_tree.h"

namespace treeward {

int32_t SpanTree::take_slot(int32_t number) {
  Tree& tree = tree_of(number);
  // A page whose tokens were all taken back or evicted is written from its start again.
  if (tree.open_page >= 0 && pool_.used_in(tree.open_page) == 0) tree.open_used = 0;
  if (tree.open_page < 0 && !open_a_page(tree)) return -1;
  const int32_t page = tree.open_page;
  const int32_t slot = pool_.free_slot(page, tree.open_used);
  pool_.use_slot(slot);
  tree.open_used = slot - page * pool_.page_size() + 1;
  if (pool_.free_slot(page, tree.open_used) < 0) {  // from now on held by its tokens alone
    tree.open_page = -1;
    pool_.let_go(page);
  }
  return slot;
}

// A fresh page while there is one, then the holes that evicted tokens left, then eviction.
bool SpanTree::open_a_page(Tree& tree) {
  for (;;) {
    int32_t page = pool_.take_page();
    if (page < 0) page = pool_.take_page_with_holes();
    if (page >= 0) {
      tree.open_page = page;
      tree.open_used = 0;
      pool_.hold_open(page);
      return true;
    }
    if (!evict_one() && !close_idle_page()) return false;
  }
}

// Takes a page back from a tree that holds it for writing and has nothing in it.
bool SpanTree::close_idle_page() {
  const auto close = [this](Tree& tree) {
    if (tree.open_page < 0 || pool_.used_in(tree.open_page) > 0) return false;
    pool_.let_go(tree.open_page);
    tree.open_page = -1;
    return true;
  };
  for (Tree& tree : trees_) {
    if (tree.live && close(tree)) return true;
  }
  return close(shared_);
}

bool SpanTree::schedule(int32_t index, int32_t upto) {
  const int32_t before = spans_[index].scheduled;
  while (spans_[index].scheduled < upto) {
    const int32_t slot = take_slot(spans_[index].tree);
    Span& span = spans_[index];
    if (slot < 0) {
      drop_slots(span, before);
      span.scheduled = before;
      return false;
    }
    span.slots.push_back(slot);
    ++span.scheduled;
  }
  return true;
}

void SpanTree::truncate_schedule(int32_t index, int32_t upto) {
  Span& span = spans_[index];
  drop_slots(span, upto);
  span.scheduled = upto;
}

void SpanTree::drop_slots(Span& span, int32_t from) {
  for (int32_t i = static_cast<int32_t>(span.slots.size()) - 1; i >= from; --i) {
    pool_.drop_slot(span.slots[i]);
    span.slots.pop_back();
  }
}

void SpanTree::make_resident(int32_t index, int32_t upto) {
  Span& span = spans_[index];
  const bool was = span.resident > 0;
  // Computed anew: the search wants these tokens again.
  if (upto > span.resident && upto > span.kept) span.kept = Span::kAll;
  span.resident = std::max(span.resident, upto);
  span.ever = std::max(span.ever, span.resident);
  if (!was && span.resident > 0 && span.parent >= 0) {
    ++spans_[span.parent].resident_children;
    refresh_evictable(span.parent);
  }
  refresh_evictable(index);
}

void SpanTree::lock(int32_t index) {
  ++spans_[index].locks;
  refresh_evictable(index);
}

void SpanTree::unlock(int32_t index) {
  Span& span = spans_[index];
  if (span.locks <= 0) throw Error("a span was unlocked more often than locked");
  --span.locks;
  // Re-entered with its new tick, so that the order of eviction follows use.
  if (evictable_.contains(index)) throw Error("a locked span was evictable");
  span.tick = ++tick_;
  refresh_evictable(index);
}

bool SpanTree::evictable(const Span& span) const {
  return span.live && span.resident > 0 && span.locks == 0 && span.resident_children == 0 &&
         span.scheduled == span.resident;
}

void SpanTree::refresh_evictable(int32_t index) {
  const Span& span = spans_[index];
  if (evictable(span)) {
    evictable_.put(index, span.holds_discarded(), span.tick);
  } else {
    evictable_.remove(index);
  }
}

bool SpanTree::evict_one() {
  if (evictable_.empty()) return false;
  evict(evictable_.first());
  return true;
}

void SpanTree::evict_all() {
  while (evict_one()) {
  }
  for (Tree& tree : trees_) {
    if (!tree.live || tree.open_page < 0) continue;
    pool_.let_go(tree.open_page);
    tree.open_page = -1;
  }
  if (shared_.open_page >= 0) {
    pool_.let_go(shared_.open_page);
    shared_.open_page = -1;
  }
}

void SpanTree::evict(int32_t index) {
  Span& span = spans_[index];
  // Only the discarded part goes where there is one; the rest then waits for its turn.
  const int32_t left = span.holds_discarded() ? span.kept : 0;
  drop_slots(span, left);
  span.resident = span.scheduled = left;
  ++evictions_;
  refresh_evictable(index);
  if (left > 0) return;
  const int32_t parent = span.parent;
  if (parent >= 0) {
    --spans_[parent].resident_children;
    refresh_evictable(parent);
  }
  // A prompt block that no tree holds has nothing left to offer.
  if (span.tree == kSharedTree && span.users == 0 && span.first_child < 0) free_span(index);
}

void SpanTree::check_invariants() const {
  const auto fail = [](int32_t index, const char* what) {
    throw Error("span " + std::to_string(index) + ": " + what);
  };
  std::vector<int32_t> used(pool_.n_pages(), 0);
  std::vector<uint8_t> seen(static_cast<size_t>(pool_.n_pages()) * pool_.page_size(), 0);
  int64_t slots = 0;
  for (int32_t i = 0; i < static_cast<int32_t>(spans_.size()); ++i) {
    const Span& span = spans_[i];
    if (!span.live) continue;
    const int32_t n = static_cast<int32_t>(span.tokens.size());
    if (n == 0) fail(i, "no tokens");
    if (!(0 <= span.resident && span.resident <= span.scheduled && span.scheduled <= n)) {
      fail(i, "resident <= scheduled <= tokens does not hold");
    }
    if (static_cast<int32_t>(span.slots.size()) != span.scheduled) fail(i, "slots != scheduled");
    if (span.parent >= 0) {
      const Span& parent = spans_[span.parent];
      if (!parent.live) fail(i, "its parent is free");
      if (parent.end() != span.start) fail(i, "does not start where its parent ends");
      if (span.resident > 0 && parent.resident != static_cast<int32_t>(parent.tokens.size())) {
        fail(i, "resident below a parent that is not");
      }
    }
    int32_t resident_children = 0;
    int32_t before = -1;
    for (int32_t c = span.first_child; c >= 0; c = spans_[c].next_sibling) {
      if (!spans_[c].live || spans_[c].parent != i) fail(i, "a child names another parent");
      if (spans_[c].previous_sibling != before) fail(i, "the list of its children is broken");
      resident_children += spans_[c].resident > 0;
      before = c;
    }
    if (resident_children != span.resident_children) fail(i, "resident children miscounted");
    for (int32_t slot : span.slots) {
      if (seen[slot]++) fail(i, "two tokens in one slot");
      ++used[slot / pool_.page_size()];
      ++slots;
    }
    if (evictable(span) != evictable_.contains(i)) fail(i, "evictable set out of date");
  }
  if (slots != pool_.used_slots()) throw Error("the pool counts other slots than the spans hold");
}

}  // namespace treeward
