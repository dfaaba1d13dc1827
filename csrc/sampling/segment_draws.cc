#include "sampling/segment_draws.h"

#include <algorithm>
#include <cstddef>
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
  for (const auto& delimiter : rules.delimiters) {
    if (delimiter.empty()) throw InvalidArgument("a delimiter needs at least one token");
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

void SegmentDraws::walk(int32_t number, int32_t index) {
  Tree& tree = trees_[number];
  for (;;) {
    Walker& walker = tree.walkers[index];
    Prefix& here = tree.prefixes[walker.prefix];
    if (here.choices < 0) {
      walker.waits_at = walker.prefix;
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
        settle(number, index, -1, SegmentEnd::kStop);
        return;
      }
      // Draws from a prefix in between have used up this branch.
      close_branch(tree, walker.prefix, walker.start);
      walker.prefix = walker.start;
      continue;
    }
    walker.prefix = child(tree, walker.prefix, choice);
    SegmentEnd end;
    if (closes(tree, walker, &end)) {
      settle(number, index, walker.prefix, end);
      return;
    }
    if (tree.rules.ask_after_token) {
      const int8_t ends = tree.prefixes[walker.prefix].ends;
      if (ends == 1) {
        settle(number, index, walker.prefix, SegmentEnd::kStop);
        return;
      }
      if (ends < 0) {
        walker.asked = true;
        EndQuestion question{number, index, {}};
        for (int32_t p = walker.prefix; p != walker.start; p = tree.prefixes[p].parent) {
          question.tokens.push_back(tree.prefixes[p].token);
        }
        std::reverse(question.tokens.begin(), question.tokens.end());
        questions_.push_back(std::move(question));
        return;
      }
    }
    if (cut(tree, walker)) {
      settle(number, index, walker.prefix, SegmentEnd::kLength);
      return;
    }
  }
}

double SegmentDraws::left_below(const Tree& tree, const Choice& choice) const {
  if (choice.child < 0) return 1;
  const Prefix& below = tree.prefixes[choice.child];
  // An open branch keeps a sliver even where rounding ate what was left of it.
  return below.closed ? 0 : std::max(below.left, 1e-12);
}

int32_t SegmentDraws::choose(Tree& tree, Walker& walker) {
  const Prefix& here = tree.prefixes[walker.prefix];
  const Choice* choices = tree.choices.data() + here.choices;
  if (walker.mode == DrawMode::kGreedy) return 0;
  if (walker.mode == DrawMode::kTop) return walker.draw < here.n_choices ? walker.draw : -1;

  // What is left of each choice. Independent draws have everything left.
  const bool distinct = walker.mode == DrawMode::kDistinct;
  if (distinct && here.n_open == 0) return -1;
  const auto part = [&](int32_t i) -> double {
    return choices[i].weight * (distinct ? left_below(tree, choices[i]) : 1.0);
  };
  double total = here.mass;
  if (distinct) {
    for (int32_t c = here.first_child; c >= 0; c = tree.prefixes[c].next_sibling) {
      const Prefix& below = tree.prefixes[c];
      total -= below.weight * (below.closed ? 1.0 : 1.0 - std::max(below.left, 1e-12));
    }
    if (total < 1e-6) {  // few digits of the difference are left
      total = 0;
      for (int32_t i = 0; i < here.n_choices; ++i) total += part(i);
    }
  }
  const double uniform =
      philox_uniform(tree.prefixes[walker.start].hash, static_cast<uint64_t>(walker.draw),
                     static_cast<uint64_t>(walker.mode) << 32 | walker.choices_made++);
  double mass = uniform * total;
  int32_t last = -1;
  for (int32_t i = 0; i < here.n_choices; ++i) {
    const double here_left = part(i);
    if (here_left <= 0) continue;
    last = i;
    if (mass < here_left) return i;
    mass -= here_left;
  }
  return last;
}

int32_t SegmentDraws::child(Tree& tree, int32_t prefix, int32_t index) {
  const int32_t place = tree.prefixes[prefix].choices + index;
  const Choice choice = tree.choices[place];
  if (choice.child >= 0) return choice.child;
  const int32_t number = static_cast<int32_t>(tree.prefixes.size());
  Prefix next;
  const Prefix& here = tree.prefixes[prefix];
  next.parent = prefix;
  next.token = choice.token;
  next.length = here.length + 1;
  next.hash = mix64(here.hash ^ (static_cast<uint64_t>(static_cast<uint32_t>(choice.token)) + 1));
  next.logprob = choice.logprob;
  next.weight = choice.weight;
  next.next_sibling = here.first_child;
  next.state = spans_.extend(here.state, choice.token);
  tree.prefixes.push_back(std::move(next));
  tree.prefixes[prefix].first_child = number;
  tree.choices[place].child = number;
  return number;
}

// Whether the tokens themselves end the segment: an end of sequence, or a delimiter.
bool SegmentDraws::closes(const Tree& tree, const Walker& walker, SegmentEnd* end) const {
  const Prefix& here = tree.prefixes[walker.prefix];
  const SegmentRules& rules = tree.rules;
  if (std::find(rules.eos.begin(), rules.eos.end(), here.token) != rules.eos.end()) {
    *end = SegmentEnd::kEos;
    return true;
  }
  *end = SegmentEnd::kStop;
  for (const auto& delimiter : rules.delimiters) {
    int32_t p = walker.prefix;
    size_t matched = 0;
    while (matched < delimiter.size() && p != walker.start &&
           tree.prefixes[p].token == delimiter[delimiter.size() - 1 - matched]) {
      ++matched;
      p = tree.prefixes[p].parent;
    }
    if (matched == delimiter.size()) return true;
  }
  return false;
}

