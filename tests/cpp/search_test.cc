// Every algorithm driven by a random engine: orders, short answers, cancels, and clean books.
#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <string>

#include "check.h"
#include "common/errors.h"
#include "search/factory.h"

using namespace treeward;

namespace {

// What the engine brings is a function of the path, as with a model: child k of a node exists
// when k < width(path), and is terminal at depth 4.
std::vector<Child> respond(const Arena& arena, const Task& task, std::mt19937& random,
                           bool* exhausted) {
  const NodeIndex node = arena.resolve(task.node);
  const int width = 1 + static_cast<int>(task.seed % 5);
  std::vector<Child> children;
  for (int i = 0; i < task.count; ++i) {
    int lane = i;
    if (task.mode == Mode::kSample) lane = static_cast<int>(random() % width);
    if (task.mode == Mode::kDistinct) lane += static_cast<int>(arena.at(node).child_count);
    if (lane >= width) break;
    Child child;
    child.tokens = {lane, lane + 1};
    child.logprob = -0.5f * static_cast<float>(lane + 1);
    child.value = static_cast<float>((task.seed >> lane) % 100) / 100.0f;
    child.terminal = arena.at(node).depth == 3;
    if (child.terminal) child.answer = lane;
    children.push_back(child);
  }
  *exhausted = task.mode == Mode::kDistinct && static_cast<int>(children.size()) < task.count;
  return children;
}

void drive(const std::string& algorithm, const Options& options, uint32_t seed) {
  auto arena = std::make_shared<Arena>();
  auto machine = make_machine(algorithm, arena, options, seed);
  std::mt19937 random(seed);
  std::vector<Task> out;
  for (int step = 0; step < 400 && !machine->done(); ++step) {
    for (const Task& task : machine->ask(1 + static_cast<int>(random() % 4))) out.push_back(task);
    CHECK(!out.empty());
    const size_t pick = random() % out.size();
    const Task task = out[pick];
    out.erase(out.begin() + static_cast<std::ptrdiff_t>(pick));
    if (random() % 5 == 0) {
      machine->cancel(task.id);
      continue;
    }
    bool exhausted = false;
    auto children = respond(*arena, task, random, &exhausted);
    if (random() % 6 == 0 && !children.empty()) {
      children.pop_back();
      exhausted = false;
    }
    const auto handles = machine->tell(task.id, children, exhausted);
    const size_t nodes = arena->live_nodes();
    CHECK(machine->tell(task.id, {}, true) == handles && arena->live_nodes() == nodes);
    arena->check(false);
    CHECK(machine->best().has_value() == (nodes > 1));
  }
  for (const Task& task : out) machine->cancel(task.id);
  arena->check(true);
  machine.reset();
  CHECK(arena->live_nodes() == 0);
}

template <typename Error, typename Function>
bool raises(Function&& function) {
  try {
    function();
  } catch (const Error&) {
    return true;
  }
  return false;
}

void refusals() {
  auto arena = std::make_shared<Arena>();
  CHECK(raises<InvalidArgument>([&] { make_machine("none", arena, {}, 0); }));
  CHECK(raises<InvalidArgument>([&] { make_machine("mcts", arena, {{"depth", int64_t{3}}}, 0); }));
  CHECK(arena->live_nodes() == 0);
  auto machine = make_machine("greedy", arena, {}, 0);
  const Task task = machine->ask(1).at(0);
  Child child;
  child.tokens = {1};
  child.value = std::numeric_limits<float>::infinity();
  CHECK(raises<NotFinite>([&] { machine->tell(task.id, {child}, false); }));
  CHECK(machine->outstanding() == 1 && arena->live_nodes() == 1);
  CHECK(raises<InvalidArgument>([&] { machine->tell(99, {}, false); }));
}

}  // namespace

int main() {
  const std::vector<std::pair<std::string, Options>> cases = {
      {"greedy", {}},
      {"accept", {{"threshold", 0.8}}},
      {"guided", {{"choice", std::string("sampled")}}},
      {"best_of_n", {{"n", int64_t{0}}}},
      {"best_of_n", {{"n", int64_t{30}}, {"selection", std::string("weighted")}}},
      {"beam", {{"rounds", int64_t{0}}, {"width", int64_t{1}}}},
      {"beam", {{"distinct", false}, {"rounds", int64_t{4}}}},
      {"best_first", {{"mass_left", 0.0}}},
      {"best_first", {{"branching", int64_t{3}}, {"mass_left", 0.2}}},
      {"mcts", {}},
      {"mcts", {{"evaluation", std::string("rollout")}, {"rollouts", int64_t{3}}}},
      {"mcts",
       {{"formula", std::string("uct")},
        {"normalise", true},
        {"virtual_loss", std::string("weighted")},
        {"widen_initial", int64_t{1}},
        {"widen_batch", int64_t{1}}}},
  };
  for (const auto& [algorithm, options] : cases) {
    for (uint32_t seed = 0; seed < 20; ++seed) drive(algorithm, options, seed);
  }
  refusals();
}
