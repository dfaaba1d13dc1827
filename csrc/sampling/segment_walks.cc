// How walkers move on the trie of prefixes, and what happens where they end.
#include <algorithm>
#include <cstddef>
#include <utility>

#include "common/random.h"
#include "sampling/segment_draws.h"

namespace treeward {

namespace {

// What choose() returns in place of a rank.
constexpr int32_t kNoChoice = -1;  // nothing is left
constexpr int32_t kNoRow = -2;     // the row is needed first

}  // namespace

void SegmentDraws::walk(int32_t number, int32_t index) {
  Tree& tree = trees_[number];
  for (;;) {
    Walker& walker = tree.walkers[index];
    Prefix& here = tree.prefixes[walker.prefix];
    const int32_t choice = here.next < 0 ? kNoRow : choose(tree, walker);
    if (choice == kNoRow) {
      walker.waits_at = walker.prefix;
      here.walkers.push_back(index);
      if (!here.is_waiting) {
        here.is_waiting = true;
        tree.waiting.push_back(walker.prefix);
      }
      return;
    }
    if (choice == kNoChoice) {
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
        int32_t p = walker.prefix;
        do {
          question.tokens.push_back(tree.prefixes[p].token);
          p = tree.prefixes[p].parent;
        } while (!begins_step(tree, p));
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
  NextTokens& next = tree.distributions[here.next];
  if (walker.mode == DrawMode::kGreedy) return 0;
  if (walker.mode == DrawMode::kTop) {
    if (walker.draw >= next.size()) return kNoChoice;
    return next.reach(walker.draw) ? walker.draw : kNoRow;
  }

  // What is left of each choice. Independent draws have everything left.
  const bool distinct = walker.mode == DrawMode::kDistinct;
  if (distinct && here.n_open == 0) return kNoChoice;
  const auto part = [&](int32_t i) -> double {
    const Choice& choice = next.at(i);
    return choice.weight * (distinct ? left_below(tree, choice) : 1.0);
  };
  double total = next.mass();
  if (distinct) {
    for (int32_t c = here.first_child; c >= 0; c = tree.prefixes[c].next_sibling) {
      const Prefix& below = tree.prefixes[c];
      total -= below.weight * (below.closed ? 1.0 : 1.0 - std::max(below.left, 1e-12));
    }
    if (total < 1e-6) {  // few digits of the difference are left
      total = 0;
      for (int32_t i = 0; i < next.n_drawn(); ++i) {
        if (!next.reach(i)) return kNoRow;
        total += part(i);
      }
    }
  }
  const double uniform =
      philox_uniform(tree.prefixes[walker.start].hash, static_cast<uint64_t>(walker.draw),
                     static_cast<uint64_t>(walker.mode) << 32 | walker.choices_made);
  double mass = uniform * total;
  int32_t first = kNoChoice, chosen = kNoChoice;
  for (int32_t i = 0; i < next.n_drawn() && chosen == kNoChoice; ++i) {
    if (!next.reach(i)) return kNoRow;
    const double here_left = part(i);
    if (here_left <= 0) continue;
    if (first == kNoChoice) first = i;
    if (mass < here_left) chosen = i;
    mass -= here_left;
  }
  ++walker.choices_made;  // only now: who waits for a row makes the same choice again
  // What rounding leaves over goes to the most probable token rather than to the least.
  return chosen == kNoChoice ? first : chosen;
}

int32_t SegmentDraws::child(Tree& tree, int32_t prefix, int32_t rank) {
  const int32_t distribution = tree.prefixes[prefix].next;
  const Choice choice = tree.distributions[distribution].at(rank);
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
  tree.distributions[distribution].at(rank).child = number;
  return number;
}

// Whether the tokens themselves end the segment: an end of sequence, a delimiter, or a text.
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
    while (matched < delimiter.size() &&
           tree.prefixes[p].token == delimiter[delimiter.size() - 1 - matched]) {
      ++matched;
      p = tree.prefixes[p].parent;
      if (begins_step(tree, p)) break;
    }
    if (matched == delimiter.size()) return true;
  }
  return completes_text(tree, walker);
}

// Whether the last token completes a text that closes a step, with all of it in this step.
bool SegmentDraws::completes_text(const Tree& tree, const Walker& walker) const {
  if (tree.rules.texts.empty()) return false;
  const auto text_of = [&](int32_t prefix) -> std::string_view {
    const auto token = static_cast<size_t>(tree.prefixes[prefix].token);
    return token < token_texts_.size() ? std::string_view(token_texts_[token]) : "";
  };
  const std::string_view last = text_of(walker.prefix);
  for (const std::string& text : tree.rules.texts) {
    const size_t most_before = text.size() - 1;
    std::string before;
    int32_t p = tree.prefixes[walker.prefix].parent;
    for (; !begins_step(tree, p) && before.size() < most_before; p = tree.prefixes[p].parent) {
      before.insert(0, text_of(p));
    }
    const size_t from = before.size() - std::min(before.size(), most_before);
    if ((before += last).find(text, from) != std::string::npos) return true;
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
    tree.prefixes[prefix].node = true;
    tree.prefixes[prefix].ends_step = end != SegmentEnd::kLength;
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

}  // namespace treeward
