// Pages, spans and the batch of a step, for Python.
#include <optional>
#include <span>

#include "bindings/bindings.h"
#include "bindings/numpy.h"
#include "common/errors.h"
#include "kv/page_pool.h"
#include "kv/span_tree.h"
#include "kv/step_batch.h"

namespace treeward::bindings {

/// Adds the measure_* entries of kv_measure.cc.
void bind_kv_measure(py::module_& module);

namespace {

// Token ids as Python has them: an int32 array is read in place, anything else is converted.
using TokenArray = py::array_t<int32_t, py::array::c_style>;

std::span<const int32_t> tokens_of(const TokenArray& array, const char* name) {
  if (array.ndim() != 1) {
    throw InvalidArgument(std::string(name) + " must have one dimension, got " +
                          std::to_string(array.ndim()));
  }
  return {array.data(), static_cast<size_t>(array.size())};
}

py::dict counts_dict(const TokenCounts& counts) {
  py::dict out;
  out["unique"] = counts.unique;
  out["computed"] = counts.computed;
  out["recomputed"] = counts.recomputed;
  out["reused"] = counts.reused;
  return out;
}

}  // namespace

void bind_kv(py::module_& module) {
  py::class_<State>(module, "State",
                    "A language-model state: the first `length` tokens of a path of spans. "
                    "Copying it is forking it; no key or value is copied.")
      .def_readonly("length", &State::length, "Tokens from the start of the prompt.")
      .def_readonly("span", &State::span)
      .def("__eq__",
           [](const State& a, const State& b) {
             return a.span == b.span && a.generation == b.generation && a.length == b.length;
           })
      .def("__hash__", [](const State& a) {
        return (static_cast<uint64_t>(static_cast<uint32_t>(a.span)) << 32) ^
               static_cast<uint64_t>(a.length) ^ (static_cast<uint64_t>(a.generation) << 16);
      });

  py::class_<SpanTree>(module, "SpanTree",
                       "All trees of one model over one pool of `n_pages` pages of `page_size` "
                       "tokens: spans of tokens, who shares them, and where their keys and values "
                       "are. ValueError when a size is not positive.")
      .def(py::init<int32_t, int32_t>(), py::arg("n_pages"), py::arg("page_size"))
      .def("open_tree", &SpanTree::open_tree, py::arg("prompt"),
           "Starts a tree for a prompt (token ids, at least one); returns its number. Whole blocks "
           "of 64 prompt tokens are shared with other trees.")
      .def("close_tree", &SpanTree::close_tree, py::arg("tree"),
           "Frees every page of the tree; its states become stale.")
      .def("root", &SpanTree::root, py::arg("tree"), "The state after the prompt.")
      .def(
          "extend",
          [](SpanTree& tree, const State& state, const TokenArray& tokens) {
            return tree.extend(state, tokens_of(tokens, "tokens"));
          },
          py::arg("state"), py::arg("tokens").noconvert(),
          "As below, for an int32 array, which is read in place.")
      .def(
          "extend",
          [](SpanTree& tree, const State& state, const std::vector<int32_t>& tokens) {
            return tree.extend(state, tokens);
          },
          py::arg("state"), py::arg("tokens"),
          "The state some tokens further. Tokens that are in the tree already are found, not "
          "added. Raises StaleHandle when the tree was closed.")
      .def(
          "discard",
          [](SpanTree& tree, const State& state, std::optional<int32_t> kept) {
            if (kept) {
              tree.discard(state, *kept);
            } else {
              tree.discard(state);
            }
          },
          py::arg("state"), py::arg("kept") = py::none(),
          "Marks all behind the first `kept` tokens of the state's path, on that path and below "
          "the state, as first to be evicted; without `kept`, all back to the last branching "
          "above the state. Shared prompt blocks are never marked. ValueError unless 0 <= kept "
          "<= state.length.")
      .def("tokens", &SpanTree::tokens, py::arg("state"), "All token ids up to the state.")
      .def("resident", &SpanTree::resident, py::arg("state"),
           "How many leading tokens of a state have keys and values now.")
      .def(
          "match",
          [](const SpanTree& tree, const TokenArray& prompt) {
            return tree.match(tokens_of(prompt, "prompt"));
          },
          py::arg("prompt").noconvert(), "As below, for an int32 array, which is read in place.")
      .def(
          "match",
          [](const SpanTree& tree, const std::vector<int32_t>& prompt) {
            return tree.match(prompt);
          },
          py::arg("prompt"),
          "How many leading tokens of a prompt are in shared blocks (a multiple of 64).")
      .def(
          "counts",
          [](const SpanTree& tree, int32_t number) { return counts_dict(tree.counts(number)); },
          py::arg("tree"),
          "Tokens of a tree: unique, computed (rows through the model), recomputed, reused.")
      .def("new_version", &SpanTree::new_version,
           "Forgets shared prompt blocks: the weights have changed.")
      .def("evict_one", &SpanTree::evict_one,
           "Evicts the span that is first in line, or its discarded part: what was discarded "
           "before what was not, then the least recently used. False when none is evictable.")
      .def("evict_all", &SpanTree::evict_all, "Evicts all that no open batch holds.")
      .def("check_invariants", &SpanTree::check_invariants,
           "Raises TreewardError naming the first invariant that does not hold.")
      .def_property_readonly("live_spans", &SpanTree::live_spans)
      .def_property_readonly("evictions", &SpanTree::evictions)
      .def_property_readonly("used_slots", [](const SpanTree& t) { return t.pool().used_slots(); })
      .def_property_readonly("free_pages", [](const SpanTree& t) { return t.pool().free_pages(); })
      .def_property_readonly("n_pages", [](const SpanTree& t) { return t.pool().n_pages(); })
      .def_property_readonly("page_size", [](const SpanTree& t) { return t.pool().page_size(); });

  py::class_<StepBatch>(module, "StepBatch",
                        "The rows of one step of a model over any states, and the plan of their "
                        "attention. Used as: add(state)…, finish(), run the model, commit().")
      .def(py::init<SpanTree&>(), py::arg("tree"), py::keep_alive<1, 2>())
      .def("add", &StepBatch::add, py::arg("state"),
           "Brings in what the state's path still lacks and asks for the logits after its last "
           "token. False, with nothing changed, when the pool has no room beside this batch.")
      .def("cost", &StepBatch::cost, py::arg("state"), "Rows that adding the state would bring in.")
      .def("finish", &StepBatch::finish, py::arg("pad_to") = 16,
           py::call_guard<py::gil_scoped_release>(),
           "Orders the rows, pads them to a multiple of `pad_to`, and builds the plan.")
      .def("commit", &StepBatch::commit, "The rows were computed: their keys and values stay.")
      .def("abort", &StepBatch::abort, "The rows were not computed: their slots go back.")
      .def_property_readonly("total_cost", &StepBatch::total_cost,
                             "Rows in the batch so far, before finish().")
      .def_property_readonly("n_states", &StepBatch::n_states)
      .def_property_readonly("n_rows", &StepBatch::n_rows, "Rows without padding.")
      .def_property_readonly(
          "row_tokens", [](const StepBatch& b) { return int64_array(b.row_tokens()); },
          "int64[rows, padding included]")
      .def_property_readonly(
          "row_positions", [](const StepBatch& b) { return int64_array(b.row_positions()); },
          "int64[rows, padding included]: position of each row on its own path")
      .def_property_readonly(
          "state_rows", [](const StepBatch& b) { return int64_array(b.state_rows()); },
          "int64[states]: the row whose logits each added state asked for, in order of adding")
      .def_property_readonly(
          "plan", [](const StepBatch& b) -> const Plan& { return b.plan(); },
          py::return_value_policy::reference_internal);

  bind_kv_measure(module);
}

}  // namespace treeward::bindings
