// Python view of sampling/logits_row.h and sampling/gumbel.h.
#include "sampling/logits_row.h"

#include "bindings/bindings.h"
#include "common/errors.h"
#include "common/random.h"
#include "sampling/gumbel.h"

namespace treeward::bindings {

/// Adds the routines over logits rows and weighted candidates to `_native.sampling`.
void bind_logits_row(py::module_& module);

namespace {

template <typename T>
using Dense = py::array_t<T, py::array::c_style | py::array::forcecast>;

void require_1d(const py::array& array, const char* name) {
  if (array.ndim() != 1) {
    throw InvalidArgument(std::string(name) + " must have one dimension, got " +
                          std::to_string(array.ndim()));
  }
}

template <typename T>
std::span<const T> span_of(const Dense<T>& array, const char* name) {
  require_1d(array, name);
  return {array.data(), static_cast<size_t>(array.size())};
}

// The number type must be exact: a float64 row would lose digits in silence, and bits of
// bfloat16 have no meaning once converted as numbers.
template <typename T>
py::tuple row_to_arrays(const py::array& row, float temperature, int32_t top_k, float top_p,
                        float min_p) {
  if (!py::isinstance<py::array_t<T>>(row)) {
    throw py::type_error("row must be " + std::string(py::str(py::dtype::of<T>())) + ", got " +
                         std::string(py::str(row.dtype())));
  }
  require_1d(row, "row");
  if (row.size() > INT32_MAX) throw InvalidArgument("row has more than 2^31 - 1 entries");
  const auto dense = Dense<T>::ensure(row);
  if (!dense) throw py::error_already_set();
  const auto vocabulary = static_cast<int32_t>(dense.size());
  const SamplingOptions options{temperature, top_k, top_p, min_p};
  std::vector<Candidate> kept;
  {
    py::gil_scoped_release release;
    logits_row(dense.data(), vocabulary, options, kept);
  }
  const auto n = static_cast<py::ssize_t>(kept.size());
  py::array_t<int32_t> tokens(n);
  py::array_t<float> logprobs(n), weights(n);
  for (py::ssize_t i = 0; i < n; ++i) {
    const Candidate& candidate = kept[static_cast<size_t>(i)];
    tokens.mutable_data()[i] = candidate.token;
    logprobs.mutable_data()[i] = candidate.logprob;
    weights.mutable_data()[i] = candidate.weight;
  }
  return py::make_tuple(tokens, logprobs, weights);
}

py::tuple rows_to_arrays(const Dense<float>& rows, float temperature, int32_t top_k, float top_p,
                         float min_p) {
  if (rows.ndim() != 2) {
    throw InvalidArgument("rows must have two dimensions, got " + std::to_string(rows.ndim()));
  }
  if (rows.shape(1) > INT32_MAX) throw InvalidArgument("rows have more than 2^31 - 1 entries");
  const auto vocabulary = static_cast<int32_t>(rows.shape(1));
  const SamplingOptions options{temperature, top_k, top_p, min_p};
  std::vector<RowRequest> requests;
  for (py::ssize_t i = 0; i < rows.shape(0); ++i) requests.push_back({rows.data(i, 0), options});
  std::vector<RowResult> results;
  {
    py::gil_scoped_release release;
    logits_rows(requests, vocabulary, results);
  }
  py::array_t<int64_t> begins(static_cast<py::ssize_t>(results.size() + 1));
  int64_t total = 0;
  for (size_t i = 0; i < results.size(); ++i) {
    if (!results[i].error.empty()) {
      throw NotFinite("row " + std::to_string(i) + ": " + results[i].error);
    }
    begins.mutable_data()[i] = total;
    total += static_cast<int64_t>(results[i].candidates.size());
  }
  begins.mutable_data()[results.size()] = total;
  py::array_t<int32_t> tokens(static_cast<py::ssize_t>(total));
  py::array_t<float> logprobs(static_cast<py::ssize_t>(total));
  py::array_t<float> weights(static_cast<py::ssize_t>(total));
  int64_t place = 0;
  for (const RowResult& result : results) {
    for (const Candidate& candidate : result.candidates) {
      tokens.mutable_data()[place] = candidate.token;
      logprobs.mutable_data()[place] = candidate.logprob;
      weights.mutable_data()[place++] = candidate.weight;
    }
  }
  return py::make_tuple(tokens, logprobs, weights, begins);
}

py::tuple gumbel_to_arrays(const Dense<double>& weights, int32_t k, uint64_t key,
                           uint64_t counter) {
  const auto span = span_of(weights, "weights");
  std::vector<GumbelDraw> draws;
  {
    py::gil_scoped_release release;
    draws = gumbel_top_k(span, k, key, counter);
  }
  const auto n = static_cast<py::ssize_t>(draws.size());
  py::array_t<int32_t> indices(n);
  py::array_t<double> scores(n);
  for (py::ssize_t i = 0; i < n; ++i) {
    indices.mutable_data()[i] = draws[static_cast<size_t>(i)].index;
    scores.mutable_data()[i] = draws[static_cast<size_t>(i)].score;
  }
  return py::make_tuple(indices, scores);
}

int32_t pick_index(const Dense<double>& weights, double uniform) {
  const auto span = span_of(weights, "weights");
  py::gil_scoped_release release;
  return pick(span, uniform);
}

int32_t blend_index(const Dense<int32_t>& tokens, const Dense<float>& logprobs,
                    const Dense<double>& rewards, double weight) {
  const auto ids = span_of(tokens, "tokens");
  const auto own = span_of(logprobs, "logprobs");
  const auto given = span_of(rewards, "rewards");
  if (ids.size() != own.size()) {
    throw InvalidArgument("blend got " + std::to_string(ids.size()) + " tokens and " +
                          std::to_string(own.size()) + " logprobs");
  }
  py::gil_scoped_release release;
  std::vector<Candidate> candidates(ids.size());
  for (size_t i = 0; i < ids.size(); ++i) candidates[i] = {ids[i], own[i], 0.0f};
  return blend(candidates, given, weight);
}

constexpr const char* kRowDoc = R"(Candidates of the next token from one row of logits.

Steps in the order of transformers and vLLM: temperature, top_k, top_p, min_p.

Args:
    row: float32 [vocabulary]. -inf marks a masked token, which is never kept.
    temperature: finite, >= 0; 0 keeps the argmax alone.
    top_k: >= 0; 0 keeps every token. Ties at the cut go to the lower token ids.
    top_p: in (0, 1]; the smallest prefix of at least this mass stays, at least one token.
    min_p: in [0, 1); tokens below this fraction of the largest probability go.

Returns:
    (tokens int32 [n], logprobs float32 [n], weights float32 [n]) by descending logit, ties by
    lower token id. logprobs are the log-softmax of the whole row, untempered; weights sum to 1.

Raises:
    TypeError: row has another number type.
    ValueError: an option is out of range, or row is empty or not one-dimensional.
    NotFinite: an entry is NaN or +inf (the message names it), or all are -inf.
)";

constexpr const char* kRowsDoc = R"(As logits_row, for many rows in one call over the threads.

Args:
    rows: float32 [n, vocabulary].
    temperature, top_k, top_p, min_p: as for logits_row, the same for all rows.

Returns:
    (tokens int32 [m], logprobs float32 [m], weights float32 [m], begins int64 [n + 1]): the
    candidates of row i are at begins[i] ... begins[i + 1]. No row depends on the others or on the
    number of threads.

Raises:
    ValueError: an option is out of range, or rows have no entries or not two dimensions.
    NotFinite: an entry is NaN or +inf or a row is -inf throughout; the message names the row.
)";