bool SegmentDraws::cut(const Tree& tree, const Walker& walker) const {
  const int32_t reached = tree.prefixes[walker.prefix].length;
  const int32_t limit = walker.max_tokens > 0 ? walker.max_tokens : tree.rules.max_step_tokens;
  return reached - tree.prefixes[walker.start].length >= limit ||
         reached >= tree.rules.max_path_tokens;
}

// ------------------------------------------------------------------ ends of draws

void SegmentDraws::settle(int32_t number, int32_t index, int32_t prefix, SegmentEnd end) {
  Tree& tree = trees_[number];
  Walker& walker = tree.walkers[index];
  if (walker.mode != DrawMode::kDistinct) {
    emit(number, index, prefix, end);
    return;
  }
  walker.parked = true;
  walker.end_prefix = prefix;
  walker.end = end;
  if (!tree.releasing) release(number, walker.start);
}

// Hands out the ends of the first in line; everyone behind walks again on what is left then.
void SegmentDraws::release(int32_t number, int32_t start) {
  Tree& tree = trees_[number];
  tree.releasing = true;
  std::vector<int32_t>& line = tree.lines[start];
  size_t done = 0;
  while (done < line.size() && tree.walkers[line[done]].parked) {
    const int32_t index = line[done++];
    const int32_t prefix = tree.walkers[index].end_prefix;
    if (prefix >= 0) close_branch(tree, prefix, start);
    emit(number, index, prefix, tree.walkers[index].end);
    if (prefix < 0) continue;
    for (size_t i = done; i < line.size(); ++i) restart(number, line[i]);
  }
  line.erase(line.begin(), line.begin() + static_cast<std::ptrdiff_t>(done));
  if (line.empty()) tree.lines.erase(start);
  tree.releasing = false;
}

void SegmentDraws::restart(int32_t number, int32_t index) {
  Tree& tree = trees_[number];
  Walker& walker = tree.walkers[index];
  if (walker.asked) {
    walker.again = true;
    return;
  }
  if (walker.waits_at >= 0) {
    Prefix& place = tree.prefixes[walker.waits_at];
    std::erase(place.walkers, index);
    // Rows of the step that has begun are computed all the same: what a step costs must not
    // depend on how it was cut into batches.
    if (place.walkers.empty() && std::erase(tree.waiting, walker.waits_at) > 0) {
      place.is_waiting = false;
    }
    walker.waits_at = -1;
  }
  walker.parked = walker.again = false;
  walker.prefix = walker.start;
  walker.choices_made = 0;
  walk(number, index);
}

void SegmentDraws::emit(int32_t number, int32_t index, int32_t prefix, SegmentEnd end) {
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
      tree.prefixes[p].used = true;
    }
    std::reverse(segment.tokens.begin(), segment.tokens.end());
  }
  finished_.push_back(std::move(segment));
  walker.live = false;
  tree.free_walkers.push_back(index);
}

void SegmentDraws::close_branch(Tree& tree, int32_t prefix, int32_t start) {
  double removed = tree.prefixes[prefix].left;
  tree.prefixes[prefix].left = 0;
  bool closed = !std::exchange(tree.prefixes[prefix].closed, true);
  for (int32_t p = prefix; p != start; p = tree.prefixes[p].parent) {
    Prefix& above = tree.prefixes[tree.prefixes[p].parent];
    if (closed) --above.n_open;
    if (tree.prefixes[p].parent == start) break;
    closed = closed && above.n_open == 0;
    const double before = above.left;
    above.left = closed ? 0 : std::max(before - tree.prefixes[p].weight * removed, 0.0);
    if (closed) above.closed = true;
    removed = before - above.left;
  }
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
    count += tree.prefixes[p].choices >= 0 && !tree.prefixes[p].used;
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

SegmentDraws::Collected SegmentDraws::collect(int32_t number, StepBatch& batch, int64_t max_rows,
                                              int64_t batch_rows, std::vector<int32_t>& added) {
  Tree& tree = tree_of(number);
  int64_t rows = 0;
  while (tree.next_of_step < tree.this_step.size()) {
    const int32_t prefix = tree.this_step[tree.next_of_step];
    if (tree.prefixes[prefix].choices >= 0) {  // asked for again after a cancelled step
      ++tree.next_of_step;
      continue;
    }
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
  if (prefix_of(tree, index).choices >= 0) return;
  row_.clear();
  logits_row(logits, vocabulary, tree.sampling, row_);
  Prefix& prefix = tree.prefixes[index];
  prefix.choices = static_cast<int32_t>(tree.choices.size());
  prefix.n_choices = static_cast<int32_t>(row_.size());
  prefix.is_waiting = false;
  for (const Candidate& candidate : row_) {
    prefix.mass += candidate.weight;
    prefix.n_open += candidate.weight > 0;
    tree.choices.push_back({candidate.token, candidate.logprob, candidate.weight, -1});
  }
  std::vector<int32_t> walkers;
  walkers.swap(prefix.walkers);
  for (int32_t walker : walkers) {
    if (tree.walkers[walker].waits_at != index) continue;  // walks again already
    tree.walkers[walker].waits_at = -1;
    walk(number, walker);
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
