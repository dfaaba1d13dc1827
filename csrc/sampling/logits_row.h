// From a row of logits to the candidates of the next token: log-probabilities of the model and
// weights of the sampling distribution, in one call and without sorting the vocabulary.
#pragma once

#include <cstdint>
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

}  // namespace treeward
