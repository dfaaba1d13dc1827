// From a row of logits to the candidates of the next token: log-probabilities of the model and
// weights of the sampling distribution, in one call and without sorting the vocabulary.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace treeward {

/// How the model's distribution is reshaped before drawing.
///
/// Order of the steps, as in transformers and vLLM: temperature, top_k, top_p, min_p.
struct SamplingOptions {
  float temperature = 1;  ///< finite and >= 0; 0 is greedy: only the argmax stays
  int32_t top_k = 0;      ///< >= 0; 0 or more than the vocabulary keeps every token
  float top_p = 1;        ///< in (0, 1]; mass of the tempered distribution after top_k
  float min_p = 0;        ///< in [0, 1); fraction of the largest probability
};

/// One kept token.
struct Candidate {
  int32_t token;
  float logprob;  ///< log-softmax of the model's own distribution: untempered, untruncated
  float weight;   ///< probability under the sampling distribution; sums to 1 over the kept
};

/// Throws InvalidArgument unless every field is within the range that SamplingOptions states.
void check_sampling_options(const SamplingOptions& options);

/// Appends the kept candidates of one row to `out` and returns how many they are (>= 1).
///
/// Candidates come by descending logit; equal logits by ascending token id, which also decides
/// who stays when top_k cuts through a tie (exactly top_k are kept). Entries of -inf are masked
/// tokens and are never kept. A kept token may have weight 0 where its tempered probability
/// underflows; its logprob is finite all the same. The mass compared with top_p and the ratio
/// compared with min_p are taken up to the resolution of float, so that top_p = 0.3 keeps three
/// of ten equal tokens.
///
/// `logits` holds `vocabulary` > 0 floats. The log-sum-exp behind `logprob` is accurate to 1e-6
/// for rows of 150 thousand entries. Throws InvalidArgument for a bad option or vocabulary and
/// NotFinite for a NaN or +inf entry (naming its index) or a row that is -inf throughout; `out`
/// is then unchanged. Safe to call from several threads at once.
int32_t logits_row(const float* logits, int32_t vocabulary, const SamplingOptions& options,
                   std::vector<Candidate>& out);

/// The same for a row of bfloat16 numbers, given by their bits.
int32_t logits_row(const uint16_t* logits, int32_t vocabulary, const SamplingOptions& options,
                   std::vector<Candidate>& out);

/// Whether these options leave every token that is not masked, at its tempered weight. Then a
/// draw is best served by row_totals and ranked_candidates, which sort only what it reaches.
bool keeps_every_token(const SamplingOptions& options, int32_t vocabulary);

/// What is known of a row before any of it is sorted.
struct RowTotals {
  float largest = 0;         ///< the maximum of the logits
  double log_mass = 0;       ///< log of the sum of e^(x - largest)
  double tempered_mass = 1;  ///< sum of e^((x - largest) / temperature), to 1e-6
  float least_drawn = 0;     ///< below this logit a probability vanishes in a float
  int32_t n_finite = 0;      ///< entries that are not masked
  int32_t n_drawn = 0;       ///< entries that reach least_drawn
};

/// Totals of a row of `vocabulary` floats at a temperature above 0. Throws as logits_row.
RowTotals row_totals(const float* logits, int32_t vocabulary, float temperature);

/// Appends the candidates of rank [first, last) in the order of logits_row, or as many as there
/// are. Log-probabilities are those of logits_row; a weight is the tempered probability, positive
/// for exactly the first n_drawn ranks.
void ranked_candidates(const float* logits, int32_t vocabulary, float temperature,
                       const RowTotals& totals, int32_t first, int32_t last,
                       std::vector<Candidate>& out);

/// Threads worth waking for so many rows of a vocabulary, at least 1.
int threads_for_rows(int64_t n_rows, int32_t vocabulary);

/// One row of a batch, and what came of it.
struct RowRequest {
  const float* logits;
  SamplingOptions options;
};
struct RowResult {
  std::vector<Candidate> candidates;
  std::string error;  ///< why a row that is not finite was refused, else empty
};

/// logits_row over many rows of one vocabulary on the shared thread pool. `out` gets one result a
/// row; none depends on the number of threads. Throws InvalidArgument as logits_row.
void logits_rows(std::span<const RowRequest> rows, int32_t vocabulary, std::vector<RowResult>& out);

}  // namespace treeward
