#include "sampling/segment_draws.h"

#include <algorithm>
#include <utility>

#include "common/errors.h"
#include "common/random.h"

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
  trees_[number] = Tree();
  spans_.close_tree(number);
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

void SegmentDraws::discard(int32_t tree, int32_t prefix) { spans_.discard(state(tree, prefix)); }

// ------------------------------------------------------------------ walkers

void SegmentDraws::expand(int32_t number, int64_t request, int32_t prefix, DrawMode mode,
                          int32_t count, int32_t first_draw, int32_t max_tokens) {
  Tree& tree = tree_of(number);
  prefix_of(tree, prefix);
  if (count < 1) throw InvalidArgument("an expansion needs a count of at least 1");
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
    walk(number, index);
  }
}

void SegmentDraws::cancel(int32_t number) {
  Tree& tree = tree_of(number);
  for (int32_t prefix : tree.waiting) tree.prefixes[prefix].is_waiting = false;
  for (size_t i = tree.next_of_step; i < tree.this_step.size(); ++i) {
    tree.prefixes[tree.this_step[i]].is_waiting = false;
  }
  for (Prefix& prefix : tree.prefixes) prefix.walkers.clear();
  tree.waiting.clear();
  tree.this_step.clear();
  tree.next_of_step = 0;
  tree.walkers.clear();
  tree.free_walkers.clear();
  std::erase_if(questions_, [&](const EndQuestion& q) { return q.tree == number; });
}

void SegmentDraws::walk(int32_t number, int32_t index) {
  Tree& tree = trees_[number];
  for (;;) {
    Walker& walker = tree.walkers[index];
    Prefix& here = tree.prefixes[walker.prefix];
    if (here.choices < 0) {
      here.walkers.push_back(index);
      if (!here.is_waiting) {
        here.is_waiting = true;
        tree.waiting.push_back(walker.prefix);
      }
      return;
    }
    const int32_t choice = choose(tree, walker);
    if (choice < 0) {
      if (walker.prefix == walker.start) {
        finish(number, index, -1, SegmentEnd::kStop);
        return;
      }
      walker.prefix = walker.start;  // another draw finished the last of this branch meanwhile
      continue;
    }
    walker.prefix = child(tree, walker.prefix, choice, walker.start);
    SegmentEnd end;
    if (ended(tree, walker, &end)) {
      finish(number, index, walker.prefix, end);
      return;
    }
    Prefix& next = tree.prefixes[walker.prefix];
    if (tree.rules.ask_after_token) {
      if (next.ends == 1) {
        finish(number, index, walker.prefix, SegmentEnd::kStop);
        return;
      }
      if (next.ends < 0) {
        EndQuestion question{number, index, {}};
        for (int32_t p = walker.prefix; p != walker.start; p = tree.prefixes[p].parent) {
          question.tokens.push_back(tree.prefixes[p].token);
        }
        std::reverse(question.tokens.begin(), question.tokens.end());
        questions_.push_back(std::move(question));
        return;
      }
    }
  }
}

int32_t SegmentDraws::choose(Tree& tree, Walker& walker) {
  const Prefix& here = tree.prefixes[walker.prefix];
  const Choice* choices = tree.choices.data() + here.choices;
  if (walker.mode == DrawMode::kGreedy) return 0;
  if (walker.mode == DrawMode::kTop) return walker.draw < here.n_choices ? walker.draw : -1;

  // What is left of each choice. Independent draws have everything left.
  const double reach = walker.prefix == walker.start ? 1.0 : here.reach;
  const auto left = [&](int32_t i) -> double {
    if (walker.mode == DrawMode::kSample || choices[i].child < 0) return reach * choices[i].weight;
    const Prefix& below = tree.prefixes[choices[i].child];
    if (below.closed) return 0;
    // An open branch keeps a sliver even where rounding ate what was left of it.
    return std::max(reach * choices[i].weight - below.taken, 1e-12 * reach * choices[i].weight);
  };
  double total = 0;
  for (int32_t i = 0; i < here.n_choices; ++i) total += left(i);
  if (!(total > 0)) return -1;
  const double uniform =
      philox_uniform(tree.prefixes[walker.start].hash, static_cast<uint64_t>(walker.draw),
                     static_cast<uint64_t>(walker.mode) << 32 | walker.choices_made++);
  double mass = uniform * total;
  int32_t last = -1;
  for (int32_t i = 0; i < here.n_choices; ++i) {
    const double part = left(i);
    if (part <= 0) continue;
    last = i;
    if (mass < part) return i;
    mass -= part;
  }
  return last;
}

int32_t SegmentDraws::child(Tree& tree, int32_t prefix, int32_t index, int32_t start) {
  Choice& choice = tree.choices[tree.prefixes[prefix].choices + index];
  if (choice.child >= 0) return choice.child;
  choice.child = static_cast<int32_t>(tree.prefixes.size());
  Prefix next;
  const Prefix& here = tree.prefixes[prefix];
  next.parent = prefix;
  next.token = choice.token;
  next.length = here.length + 1;
  next.hash = mix64(here.hash ^ (static_cast<uint64_t>(static_cast<uint32_t>(choice.token)) + 1));
  next.logprob = choice.logprob;
  next.reach = (prefix == start ? 1.0 : here.reach) * choice.weight;
  next.state = spans_.extend(here.state, choice.token);
  tree.prefixes.push_back(std::move(next));
  return choice.child;
}

