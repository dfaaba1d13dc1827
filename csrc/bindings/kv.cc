// Pages, spans and the batch of a step, for Python.
#include "bindings/bindings.h"
#include "bindings/numpy.h"
#include "kv/page_pool.h"
#include "kv/span_tree.h"
#include "kv/step_batch.h"

namespace treeward::bindings {

namespace {

State extend_many(SpanTree& tree, State state, const std::vector<int32_t>& tokens) {
  for (int32_t token : tokens) state = tree.extend(state, token);
  return state;
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
      .def("extend", &extend_many, py::arg("state"), py::arg("tokens"),
           "The state some tokens further. Tokens that are in the tree already are found, not "
           "added. Raises StaleHandle when the tree was closed.")
      .def("discard", &SpanTree::discard, py::arg("state"),
           "Marks the state's span and all below it as first to be evicted.")
      .def("tokens", &SpanTree::tokens, py::arg("state"), "All token ids up to the state.")
      .def("resident", &SpanTree::resident, py::arg("state"),
           "How many leading tokens of a state have keys and values now.")
      .def("match", &SpanTree::match, py::arg("prompt"),
           "How many leading tokens of a prompt are in shared blocks (a multiple of 64).")
      .def(
          "counts",
          [](const SpanTree& tree, int32_t number) { return counts_dict(tree.counts(number)); },
          py::arg("tree"),
          "Tokens of a tree: unique, computed (rows through the model), recomputed, reused.")
      .def("new_version", &SpanTree::new_version,
           "Forgets shared prompt blocks: the weights have changed.")
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
}

}  // namespace treeward::bindings
