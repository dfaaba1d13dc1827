#include "search/ranking.h"

#include <algorithm>
#include <cmath>
#include <unordered_map>

namespace treeward {

namespace {

// How much of the path's log-probability counts as prior. Half of it, because a long path has more
// ways to be written down than it has meanings.
constexpr double kPriorWeight = 0.5;

// A wide search ends where the reward model errs: among many improbable paths it finds the one
// that is most overrated. The policy's own probability is the prior against that.
double posterior(const Node& node) {
  const double value = std::clamp(static_cast<double>(node.reward), 1e-6, 1.0 - 1e-6);
  return std::log(value / (1.0 - value)) + kPriorWeight * node.logprob_sum;
}

}  // namespace

bool ranks_before(const Arena& arena, NodeIndex a, NodeIndex b) {
  const Node* c = arena.nodes();
  const bool a_scored = !std::isnan(c[a].reward);
  const bool b_scored = !std::isnan(c[b].reward);
  if (a_scored != b_scored) return a_scored;
  if (a_scored && c[a].reward != c[b].reward) return c[a].reward > c[b].reward;
  return c[a].logprob_sum > c[b].logprob_sum;
}

NodeIndex verified_node(const Arena& arena, NodeIndex root) {
  NodeIndex best = kNoNode;
  for (const NodeIndex node : arena.tree_of(root).nodes) {
    if (!arena.has(node, kTerminal) || arena.at(node).verdict != 1) continue;
    if (best == kNoNode || ranks_before(arena, node, best)) best = node;
  }
  return best;
}

std::vector<Vote> rank_answers(const Arena& arena, NodeIndex root, Selection selection) {
  const Node* c = arena.nodes();
  std::vector<NodeIndex> finals;
  for (const NodeIndex node : arena.tree_of(root).nodes) {
    if (arena.has(node, kTerminal) && c[node].answer >= 0) finals.push_back(node);
  }
  const auto wrong = [&](NodeIndex node) { return c[node].verdict == 0; };
  if (!std::ranges::all_of(finals, wrong)) std::erase_if(finals, wrong);
  const bool scored =
      std::ranges::any_of(finals, [&](NodeIndex node) { return !std::isnan(c[node].reward); });

  const auto before = [&](NodeIndex a, NodeIndex b) {
    const bool both = !std::isnan(c[a].reward) && !std::isnan(c[b].reward);
    if (selection != Selection::kPosterior || !both) return ranks_before(arena, a, b);
    return posterior(c[a]) > posterior(c[b]);
  };

  std::vector<Vote> votes;
  std::unordered_map<int32_t, size_t> place;
  for (const NodeIndex node : finals) {
    const auto [entry, fresh] = place.emplace(c[node].answer, votes.size());
    if (fresh) votes.push_back({c[node].answer, 0.0, node});
    Vote& vote = votes[entry->second];
    if (before(node, vote.node)) vote.node = node;
    if (selection == Selection::kMajority || (selection == Selection::kWeighted && !scored)) {
      vote.weight += c[node].draws;
    } else if (selection == Selection::kWeighted) {
      if (!std::isnan(c[node].reward))
        vote.weight += static_cast<double>(c[node].draws) * c[node].reward;
    } else if (selection == Selection::kVisited) {
      vote.weight += c[node].visits;
    }
  }
  if (selection == Selection::kBest || selection == Selection::kPosterior) {
    const bool best = selection == Selection::kBest;
    for (Vote& vote : votes) {
      // An answer without a value stands below all that have one.
      const bool none = std::isnan(c[vote.node].reward);
      vote.weight = !none    ? (best ? c[vote.node].reward : posterior(c[vote.node]))
                    : scored ? -std::numeric_limits<double>::infinity()
                             : c[vote.node].logprob_sum;
    }
  }
  std::ranges::stable_sort(votes, [&](const Vote& a, const Vote& b) {
    if (a.weight != b.weight) return a.weight > b.weight;
    return ranks_before(arena, a.node, b.node);
  });
  return votes;
}

NodeIndex best_node(const Arena& arena, NodeIndex root, Selection selection) {
  if (const NodeIndex verified = verified_node(arena, root); verified != kNoNode) return verified;
  const auto votes = rank_answers(arena, root, selection);
  if (!votes.empty()) return votes.front().node;
  NodeIndex terminal = kNoNode;
  NodeIndex leaf = kNoNode;
  for (const NodeIndex node : arena.tree_of(root).nodes) {
    if (node == root || arena.at(node).child_count != 0) continue;
    NodeIndex& best = arena.has(node, kTerminal) ? terminal : leaf;
    if (best == kNoNode || ranks_before(arena, node, best)) best = node;
  }
  return terminal != kNoNode ? terminal : leaf;
}

}  // namespace treeward
