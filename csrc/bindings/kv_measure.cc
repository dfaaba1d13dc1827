// Timing of single operations of the span tree from inside the process, where a call from Python
// would cost more than the operation. Every entry calls what the engine calls, once a measurement.
#include <chrono>
#include <span>
#include <vector>

#include "bindings/bindings.h"
#include "common/errors.h"
#include "kv/span_tree.h"
#include "kv/step_batch.h"

namespace treeward::bindings {

namespace {

using Tokens = py::array_t<int32_t, py::array::c_style>;
using Clock = std::chrono::steady_clock;

template <typename Operation>
int64_t nanoseconds(Operation&& operation) {
  const auto started = Clock::now();
  operation();
  const auto ended = Clock::now();
  return std::chrono::duration_cast<std::chrono::nanoseconds>(ended - started).count();
}

py::array_t<int64_t> times_array(const std::vector<int64_t>& times) {
  return py::array_t<int64_t>(static_cast<py::ssize_t>(times.size()), times.data());
}

// Row i of `tokens` cut to lengths[i].
std::vector<std::span<const int32_t>> rows_of(const Tokens& tokens,
                                              const std::vector<int32_t>& lengths) {
  if (tokens.ndim() != 2 || tokens.shape(0) != static_cast<py::ssize_t>(lengths.size())) {
    throw InvalidArgument("tokens must be [len(lengths), longest]");
  }
  std::vector<std::span<const int32_t>> rows;
  for (size_t i = 0; i < lengths.size(); ++i) {
    if (lengths[i] < 1 || lengths[i] > tokens.shape(1)) {
      throw InvalidArgument("lengths must be between 1 and the width of tokens");
    }
    rows.emplace_back(tokens.data(static_cast<py::ssize_t>(i), 0), static_cast<size_t>(lengths[i]));
  }
  return rows;
}

py::tuple measure_extend(SpanTree& tree, const std::vector<State>& states, const Tokens& tokens,
                         const std::vector<int32_t>& lengths) {
  const auto rows = rows_of(tokens, lengths);
  if (states.size() != rows.size()) throw InvalidArgument("one row of tokens a state is needed");
  std::vector<int64_t> times(states.size());
  std::vector<State> reached(states.size());
  {
    py::gil_scoped_release release;
    for (size_t i = 0; i < states.size(); ++i) {
      times[i] = nanoseconds([&] {
        const State fork = states[i];  // this copy is the fork; what follows is its first token
        reached[i] = tree.extend(fork, rows[i]);
      });
    }
  }
  return py::make_tuple(times_array(times), reached);
}

py::array measure_match(const SpanTree& tree, const std::vector<std::vector<int32_t>>& prompts,
                        int32_t rounds) {
  std::vector<int64_t> times;
  {
    py::gil_scoped_release release;
    int64_t matched = 0;
    for (int32_t round = 0; round < rounds; ++round) {
      for (const auto& prompt : prompts) {
        times.push_back(nanoseconds([&] { matched += tree.match(prompt); }));
      }
    }
    if (matched < 0) throw Error("a match of negative length");  // its use keeps the loop
  }
  return times_array(times);
}

// Fills the room that an eviction left: states whose tokens are gone are computed again, as a
// search that comes back to them does.
void refill(SpanTree& tree, const State& state) {
  StepBatch batch(tree);
  if (!batch.add(state)) {
    batch.abort();
    return;
  }
  batch.finish(1);
  batch.commit();
}

py::array measure_evict(SpanTree& tree, const std::vector<State>& states) {
  std::vector<int64_t> times;
  {
    py::gil_scoped_release release;
    for (const State& state : states) {
      times.push_back(nanoseconds([&] {
        if (!tree.evict_one()) throw InvalidArgument("nothing is left to evict");
      }));
      refill(tree, state);
    }
  }
  return times_array(times);
}

py::array measure_allocate(SpanTree& tree, const std::vector<State>& states) {
  std::vector<int64_t> times;
  {
    py::gil_scoped_release release;
    for (const State& state : states) {
      const int64_t before = tree.evictions();
      StepBatch batch(tree);
      bool added = false;
      const int64_t time = nanoseconds([&] { added = batch.add(state); });
      if (!added) {
        batch.abort();
        continue;
      }
      if (tree.evictions() > before) times.push_back(time);
      batch.finish(1);
      batch.commit();
    }
  }
  return times_array(times);
}

}  // namespace

void bind_kv_measure(py::module_& module) {
  module.def("measure_extend", &measure_extend, py::arg("tree"), py::arg("states"),
             py::arg("tokens"), py::arg("lengths"),
             R"(Times copying each state and extending the copy: a fork with its first tokens.

Args:
    tree: the SpanTree; it grows as by extend().
    states: where to fork.
    tokens: int32 [states, longest].
    lengths: [states], how many tokens of each row to add, >= 1.

Returns:
    (int64 [states] nanoseconds of each, the states reached). A reading of the clock, some 20 ns,
    is part of every number.
)");
  module.def("measure_match", &measure_match, py::arg("tree"), py::arg("prompts"),
             py::arg("rounds") = 1,
             "Times SpanTree.match of each prompt, one after the other, `rounds` times over. "
             "Returns int64 [rounds * prompts] nanoseconds.");
  module.def("measure_evict", &measure_evict, py::arg("tree"), py::arg("states"),
             "Times one eviction a state, the choice of its victim included. After each the state "
             "is computed, untimed, so that a full pool stays full. Returns int64 [states] "
             "nanoseconds; ValueError when nothing is left to evict.");
  module.def("measure_allocate", &measure_allocate, py::arg("tree"), py::arg("states"),
             "Times StepBatch.add of each state with all evictions that make its room, and "
             "computes the state. Returns int64 [m] nanoseconds of those adds that evicted.");
}

}  // namespace treeward::bindings