constexpr const char* kGumbelDoc = R"(Draws k distinct candidates without replacement.

Gumbel-top-k of Kool, van Hoof and Welling (ICML 2019). The noise of candidate i depends on
(key, counter, i) only.

Args:
    weights: [n], finite and >= 0; they need not sum to 1. Zero weights are never drawn.
    k: >= 0.
    key, counter: 64-bit integers.

Returns:
    (indices int32 [m], scores float64 [m]) by descending score = log(weight) + noise, where
    m = min(k, number of positive weights).

Raises:
    ValueError: k < 0 or a negative weight.
    NotFinite: a weight is NaN or infinite.
)";

constexpr const char* kPickDoc =
    R"(Index at which the running sum of weights exceeds uniform * total.

Never an entry of weight 0. weights: [n], finite and >= 0; uniform: in [0, 1).
Raises ValueError if uniform is out of range, a weight is negative or none is positive, and
NotFinite if a weight or the sum is NaN or infinite.
)";

constexpr const char* kBlendDoc =
    R"(Index of the largest logprob + weight * reward, ties by lower token id.

tokens, logprobs, rewards: [n], n >= 1; weight: finite. A logprob of -inf loses to any other.
Raises NotFinite for a reward that is NaN or infinite or a logprob that is NaN or +inf, and
ValueError for empty or unequal lengths or a weight that is not finite.
)";

}  // namespace

void bind_logits_row(py::module_& module) {
  using namespace pybind11::literals;
  module.def("logits_row", &row_to_arrays<float>, "row"_a, "temperature"_a = 1.0f, "top_k"_a = 0,
             "top_p"_a = 1.0f, "min_p"_a = 0.0f, kRowDoc);
  module.def("logits_row_bfloat16", &row_to_arrays<uint16_t>, "row"_a, "temperature"_a = 1.0f,
             "top_k"_a = 0, "top_p"_a = 1.0f, "min_p"_a = 0.0f,
             "As logits_row, for a row of bfloat16 numbers given by their bits: uint16 "
             "[vocabulary].");
  module.def("logits_rows", &rows_to_arrays, py::arg("rows").noconvert(), "temperature"_a = 1.0f,
             "top_k"_a = 0, "top_p"_a = 1.0f, "min_p"_a = 0.0f, kRowsDoc);
  module.def("gumbel_top_k", &gumbel_to_arrays, "weights"_a, "k"_a, "key"_a, "counter"_a,
             kGumbelDoc);
  module.def("pick", &pick_index, "weights"_a, "uniform"_a, kPickDoc);
  module.def("blend", &blend_index, "tokens"_a, "logprobs"_a, "rewards"_a, "weight"_a, kBlendDoc);
  module.def("philox_uniform", &philox_uniform, "key"_a, "counter_low"_a, "counter_high"_a,
             "A float in [0, 1) with 53 random bits, a pure function of three 64-bit integers "
             "(Philox4x32-10; Salmon et al., SC 2011).");
}

}  // namespace treeward::bindings
