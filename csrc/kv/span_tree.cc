#include "kv/span_tree.h"

#include <algorithm>
#include <string>

#include "common/errors.h"
#include "common/random.h"

namespace treeward {

namespace {

uint64_t child_key(int32_t parent, int32_t token) {
  return (static_cast<uint64_t>(static_cast<uint32_t>(parent)) << 32) |
         static_cast<uint32_t>(token);
}

}  // namespace

SpanTree::SpanTree(int32_t n_pages, int32_t page_size) : pool_(n_pages, page_size) {}

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
      block_index_.emplace(spans_[block].block_key, block);
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
    for (int32_t child : block.children) {
      if (spans_[child].resident > 0) ++block.resident_children;
    }
    refresh_evictable(*it);
  }
  // Blocks that nobody holds and that have no keys and values are not worth keeping.
  for (auto it = tree.blocks.rbegin(); it != tree.blocks.rend(); ++it) {
    Span& block = spans_[*it];
    if (block.users == 0 && block.scheduled == 0 && block.children.empty()) free_span(*it);
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
      !spans_[state.span].live || spans_[state.span].generation != state.generation) {
    throw StaleHandle("the state's tree was closed");
  }
}

int32_t SpanTree::resolve(const State& state) const {
  check(state);
  int32_t index = state.span;
  while (state.length <= spans_[index].start) index = spans_[index].parent;
  return index;
}

State SpanTree::extend(const State& state, int32_t token, bool* existed) {
  int32_t index = resolve(state);
  if (existed) *existed = true;
  if (state.length < spans_[index].end()) {
    const int32_t next = spans_[index].tokens[state.length - spans_[index].start];
    if (next == token) return State{index, spans_[index].generation, state.length + 1};
    require_no_batch("extend a state");
    split(index, state.length);
    index = spans_[index].parent;  // the head, which ends where the state ends
  } else {
    const auto found = child_index_.find(child_key(index, token));
    if (found != child_index_.end()) {
      return State{found->second, spans_[found->second].generation, state.length + 1};
    }
  }
  if (existed) *existed = false;
  Span& span = spans_[index];
  require_no_batch("extend a state");
  if (span.tree == kSharedTree) throw Error("a shared prompt block cannot be extended");
  if (span.children.empty()) {
    span.tokens.push_back(token);
    return State{index, span.generation, state.length + 1};
  }
  const int32_t tree = span.tree;
  const int32_t child = new_span(index, tree, state.length);
  spans_[child].tokens.push_back(token);
  child_index_.emplace(child_key(index, token), child);
  trees_[tree].spans.push_back(child);
  return State{child, spans_[child].generation, state.length + 1};
}

void SpanTree::split(int32_t index, int32_t position) {
  const int32_t head = new_span(-1, spans_[index].tree, spans_[index].start);
  Span& tail = spans_[index];
  Span& top = spans_[head];
  const int32_t cut = position - tail.start;

  top.parent = tail.parent;
  top.tokens.assign(tail.tokens.begin(), tail.tokens.begin() + cut);
  const int32_t slots = static_cast<int32_t>(tail.slots.size());
  top.slots.assign(tail.slots.begin(), tail.slots.begin() + std::min(cut, slots));
  top.resident = std::min(tail.resident, cut);
  top.scheduled = std::min(tail.scheduled, cut);
  top.ever = std::min(tail.ever, cut);
  top.locks = tail.locks;
  top.tick = tail.tick;
  top.discarded = tail.discarded;

  tail.tokens.erase(tail.tokens.begin(), tail.tokens.begin() + cut);
  tail.slots.erase(tail.slots.begin(), tail.slots.begin() + std::min(cut, slots));
  tail.resident = std::max(tail.resident - cut, 0);
  tail.scheduled = std::max(tail.scheduled - cut, 0);
  tail.ever = std::max(tail.ever - cut, 0);
  tail.start = position;
  tail.parent = head;

  top.children.push_back(index);
  top.resident_children = tail.resident > 0 ? 1 : 0;
  const int32_t parent = top.parent;
  if (parent >= 0) {
    auto& siblings = spans_[parent].children;
    *std::find(siblings.begin(), siblings.end(), index) = head;
    // A child of a prompt block is a tree's root and is never looked up.
    if (spans_[parent].tree != kSharedTree) child_index_[child_key(parent, top.tokens[0])] = head;
    if (spans_[parent].resident_children > 0 && top.resident == 0 && tail.resident > 0) {
      throw Error("a resident tail below a head that is not");
    }
  }
  child_index_.emplace(child_key(head, tail.tokens[0]), index);
  trees_[top.tree].spans.push_back(head);
  refresh_evictable(index);
  refresh_evictable(head);
}

