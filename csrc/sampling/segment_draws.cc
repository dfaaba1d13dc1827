#include "sampling/segment_draws.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "common/errors.h"
#include "common/random.h"
#include "common/thread_pool.h"

namespace treeward {

// ------------------------------------------------------------------ trees

int32_t SegmentDraws::open(const std::vector<int32_t>& prompt, uint64_t seed, SegmentRules rules,
                           SamplingOptions sampling) {
  if (rules.max_step_tokens < 1) throw InvalidArgument("max_step_tokens must be at least 1");
  if (static_cast<int32_t>(prompt.size()) >= rules.max_path_tokens) {
    throw InvalidArgument("the prompt has " + std::to_string(prompt.size()) +
                          " tokens, which leaves no room for an answer within " +
                          std::to_string(rules.max_path_tokens));
  }
  for (const auto& delimiter : rules.delimiters) {
    if (delimiter.empty()) throw InvalidArgument("a delimiter needs at least one token");
  }
  for (const std::string& text : rules.texts) {
    if (text.empty()) throw InvalidArgument("a text that closes a step is empty");
  }
  if (!rules.texts.empty() && token_texts_.empty()) {
    throw InvalidArgument("texts close steps, but the texts of tokens are not known");
  }
  check_sampling_options(sampling);
  const int32_t number = spans_.open_tree(prompt);
  if (number >= static_cast<int32_t>(trees_.size())) trees_.resize(number + 1);
  Tree& tree = trees_[number];
  tree = Tree();
  tree.live = true;
  tree.seed = seed;
  tree.rules = std::move(rules);
  tree.sampling = sampling;
  Prefix root;
  root.length = static_cast<int32_t>(prompt.size());
  root.state = spans_.root(number);
  root.hash = mix64(seed);
  tree.prefixes.push_back(std::move(root));
  return number;
}

void SegmentDraws::close(int32_t number) {
  tree_of(number);
  spans_.close_tree(number);
  trees_[number] = Tree();
  forget_outputs(number, true);  // the number may come back as another tree
}

SegmentDraws::Tree& SegmentDraws::tree_of(int32_t tree) {
  return const_cast<Tree&>(std::as_const(*this).tree_of(tree));
}

const SegmentDraws::Tree& SegmentDraws::tree_of(int32_t tree) const {
  if (tree < 0 || tree >= static_cast<int32_t>(trees_.size()) || !trees_[tree].live) {
    throw StaleHandle("tree " + std::to_string(tree) + " is closed");
  }
  return trees_[tree];
}

const SegmentDraws::Prefix& SegmentDraws::prefix_of(const Tree& tree, int32_t prefix) const {
  if (prefix < 0 || prefix >= static_cast<int32_t>(tree.prefixes.size())) {
    throw InvalidArgument("no prefix " + std::to_string(prefix) + " in this tree");
  }
  return tree.prefixes[prefix];
}

State SegmentDraws::state(int32_t tree, int32_t prefix) const {
  return prefix_of(tree_of(tree), prefix).state;
}

std::vector<int32_t> SegmentDraws::tokens(int32_t tree, int32_t prefix) const {
  return spans_.tokens(state(tree, prefix));
}

void SegmentDraws::discard(int32_t number, int32_t index) {
  const Tree& tree = tree_of(number);
  const State& state = prefix_of(tree, index).state;
  int32_t top = index;
  while (tree.prefixes[top].parent >= 0) {
    top = tree.prefixes[top].parent;
    const Prefix& above = tree.prefixes[top];
    const bool forks = tree.prefixes[above.first_child].next_sibling >= 0;
    if (above.node || forks) break;
  }
  // The prompt itself is never given up.
  spans_.discard(state, tree.prefixes[top].length);
}

// ------------------------------------------------------------------ expansions

void SegmentDraws::expand(int32_t number, int64_t request, int32_t prefix, DrawMode mode,
                          int32_t count, int32_t first_draw, int32_t max_tokens) {
  Tree& tree = tree_of(number);
  prefix_of(tree, prefix);
  if (count < 1) throw InvalidArgument("an expansion needs a count of at least 1");
  tree.prefixes[prefix].node = true;
  for (int32_t i = 0; i < count; ++i) {
    int32_t index;
    if (tree.free_walkers.empty()) {
      index = static_cast<int32_t>(tree.walkers.size());
      tree.walkers.emplace_back();
    } else {
      index = tree.free_walkers.back();
      tree.free_walkers.pop_back();
    }
    Walker& walker = tree.walkers[index];
    walker = Walker();
    walker.request = request;
    walker.mode = mode;
    walker.draw = first_draw + i;
    walker.start = walker.prefix = prefix;
    walker.max_tokens = mode == DrawMode::kTop ? 1 : max_tokens;
    walker.live = true;
    if (mode == DrawMode::kDistinct) tree.lines[prefix].push_back(index);
    if (tree.prefixes[prefix].length >= tree.rules.max_path_tokens) {
      settle(number, index, -1, SegmentEnd::kLength);
    } else {
      walk(number, index);
    }
  }
}

void SegmentDraws::cancel(int32_t number) {
  Tree& tree = tree_of(number);
  for (Prefix& prefix : tree.prefixes) {
    prefix.walkers.clear();
    prefix.is_waiting = false;
  }
  tree.waiting.clear();
  tree.this_step.clear();
  tree.next_of_step = 0;
  for (const int32_t index : std::exchange(tree.supplied, {})) {
    keep_row(tree, tree.prefixes[index].next);
  }
  tree.walkers.clear();
  tree.free_walkers.clear();
  tree.lines.clear();
  forget_outputs(number, false);
}

void SegmentDraws::forget_outputs(int32_t number, bool finished_too) {
  std::erase_if(questions_, [&](const EndQuestion& q) { return q.tree == number; });
  if (!finished_too) return;
  std::erase_if(finished_, [&](const FinishedSegment& f) { return f.tree == number; });
}

// ------------------------------------------------------------------ steps of the model

bool SegmentDraws::waiting(int32_t number) const {
  const Tree& tree = tree_of(number);
  return !tree.waiting.empty() || tree.next_of_step < tree.this_step.size();
}

int64_t SegmentDraws::wasted(int32_t number) const {
  const Tree& tree = tree_of(number);
  int64_t count = 0;
  for (size_t p = 1; p < tree.prefixes.size(); ++p) {
    count += tree.prefixes[p].next >= 0 && !tree.prefixes[p].used;
  }
  return count;
}

int32_t SegmentDraws::next_length(int32_t number) const {
  const Tree& tree = tree_of(number);
  if (tree.next_of_step >= tree.this_step.size()) return 0;
  return tree.prefixes[tree.this_step[tree.next_of_step]].length;
}

void SegmentDraws::begin_step(int32_t number) {
  Tree& tree = tree_of(number);
  tree.this_step.erase(tree.this_step.begin(), tree.this_step.begin() + tree.next_of_step);
  tree.this_step.insert(tree.this_step.end(), tree.waiting.begin(), tree.waiting.end());
  tree.next_of_step = 0;
  tree.waiting.clear();
}

SegmentDraws::Collected SegmentDraws::collect(int32_t number, StepBatch& batch, int64_t& limit,
                                              int64_t batch_rows, std::vector<int32_t>& added) {
  Tree& tree = tree_of(number);
  while (tree.next_of_step < tree.this_step.size()) {
    const int32_t prefix = tree.this_step[tree.next_of_step];
    if (!tree.prefixes[prefix].is_waiting) {  // its row came after a cancelled step
      ++tree.next_of_step;
      continue;
    }
    const State& state = tree.prefixes[prefix].state;
    // What comes before its last token was computed for the prefix before it, the prompt apart. A
    // row that was let go was charged the first time.
    const int64_t first_charge = prefix == 0 ? state.length : 1;
    const int64_t charge = tree.prefixes[prefix].next >= 0 ? 0 : first_charge;
    if (charge > limit) return Collected::kRowLimit;
    if (batch.n_states() > 0 && batch.total_cost() + batch.cost(state) > batch_rows) {
      return Collected::kBatchFull;
    }
    if (!batch.add(state)) return Collected::kPoolFull;
    limit -= charge;
    added.push_back(prefix);
    ++tree.next_of_step;
  }
  return Collected::kAll;
}

std::vector<SegmentDraws::Refused> SegmentDraws::supply(std::span<const Supplied> prefixes,
                                                        const float* logits, int64_t row_stride,
                                                        int32_t vocabulary) {
  for (const Supplied& each : prefixes) prefix_of(tree_of(each.tree), each.prefix);
  std::vector<NextTokens> rows(prefixes.size());
  std::vector<std::string> reasons(prefixes.size());
  const auto n_rows = static_cast<int64_t>(prefixes.size());
  thread_pool().parallel_for(n_rows, threads_for_rows(n_rows, vocabulary), [&](int64_t i, int) {
    const Tree& tree = trees_[prefixes[i].tree];
    if (!wants_row(tree, prefixes[i].prefix)) return;
    try {
      rows[i] = NextTokens(logits + i * row_stride, vocabulary, tree.sampling);
    } catch (const NotFinite& error) {
      reasons[i] = error.what();
    }
  });
  std::vector<Refused> refused;
  for (size_t i = 0; i < prefixes.size(); ++i) {
    const auto [number, prefix] = prefixes[i];
    if (!wants_row(trees_[number], prefix)) continue;
    try {
      if (!reasons[i].empty()) throw NotFinite(reasons[i]);
      take_distribution(trees_[number], prefix, std::move(rows[i]));
    } catch (const NotFinite& error) {
      refused.push_back({number, error.what()});
    }
  }
  return refused;
}

void SegmentDraws::supply(int32_t number, int32_t index, const float* logits, int32_t vocabulary) {
  Tree& tree = tree_of(number);
  prefix_of(tree, index);
  if (!wants_row(tree, index)) return;
  take_distribution(tree, index, NextTokens(logits, vocabulary, tree.sampling));
}

void SegmentDraws::take_distribution(Tree& tree, int32_t index, NextTokens&& next) {
  Prefix& prefix = tree.prefixes[index];
  if (prefix.next >= 0) {
    tree.distributions[prefix.next].renew(std::move(next));
  } else {
    prefix.next = static_cast<int32_t>(tree.distributions.size());
    prefix.n_open = next.n_drawn();
    tree.distributions.push_back(std::move(next));
  }
  prefix.is_waiting = false;
  tree.supplied.push_back(index);
}

void SegmentDraws::end_step(int32_t number) {
  Tree& tree = tree_of(number);
  for (const int32_t index : std::exchange(tree.supplied, {})) {
    std::vector<int32_t> walkers;
    walkers.swap(tree.prefixes[index].walkers);
    for (int32_t walker : walkers) {
      if (tree.walkers[walker].waits_at != index) continue;  // walks again already
      tree.walkers[walker].waits_at = -1;
      walk(number, walker);
    }
    keep_row(tree, tree.prefixes[index].next);
  }
}

bool SegmentDraws::wants_row(const Tree& tree, int32_t prefix) {
  return tree.prefixes[prefix].next < 0 || tree.prefixes[prefix].is_waiting;
}

void SegmentDraws::keep_row(Tree& tree, int32_t distribution) {
  const int64_t bytes = tree.distributions[distribution].row_bytes();
  if (bytes == 0) return;
  tree.rows.push_back(distribution);
  while (tree.rows.size() > 1 && static_cast<int64_t>(tree.rows.size()) * bytes > row_bytes_) {
    tree.distributions[tree.rows.front()].let_row_go();
    tree.rows.pop_front();
  }
}

std::vector<FinishedSegment> SegmentDraws::take_finished() { return std::exchange(finished_, {}); }

std::vector<EndQuestion> SegmentDraws::take_questions() { return std::exchange(questions_, {}); }

void SegmentDraws::answer(int32_t number, int32_t index, bool ends) {
  Tree& tree = tree_of(number);
  if (index < 0 || index >= static_cast<int32_t>(tree.walkers.size()) ||
      !tree.walkers[index].asked) {
    throw InvalidArgument("no question of walker " + std::to_string(index) + " is open");
  }
  Walker& walker = tree.walkers[index];
  walker.asked = false;
  tree.prefixes[walker.prefix].ends = ends ? 1 : 0;
  if (walker.again) {
    restart(number, index);
  } else if (ends) {
    settle(number, index, walker.prefix, SegmentEnd::kStop);
  } else if (cut(tree, walker)) {
    settle(number, index, walker.prefix, SegmentEnd::kLength);
  } else {
    walk(number, index);
  }
}

}  // namespace treeward
