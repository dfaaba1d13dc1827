// The arena, its statistics and the choice of a child, without any search.
#include <cmath>
#include <string>

#include "check.h"
#include "common/errors.h"
#include "common/simd.h"
#include "tree/export.h"
#include "tree/score.h"
#include "tree/select.h"

using namespace treeward;

namespace {

Child child(std::vector<int32_t> tokens, float logprob = -1.0f) {
  Child c;
  c.tokens = std::move(tokens);
  c.logprob = logprob;
  return c;
}

template <typename Error, typename Function>
std::string message_of(Function&& function) {
  try {
    function();
  } catch (const Error& error) {
    return error.what();
  }
  CHECK(!"the expected error was raised");
  return "";
}

void merging_and_handles() {
  Arena arena;
  const NodeHandle root = arena.add_tree(1);
  const auto first = arena.add_child(root.index, child({1, 2}));
  const auto again = arena.add_child(root.index, child({1, 2}));
  CHECK(first.created && !again.created && first.node == again.node);
  CHECK(arena.at(first.node).draws == 2);
  const NodeHandle handle = arena.handle(first.node);
  CHECK(NodeHandle::unpack(handle.packed()) == handle && handle.packed() != 0);
  CHECK(arena.resolve(handle) == first.node);
  arena.drop_tree(root);
  CHECK(message_of<StaleHandle>([&] { arena.resolve(handle); }).find("not alive") !=
        std::string::npos);
  arena.check();
  CHECK(arena.live_nodes() == 0 && arena.live_trees() == 0);
}

void equal_problems_are_two_trees() {
  Arena arena;
  const NodeHandle a = arena.add_tree(7);
  const NodeHandle b = arena.add_tree(7);
  CHECK(!(a == b));
  CHECK(arena.at(a.index).path_hash == arena.at(b.index).path_hash);
  const auto x = arena.add_child(a.index, child({1}));
  CHECK(arena.children(b.index).empty());
  arena.drop_tree(b);
  CHECK(arena.alive(arena.handle(x.node)));
  arena.check();
}

void deep_paths() {
  Arena arena;
  const NodeHandle root = arena.add_tree(0);
  NodeIndex node = root.index;
  for (int i = 0; i < 10000; ++i) node = arena.add_child(node, child({i})).node;
  arena.backup(node, 0.5, Backup::kMean);
  arena.add_in_flight(node, 3, true);
  CHECK(arena.at(root.index).in_flight == 3);
  arena.add_in_flight(node, -3, true);
  CHECK(arena.path(node).size() == 10001 && arena.path_tokens(node).size() == 10000);
  CHECK(export_tree(arena, root.index).parent.back() == 9999);
  arena.check();
}

void broken_books_are_noticed() {
  Arena arena;
  const NodeHandle root = arena.add_tree(0);
  const NodeIndex node = arena.add_child(root.index, child({1})).node;
  arena.add_in_flight(node, 1, false);
  arena.check(false);
  CHECK(message_of<Error>([&] { arena.check(true); }).find("in flight") != std::string::npos);
}

void selection_formulas() {
  Arena arena;
  const NodeHandle root = arena.add_tree(0);
  std::vector<NodeIndex> nodes;
  for (int i = 0; i < 40; ++i) nodes.push_back(arena.add_child(root.index, child({i})).node);
  arena.refresh_priors(root.index);
  SelectRule rule;
  // All alike: the lowest lane. Then each closed or busy lane is passed over, across blocks.
  for (int i = 0; i < 40; ++i) {
    CHECK(select_child(arena, root.index, rule, 1) == nodes[i]);
    if (i % 2 == 0) {
      arena.close(nodes[i]);
    } else {
      arena.mark_busy(nodes[i], 1);
    }
  }
  CHECK(select_child(arena, root.index, rule, 1) == kNoNode);
  CHECK(select_child(arena, root.index, rule, 2) == nodes[1]);  // busy ends with the epoch

  // The value of PUCT by hand: two children, one visited.
  Arena small;
  const NodeIndex top = small.add_tree(0).index;
  const NodeIndex a = small.add_child(top, child({0}, std::log(0.25f))).node;
  const NodeIndex b = small.add_child(top, child({1}, std::log(0.75f))).node;
  small.refresh_priors(top);
  small.backup(b, 0.4, Backup::kMean);
  const double c = 1.25 + std::log((1 + 19652.0 + 1) / 19652.0);
  const double score_a = 0.4 - 0.2 * std::sqrt(0.75) + c * 0.25;
  const double score_b = 0.4 + c * 0.75 / 2;
  CHECK((select_child(small, top, rule, 1) == b) == (score_b > score_a));
  // Virtual visits turn the choice.
  small.add_in_flight(b, 8, true);
  CHECK(select_child(small, top, rule, 1) == a);
}

void busy_marks_do_not_outlive_a_tree() {
  Arena arena;
  for (int round = 0; round < 3; ++round) {
    const NodeHandle root = arena.add_tree(0);
    const NodeIndex node = arena.add_child(root.index, child({1})).node;
    CHECK(select_child(arena, root.index, SelectRule{}, 1) == node);
    arena.mark_busy(node, 1);
    arena.close(node);
    CHECK(select_child(arena, root.index, SelectRule{}, 1) == kNoNode);
    arena.drop_tree(root);
  }
}

void no_level_falls_back_to_scalar() {
  const SimdLevel before = current_level();
  for (const SimdLevel level : available_levels()) {
    set_level(level);
    CHECK((&score_kernels() == &kScalarScores) == (level == SimdLevel::scalar));
  }
  set_level(before);
}

}  // namespace

int main() {
  merging_and_handles();
  equal_problems_are_two_trees();
  deep_paths();
  broken_books_are_noticed();
  selection_formulas();
  busy_marks_do_not_outlive_a_tree();
  no_level_falls_back_to_scalar();
}