void SpanTree::discard(const State& state) {
  int32_t top = resolve(state);
  std::vector<int32_t> stack = {top};
  while (!stack.empty()) {
    const int32_t index = stack.back();
    stack.pop_back();
    spans_[index].discarded = true;
    refresh_evictable(index);
    stack.insert(stack.end(), spans_[index].children.begin(), spans_[index].children.end());
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

// ------------------------------------------------------------------ prompt blocks

uint64_t SpanTree::block_key(int32_t parent, const int32_t* tokens) const {
  uint64_t hash = mix64(version_ ^ child_key(parent, 0));
  for (int32_t i = 0; i < kBlockTokens; ++i) hash = mix64(hash ^ static_cast<uint32_t>(tokens[i]));
  return hash;
}

int32_t SpanTree::find_block(int32_t parent, const int32_t* tokens) const {
  const uint64_t key = block_key(parent, tokens);
  const auto range = block_index_.equal_range(key);
  for (auto it = range.first; it != range.second; ++it) {
    const Span& span = spans_[it->second];
    // The hash only finds the candidate; the tokens decide.
    if (span.parent == parent && std::equal(span.tokens.begin(), span.tokens.end(), tokens)) {
      return it->second;
    }
  }
  return -1;
}

int32_t SpanTree::match(const std::vector<int32_t>& prompt) const {
  int32_t parent = -1;
  int32_t matched = 0;
  while (matched + kBlockTokens <= static_cast<int32_t>(prompt.size())) {
    const int32_t block = find_block(parent, prompt.data() + matched);
    if (block < 0) break;
    parent = block;
    matched += kBlockTokens;
  }
  return matched;
}

// ------------------------------------------------------------------ spans

int32_t SpanTree::new_span(int32_t parent, int32_t tree, int32_t start) {
  int32_t index;
  if (free_spans_.empty()) {
    index = static_cast<int32_t>(spans_.size());
    spans_.emplace_back();
  } else {
    index = free_spans_.back();
    free_spans_.pop_back();
  }
  Span& span = spans_[index];
  const uint32_t generation = span.generation;
  span = Span();
  span.generation = generation;
  span.live = true;
  span.parent = parent;
  span.tree = tree;
  span.start = start;
  span.tick = ++tick_;
  if (parent >= 0) spans_[parent].children.push_back(index);
  ++live_spans_;
  return index;
}

void SpanTree::free_span(int32_t index) {
  Span& span = spans_[index];
  if (span.in_evictable) {
    evictable_.erase({span.discarded ? 0 : 1, span.tick, index});
    span.in_evictable = false;
  }
  if (span.tree == kSharedTree) {
    const auto range = block_index_.equal_range(span.block_key);
    for (auto it = range.first; it != range.second; ++it) {
      if (it->second == index) {
        block_index_.erase(it);
        break;
      }
    }
  } else if (span.parent >= 0 && !span.tokens.empty()) {
    const auto found = child_index_.find(child_key(span.parent, span.tokens[0]));
    if (found != child_index_.end() && found->second == index) child_index_.erase(found);
  }
  if (span.parent >= 0 && spans_[span.parent].live) {
    auto& siblings = spans_[span.parent].children;
    const auto me = std::find(siblings.begin(), siblings.end(), index);
    if (me != siblings.end()) siblings.erase(me);
  }
  span.live = false;
  ++span.generation;
  span.tokens.clear();
  span.slots.clear();
  span.children.clear();
  free_spans_.push_back(index);
  --live_spans_;
}

}  // namespace treeward