bool SegmentDraws::ended(const Tree& tree, const Walker& walker, SegmentEnd* end) const {
  const Prefix& here = tree.prefixes[walker.prefix];
  const SegmentRules& rules = tree.rules;
  if (std::find(rules.eos.begin(), rules.eos.end(), here.token) != rules.eos.end()) {
    *end = SegmentEnd::kEos;
    return true;
  }
  const int32_t length = here.length - tree.prefixes[walker.start].length;
  for (const auto& delimiter : rules.delimiters) {
    int32_t p = walker.prefix;
    size_t matched = 0;
    while (matched < delimiter.size() && p != walker.start &&
           tree.prefixes[p].token == delimiter[delimiter.size() - 1 - matched]) {
      ++matched;
      p = tree.prefixes[p].parent;
    }
    if (matched == delimiter.size()) {
      *end = SegmentEnd::kStop;
      return true;
    }
  }
  const int32_t limit = walker.max_tokens > 0 ? walker.max_tokens : rules.max_step_tokens;
  *end = SegmentEnd::kLength;
  return length >= limit || here.length >= rules.max_path_tokens;
}

void SegmentDraws::finish(int32_t number, int32_t index, int32_t prefix, SegmentEnd end) {
  Tree& tree = trees_[number];
  Walker& walker = tree.walkers[index];
  FinishedSegment segment;
  segment.request = walker.request;
  segment.tree = number;
  segment.draw = walker.draw;
  segment.prefix = prefix;
  segment.end = end;
  if (prefix >= 0) {
    for (int32_t p = prefix; p != walker.start; p = tree.prefixes[p].parent) {
      segment.tokens.push_back(tree.prefixes[p].token);
      segment.logprob += tree.prefixes[p].logprob;
    }
    std::reverse(segment.tokens.begin(), segment.tokens.end());
    if (walker.mode == DrawMode::kDistinct) close_segment(tree, walker);
  }
  finished_.push_back(std::move(segment));
  walker.live = false;
  tree.free_walkers.push_back(index);
}

void SegmentDraws::close_segment(Tree& tree, const Walker& walker) {
  const double mass = tree.prefixes[walker.prefix].reach;
  tree.prefixes[walker.prefix].closed = true;
  bool closed = true;
  for (int32_t p = walker.prefix; p != walker.start; p = tree.prefixes[p].parent) {
    Prefix& prefix = tree.prefixes[p];
    prefix.taken += mass;
    if (p == walker.prefix) continue;
    for (int32_t i = 0; closed && i < prefix.n_choices; ++i) {
      const Choice& choice = tree.choices[prefix.choices + i];
      closed = choice.weight <= 0 || (choice.child >= 0 && tree.prefixes[choice.child].closed);
    }
    prefix.closed = closed;
  }
}

// ------------------------------------------------------------------ steps of the model

bool SegmentDraws::waiting(int32_t number) const {
  const Tree& tree = tree_of(number);
  return !tree.waiting.empty() || tree.next_of_step < tree.this_step.size();
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

SegmentDraws::Collected SegmentDraws::collect(int32_t number, StepBatch& batch, int64_t max_rows,
                                              int64_t batch_rows, std::vector<int32_t>& added) {
  Tree& tree = tree_of(number);
  int64_t rows = 0;
  while (tree.next_of_step < tree.this_step.size()) {
    const int32_t prefix = tree.this_step[tree.next_of_step];
    const State& state = tree.prefixes[prefix].state;
    const int32_t cost = batch.cost(state);
    if (rows + cost > max_rows) return Collected::kRowLimit;
    if (batch.n_states() > 0 && batch.total_cost() + cost > batch_rows) {
      return Collected::kBatchFull;
    }
    if (!batch.add(state)) return Collected::kPoolFull;
    rows += cost;
    added.push_back(prefix);
    ++tree.next_of_step;
  }
  return Collected::kAll;
}

void SegmentDraws::supply(int32_t number, int32_t index, const float* logits, int32_t vocabulary) {
  Tree& tree = tree_of(number);
  row_.clear();
  logits_row(logits, vocabulary, tree.sampling, row_);
  Prefix& prefix = tree.prefixes[index];
  prefix.choices = static_cast<int32_t>(tree.choices.size());
  prefix.n_choices = static_cast<int32_t>(row_.size());
  prefix.is_waiting = false;
  for (const Candidate& candidate : row_) {
    tree.choices.push_back({candidate.token, candidate.logprob, candidate.weight, -1});
  }
  std::vector<int32_t> walkers;
  walkers.swap(prefix.walkers);
  for (int32_t walker : walkers) walk(number, walker);
}

std::vector<FinishedSegment> SegmentDraws::take_finished() { return std::exchange(finished_, {}); }

std::vector<EndQuestion> SegmentDraws::take_questions() { return std::exchange(questions_, {}); }

void SegmentDraws::answer(int32_t number, int32_t index, bool ends) {
  Tree& tree = tree_of(number);
  if (index < 0 || index >= static_cast<int32_t>(tree.walkers.size()) ||
      !tree.walkers[index].live) {
    throw InvalidArgument("no question of walker " + std::to_string(index) + " is open");
  }
  const int32_t prefix = tree.walkers[index].prefix;
  tree.prefixes[prefix].ends = ends ? 1 : 0;
  if (ends) {
    finish(number, index, prefix, SegmentEnd::kStop);
  } else {
    walk(number, index);
  }
}

}  // namespace treeward
