#include "kv/span_tree.h"

#include <algorithm>
#include <atomic>
#include <string>

#include "common/errors.h"

namespace treeward {

namespace {

// Pools number their spans alike: only by the generation is a state of another one told apart.
uint32_t first_generation_of_a_pool() {
  static std::atomic<uint32_t> pools{0};
  return pools.fetch_add(1) * 0x9e3779b1u;  // far apart, so that reuse of spans makes none meet
}

}  // namespace

SpanTree::SpanTree(int32_t n_pages, int32_t page_size)
    : pool_(n_pages, page_size), first_generation_(first_generation_of_a_pool()) {}

// ------------------------------------------------------------------ trees

int32_t SpanTree::open_tree(const std::vector<int32_t>& prompt) {
  if (prompt.empty()) throw InvalidArgument("a prompt needs at least one token");
  int32_t number;
  if (free_trees_.empty()) {
    number = static_cast<int32_t>(trees_.size());
    trees_.emplace_back();
  } else {
    number = free_trees_.back();
    free_trees_.pop_back();
    trees_[number] = Tree();
  }
  const int32_t length = static_cast<int32_t>(prompt.size());
  // The last token always belongs to the tree itself: its row gives the first distribution.
  const int32_t n_blocks = (length - 1) / kBlockTokens;
  int32_t parent = -1;
  std::vector<int32_t> blocks;
  for (int32_t b = 0; b < n_blocks; ++b) {
    const int32_t* tokens = prompt.data() + b * kBlockTokens;
    int32_t block = find_block(parent, tokens);
    if (block < 0) {
      block = new_span(parent, kSharedTree, b * kBlockTokens);
      spans_[block].tokens.assign(tokens, tokens + kBlockTokens);
      spans_[block].block_key = block_key(parent, tokens);
      block_index_.insert(spans_[block].block_key, block);
    }
    ++spans_[block].users;
    blocks.push_back(block);
    parent = block;
  }
  const int32_t own = new_span(parent, number, n_blocks * kBlockTokens);
  spans_[own].tokens.assign(prompt.begin() + n_blocks * kBlockTokens, prompt.end());
  Tree& tree = trees_[number];
  tree.live = true;
  tree.root_span = own;
  tree.prompt_length = length;
  tree.spans.push_back(own);
  tree.blocks = std::move(blocks);
  return number;
}

State SpanTree::root(int32_t tree) const {
  if (tree < 0 || tree >= static_cast<int32_t>(trees_.size()) || !trees_[tree].live) {
    throw StaleHandle("tree " + std::to_string(tree) + " is closed");
  }
  const Tree& t = trees_[tree];
  return State{t.root_span, spans_[t.root_span].generation, t.prompt_length};
}

void SpanTree::close_tree(int32_t number) {
  root(number);  // throws unless it is an open tree, of which the shared blocks are none
  require_no_batch("close a tree");
  Tree& tree = trees_[number];
  // Children before parents: a parent's bookkeeping needs its children gone.
  for (auto it = tree.spans.rbegin(); it != tree.spans.rend(); ++it) {
    Span& span = spans_[*it];
    drop_slots(span, 0);
    span.resident = span.scheduled = 0;
  }
  for (int32_t index : tree.spans) free_span(index);
  if (tree.open_page >= 0) pool_.let_go(tree.open_page);
  for (auto it = tree.blocks.rbegin(); it != tree.blocks.rend(); ++it) {
    Span& block = spans_[*it];
    --block.users;
    block.resident_children = 0;
    for (int32_t child = block.first_child; child >= 0; child = spans_[child].next_sibling) {
      if (spans_[child].resident > 0) ++block.resident_children;
    }
    refresh_evictable(*it);
  }
  // Blocks that nobody holds and that have no keys and values are not worth keeping.
  for (auto it = tree.blocks.rbegin(); it != tree.blocks.rend(); ++it) {
    Span& block = spans_[*it];
    if (block.users == 0 && block.scheduled == 0 && block.first_child < 0) free_span(*it);
  }
  trees_[number].live = false;
  trees_[number].spans.clear();
  trees_[number].blocks.clear();
  free_trees_.push_back(number);
}

const TokenCounts& SpanTree::counts(int32_t tree) const {
  if (tree < 0 || tree >= static_cast<int32_t>(trees_.size()) || !trees_[tree].live) {
    throw StaleHandle("tree " + std::to_string(tree) + " is closed");
  }
  return trees_[tree].counts;
}

SpanTree::Tree& SpanTree::tree_of(int32_t tree) {
  if (tree == kSharedTree) return shared_;
  if (tree < 0 || tree >= static_cast<int32_t>(trees_.size()) || !trees_[tree].live) {
    throw StaleHandle("tree " + std::to_string(tree) + " is closed");
  }
  return trees_[tree];
}

void SpanTree::open_batch() {
  require_no_batch("open a second batch");
  batch_open_ = true;
}

void SpanTree::require_no_batch(const char* what) const {
  if (batch_open_) throw Error(std::string("cannot ") + what + " while a batch is open");
}

// ------------------------------------------------------------------ states

void SpanTree::check(const State& state) const {
  if (state.span < 0 || state.span >= static_cast<int32_t>(spans_.size()) ||
      !spans_[state.span].live || spans_[state.span].generation != state.generation ||
      state.length > spans_[state.span].end()) {
    throw StaleHandle("the state's tree was closed, or it is of another pool");
  }
}

int32_t SpanTree::resolve(const State& state) const {
  check(state);
  int32_t index = state.span;
  while (state.length <= spans_[index].start) index = spans_[index].parent;
  return index;
}

State SpanTree::extend(const State& state, int32_t token, bool* existed) {
  const State found = follow(state, {&token, 1});
  const bool there = found.length > state.length;
  if (existed) *existed = there;
  return there ? found : append(found, {&token, 1});
}

State SpanTree::extend(const State& state, std::span<const int32_t> tokens) {
  const State found = follow(state, tokens);
  const auto there = static_cast<size_t>(found.length - state.length);
  return there == tokens.size() ? found : append(found, tokens.subspan(there));
}

// As far along the tokens as the tree has them.
State SpanTree::follow(const State& state, std::span<const int32_t> tokens) const {
  int32_t index = resolve(state);
  if (tokens.empty()) return state;
  int32_t length = state.length;
  size_t found = 0;
  while (found < tokens.size()) {
    const Span& span = spans_[index];
    if (length == span.end()) {
      const int32_t child = child_index_.find(child_key(index, tokens[found]));
      if (child < 0) break;
      index = child;
      continue;
    }
    const auto rest = span.tokens.begin() + (length - span.start);
    const auto [mine, theirs] =
        std::mismatch(rest, span.tokens.end(), tokens.begin() + found, tokens.end());
    const auto same = static_cast<int32_t>(mine - rest);
    length += same;
    found += same;
    if (theirs != tokens.end() && mine != span.tokens.end()) break;
  }
  return State{index, spans_[index].generation, length};
}

// Adds tokens of which the first is not there yet.
State SpanTree::append(const State& state, std::span<const int32_t> tokens) {
  require_no_batch("extend a state");
  int32_t index = resolve(state);
  if (state.length < spans_[index].end()) {
    split(index, state.length);
    index = spans_[index].parent;  // the head, which ends where the state ends
  }
  const int32_t length = state.length + static_cast<int32_t>(tokens.size());
  const int32_t tree = spans_[index].tree;
  if (tree == kSharedTree) throw Error("a shared prompt block cannot be extended");
  if (spans_[index].first_child >= 0) {
    const int32_t child = new_span(index, tree, state.length);
    child_index_.insert(child_key(index, tokens[0]), child);
    trees_[tree].spans.push_back(child);
    index = child;
  }
  Span& span = spans_[index];
  span.tokens.insert(span.tokens.end(), tokens.begin(), tokens.end());
  return State{index, span.generation, length};
}

void SpanTree::split(int32_t index, int32_t position) {
  const int32_t head = new_span(-1, spans_[index].tree, spans_[index].start);
  Span& tail = spans_[index];
  Span& top = spans_[head];
  const int32_t cut = position - tail.start;

  top.tokens.assign(tail.tokens.begin(), tail.tokens.begin() + cut);
  const int32_t slots = static_cast<int32_t>(tail.slots.size());
  top.slots.assign(tail.slots.begin(), tail.slots.begin() + std::min(cut, slots));
  top.resident = std::min(tail.resident, cut);
  top.scheduled = std::min(tail.scheduled, cut);
  top.ever = std::min(tail.ever, cut);
  top.locks = tail.locks;
  top.tick = tail.tick;
  top.kept = tail.kept < cut ? tail.kept : Span::kAll;

  tail.tokens.erase(tail.tokens.begin(), tail.tokens.begin() + cut);
  tail.slots.erase(tail.slots.begin(), tail.slots.begin() + std::min(cut, slots));
  tail.resident = std::max(tail.resident - cut, 0);
  tail.scheduled = std::max(tail.scheduled - cut, 0);
  tail.ever = std::max(tail.ever - cut, 0);
  if (tail.kept != Span::kAll) tail.kept = std::max(tail.kept - cut, 0);
  tail.start = position;

  const int32_t parent = tail.parent;
  take_place_of(index, head);
  link_child(head, index);
  top.resident_children = tail.resident > 0 ? 1 : 0;
  if (parent >= 0) {
    // A child of a prompt block is a tree's root and is never looked up.
    if (spans_[parent].tree != kSharedTree) {
      child_index_.replace(child_key(parent, top.tokens[0]), index, head);
    }
    if (spans_[parent].resident_children > 0 && top.resident == 0 && tail.resident > 0) {
      throw Error("a resident tail below a head that is not");
    }
  }
  child_index_.insert(child_key(head, tail.tokens[0]), index);
  trees_[top.tree].spans.push_back(head);
  // A tail with keys and values is as evictable as the whole was, and the head above it is not.
  if (tail.resident > 0) return;
  refresh_evictable(index);
  refresh_evictable(head);
}

void SpanTree::discard(const State& state) { discard(state, spans_[resolve(state)].start); }

void SpanTree::discard(const State& state, int32_t kept) {
  if (kept < 0 || kept > state.length) {
    throw InvalidArgument("discard keeps between 0 and " + std::to_string(state.length) +
                          " tokens of this state, got " + std::to_string(kept));
  }
  const auto mark = [this, kept](int32_t index) {
    Span& span = spans_[index];
    span.kept = std::min(span.kept, std::max(kept - span.start, 0));
    refresh_evictable(index);
  };
  const int32_t last = resolve(state);
  for (int32_t index = spans_[last].parent; index >= 0 && spans_[index].end() > kept;
       index = spans_[index].parent) {
    if (spans_[index].tree == kSharedTree) break;
    mark(index);
  }
  std::vector<int32_t> stack = {last};
  while (!stack.empty()) {
    const int32_t index = stack.back();
    stack.pop_back();
    mark(index);
    for (int32_t child = spans_[index].first_child; child >= 0;
         child = spans_[child].next_sibling) {
      stack.push_back(child);
    }
  }
}

std::vector<int32_t> SpanTree::tokens(const State& state) const {
  std::vector<int32_t> out(state.length);
  int32_t upto = state.length;
  for (int32_t index = resolve(state); index >= 0; index = spans_[index].parent) {
    const Span& span = spans_[index];
    std::copy(span.tokens.begin(), span.tokens.begin() + (upto - span.start),
              out.begin() + span.start);
    upto = span.start;
  }
  return out;
}

int32_t SpanTree::resident(const State& state) const {
  int32_t upto = state.length;
  for (int32_t index = resolve(state); index >= 0; index = spans_[index].parent) {
    const Span& span = spans_[index];
    // What is resident below a span is so only where all of the span is.
    if (span.resident > 0) return std::min(upto, span.start + span.resident);
    upto = span.start;
  }
  return 0;
}

// ------------------------------------------------------------------ spans

int32_t SpanTree::new_span(int32_t parent, int32_t tree, int32_t start) {
  int32_t index;
  if (free_spans_.empty()) {
    index = static_cast<int32_t>(spans_.size());
    spans_.emplace_back();
    spans_.back().generation = first_generation_;
  } else {
    index = free_spans_.back();
    free_spans_.pop_back();
  }
  Span& span = spans_[index];
  span.live = true;
  span.tree = tree;
  span.start = start;
  span.tick = ++tick_;
  link_child(parent, index);
  ++live_spans_;
  return index;
}

void SpanTree::link_child(int32_t parent, int32_t index) {
  Span& span = spans_[index];
  span.parent = parent;
  span.previous_sibling = span.next_sibling = -1;
  if (parent < 0) return;
  span.next_sibling = spans_[parent].first_child;
  if (span.next_sibling >= 0) spans_[span.next_sibling].previous_sibling = index;
  spans_[parent].first_child = index;
}

// Puts a new span among the children of a parent where another one is.
void SpanTree::take_place_of(int32_t before, int32_t now) {
  const Span& old = spans_[before];
  Span& span = spans_[now];
  span.parent = old.parent;
  span.next_sibling = old.next_sibling;
  span.previous_sibling = old.previous_sibling;
  if (span.next_sibling >= 0) spans_[span.next_sibling].previous_sibling = now;
  if (span.previous_sibling >= 0) {
    spans_[span.previous_sibling].next_sibling = now;
  } else if (span.parent >= 0) {
    spans_[span.parent].first_child = now;
  }
}

void SpanTree::unlink_child(int32_t index) {
  const Span& span = spans_[index];
  if (span.next_sibling >= 0) {
    spans_[span.next_sibling].previous_sibling = span.previous_sibling;
  }
  if (span.previous_sibling >= 0) {
    spans_[span.previous_sibling].next_sibling = span.next_sibling;
  } else if (span.parent >= 0 && spans_[span.parent].live) {
    spans_[span.parent].first_child = span.next_sibling;
  }
}

void SpanTree::free_span(int32_t index) {
  Span& span = spans_[index];
  evictable_.remove(index);
  if (span.tree == kSharedTree) {
    block_index_.erase(span.block_key, index);
  } else if (span.parent >= 0 && !span.tokens.empty()) {
    child_index_.erase(child_key(span.parent, span.tokens[0]), index);
  }
  unlink_child(index);
  const uint32_t generation = span.generation + 1;
  span = Span();
  span.generation = generation;
  free_spans_.push_back(index);
  --live_spans_;
}

}  // namespace treeward
