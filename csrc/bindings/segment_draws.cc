// Draws of segments, for Python.
#include "sampling/segment_draws.h"

#include "bindings/bindings.h"
#include "common/errors.h"

namespace treeward::bindings {

namespace {

DrawMode mode_of(const std::string& name) {
  if (name == "sample") return DrawMode::kSample;
  if (name == "distinct") return DrawMode::kDistinct;
  if (name == "greedy") return DrawMode::kGreedy;
  if (name == "top") return DrawMode::kTop;
  throw InvalidArgument("unknown draw mode '" + name + "'; known: sample, distinct, greedy, top");
}

const char* name_of(SegmentEnd end) {
  switch (end) {
    case SegmentEnd::kStop:
      return "stop";
    case SegmentEnd::kEos:
      return "eos";
    default:
      return "length";
  }
}

const char* name_of(SegmentDraws::Collected collected) {
  switch (collected) {
    case SegmentDraws::Collected::kAll:
      return "all";
    case SegmentDraws::Collected::kRowLimit:
      return "row_limit";
    case SegmentDraws::Collected::kBatchFull:
      return "batch_full";
    default:
      return "pool_full";
  }
}

py::list supply(SegmentDraws& draws, const std::vector<std::pair<int32_t, int32_t>>& prefixes,
                uintptr_t logits, int64_t row_stride, int32_t vocabulary) {
  std::vector<SegmentDraws::Supplied> wanted;
  for (const auto& [tree, prefix] : prefixes) wanted.push_back({tree, prefix});
  std::vector<SegmentDraws::Refused> refused;
  {
    py::gil_scoped_release release;
    refused = draws.supply(wanted, reinterpret_cast<const float*>(logits), row_stride, vocabulary);
  }
  py::list out;
  for (const auto& [tree, reason] : refused) out.append(py::make_tuple(tree, reason));
  return out;
}

}  // namespace

void bind_segment_draws(py::module_& module) {
  py::class_<FinishedSegment>(module, "FinishedSegment", "A segment that a draw has ended.")
      .def_readonly("request", &FinishedSegment::request, "The number given to expand.")
      .def_readonly("tree", &FinishedSegment::tree)
      .def_readonly("draw", &FinishedSegment::draw, "Number of the draw under its node.")
      .def_readonly("prefix", &FinishedSegment::prefix,
                    "Prefix where the segment ends; -1 when nothing was left to draw.")
      .def_property_readonly(
          "end", [](const FinishedSegment& s) { return name_of(s.end); },
          "'stop' (a step's delimiter), 'eos', or 'length' (cut, unfinished).")
      .def_readonly("logprob", &FinishedSegment::logprob,
                    "Log-probability of the segment under the model, natural log.")
      .def_readonly("tokens", &FinishedSegment::tokens);

  py::class_<EndQuestion>(module, "EndQuestion",
                          "Asks whether a segment ends after its last token.")
      .def_readonly("tree", &EndQuestion::tree)
      .def_readonly("walker", &EndQuestion::walker)
      .def_readonly("tokens", &EndQuestion::tokens);

  py::class_<SegmentDraws>(module, "SegmentDraws",
                           "Draws of segments over a SpanTree: a trie of known next-token "
                           "distributions, so that a prefix is computed once, as a rule.")
      .def(py::init<SpanTree&, int64_t>(), py::arg("spans"),
           py::arg("row_bytes") = SegmentDraws::kRowBytes, py::keep_alive<1, 2>(),
           "Each tree keeps its newest rows of logits up to `row_bytes`; an older one that a draw "
           "wants is waited for once more.")
      .def(
          "open",
          [](SegmentDraws& draws, const std::vector<int32_t>& prompt, uint64_t seed,
             std::vector<std::vector<int32_t>> delimiters, std::vector<int32_t> eos,
             int32_t max_step_tokens, int32_t max_path_tokens, bool ask_after_token,
             float temperature, int32_t top_k, float top_p, float min_p,
             std::vector<std::string> texts) {
            SegmentRules rules{std::move(delimiters), std::move(texts), std::move(eos),
                               max_step_tokens,       max_path_tokens,  ask_after_token};
            return draws.open(prompt, seed, std::move(rules),
                              SamplingOptions{temperature, top_k, top_p, min_p});
          },
          py::arg("prompt"), py::arg("seed"), py::arg("delimiters"), py::arg("eos"),
          py::arg("max_step_tokens"), py::arg("max_path_tokens"), py::arg("ask_after_token"),
          py::arg("temperature"), py::arg("top_k"), py::arg("top_p"), py::arg("min_p"),
          py::arg("texts") = std::vector<std::string>(),
          "Opens a tree; returns its number. Prefix 0 is the state after the prompt. A segment "
          "ends with the token that completes one of `delimiters` (sequences of tokens) or "
          "`texts`.")
      .def("set_token_texts", &SegmentDraws::set_token_texts, py::arg("texts"),
           "What each token adds to a text, for trees with `texts`.")
      .def("close", &SegmentDraws::close, py::arg("tree"))
      .def(
          "expand",
          [](SegmentDraws& draws, int32_t tree, int64_t request, int32_t prefix,
             const std::string& mode, int32_t count, int32_t first_draw, int32_t max_tokens) {
            draws.expand(tree, request, prefix, mode_of(mode), count, first_draw, max_tokens);
          },
          py::arg("tree"), py::arg("request"), py::arg("prefix"), py::arg("mode"), py::arg("count"),
          py::arg("first_draw"), py::arg("max_tokens") = 0,
          "Starts `count` draws after a prefix, numbered from first_draw.")
      .def("cancel", &SegmentDraws::cancel, py::arg("tree"), "Drops every draw under way.")
      .def("begin_step", &SegmentDraws::begin_step, py::arg("tree"))
      .def(
          "collect",
          [](SegmentDraws& draws, int32_t tree, StepBatch& batch, int64_t limit,
             int64_t batch_rows) {
            std::vector<int32_t> added;
            const auto collected = draws.collect(tree, batch, limit, batch_rows, added);
            return std::make_tuple(std::string(name_of(collected)), added, limit);
          },
          py::arg("tree"), py::arg("batch"), py::arg("limit"), py::arg("batch_rows"),
          "Adds what waits to the batch; returns ('all' | 'row_limit' | 'batch_full' | "
          "'pool_full', prefixes added, what is left of the limit).")
      .def("supply", &supply, py::arg("prefixes"), py::arg("logits"), py::arg("row_stride"),
           py::arg("vocabulary"),
           "Gives prefixes [(tree, prefix)] their float32 logits (address of row 0, elements "
           "between rows); returns [(tree, message)] of rows that were not finite.")
      .def("end_step", &SegmentDraws::end_step, py::arg("tree"),
           "Moves the draws on that waited for what was supplied since begin_step.")
      .def("wasted", &SegmentDraws::wasted, py::arg("tree"),
           "Computed tokens that no finished segment goes through.")
      .def("waiting", &SegmentDraws::waiting, py::arg("tree"))
      .def("next_length", &SegmentDraws::next_length, py::arg("tree"))
      .def("take_finished", &SegmentDraws::take_finished)
      .def("take_questions", &SegmentDraws::take_questions)
      .def("answer", &SegmentDraws::answer, py::arg("tree"), py::arg("walker"), py::arg("ends"))
      .def("state", &SegmentDraws::state, py::arg("tree"), py::arg("prefix"))
      .def("tokens", &SegmentDraws::tokens, py::arg("tree"), py::arg("prefix"))
      .def("discard", &SegmentDraws::discard, py::arg("tree"), py::arg("prefix"));
}

}  // namespace treeward::bindings
