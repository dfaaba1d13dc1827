// Draws of segments from a language model, which is asked about a prefix once, as a rule.
//
// Every tree keeps a trie of the prefixes drawn so far, each with the distribution of its next
// token. A draw is a walker on the trie: where the distribution is known it moves on at no cost,
// where it is not it waits for one row of logits. So ten draws that begin alike share their
// beginning exactly, and a later draw pays only for the tokens in which it differs.
//
//   prefix        token  left  next tokens (token, weight -> child)
//   0 (prompt)      -     1    [10 .50 -> 1] [5 .30 -> 4] [6 .20 -> none]
//   1              10    .30   [-  .70 -> 2] [* .30 -> none]
//   2               -     0    ... a finished segment: closed
//
// Draws without replacement follow Shi, Bieber and Sutton ("Incremental sampling without
// replacement for sequence models", ICML 2020): `left` is the part of a prefix's probability that
// finished draws have not used up; a walker chooses among what is left, so each distinct segment
// comes back at most once and in proportion to its probability. Draws under way at once stand in
// line: a later one walks ahead on what is left now, and each time an earlier one finishes it
// walks again with the same random numbers. So ten draws asked for together are exactly the ten
// that would have come one after another.
//
// Rows of logits are large, so each tree keeps the newest of them alone. A walker that wants a
// token beyond what is ranked of an older one waits until the model has computed it once more,
// which costs a row and charges nothing. Which rows are kept depends on the tree alone.
//
// The random number of a choice depends on the tree's seed, the tokens before the segment, the
// number of the draw under that node and the number of the choice, and on nothing else.
#pragma once

#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "kv/step_batch.h"
#include "sampling/logits_row.h"
#include "sampling/next_tokens.h"

namespace treeward {

enum class DrawMode : uint8_t {
  kSample,    // independent draws; the same segment may come back
  kDistinct,  // without replacement among the segments that begin at this prefix
  kGreedy,    // the most probable token each time
  kTop,       // the most probable next tokens, one segment of one token each
};

/// Why a segment ended. Three different things: a step's delimiter, the end of the sequence, and
/// a cut by length, which finishes nothing.
enum class SegmentEnd : uint8_t { kStop, kEos, kLength };

/// When a segment ends: always at the end of a token, which belongs to it.
struct SegmentRules {
  std::vector<std::vector<int32_t>> delimiters;  // token sequences that close a step
  std::vector<std::string> texts;  // texts that close one, however its tokens spell them
  std::vector<int32_t> eos;        // tokens that end the sequence
  int32_t max_step_tokens = 256;   // a longer step is cut
  int32_t max_path_tokens = 4096;  // prompt and answer together
  bool ask_after_token = false;  // a rule outside (a regular expression) is asked after each token
};

struct FinishedSegment {
  int64_t request = 0;
  int32_t tree = 0;
  int32_t draw = 0;
  int32_t prefix = -1;  // where the segment ends; -1: nothing was left to draw
  SegmentEnd end = SegmentEnd::kStop;
  double logprob = 0;  // of the segment under the model, untempered
  std::vector<int32_t> tokens;
};

/// A walker that waits for the outside rule to say whether its segment ends here.
struct EndQuestion {
  int32_t tree = 0;
  int32_t walker = 0;
  std::vector<int32_t> tokens;  // the step so far, also where the segment began inside it
};

class SegmentDraws {
 public:
  static constexpr int64_t kRowBytes = 64 << 20;

  /// Each tree keeps rows of logits up to `row_bytes`, and always the last one.
  explicit SegmentDraws(SpanTree& spans, int64_t row_bytes = kRowBytes)
      : spans_(spans), row_bytes_(row_bytes) {}

  /// Opens a tree for a prompt; its number is that of the tree of spans. Prefix 0 is the prompt.
  int32_t open(const std::vector<int32_t>& prompt, uint64_t seed, SegmentRules rules,
               SamplingOptions sampling);
  void close(int32_t tree);
  /// What each token adds to a text; rules with texts need it. Tokens beyond it add nothing.
  void set_token_texts(std::vector<std::string> texts) { token_texts_ = std::move(texts); }

  /// Starts draws number first_draw .. first_draw + count - 1 after a prefix. `max_tokens` > 0
  /// cuts each segment there instead of at the rule's length. A prefix that fills the path
  /// already has nothing left to draw.
  void expand(int32_t tree, int64_t request, int32_t prefix, DrawMode mode, int32_t count,
              int32_t first_draw, int32_t max_tokens);
  /// Drops every walker of the tree. What was drawn stays.
  void cancel(int32_t tree);

  /// Freezes what waits now as the rows of this step; what waits later is of the next step.
  void begin_step(int32_t tree);
  /// Adds prefixes of this step to the batch while the rows of the batch stay within `batch_rows`,
  /// the pool has room, and the tree's charge stays within `limit`: the rows that these prefixes
  /// would cost a tree alone in a pool with room, so that it depends on no other tree. Takes what
  /// they are charged from `limit` and appends their numbers to `added`.
  enum class Collected : uint8_t { kAll, kRowLimit, kBatchFull, kPoolFull };
  Collected collect(int32_t tree, StepBatch& batch, int64_t& limit, int64_t batch_rows,
                    std::vector<int32_t>& added);
  /// Gives prefixes their logits, row i at logits + i * row_stride. The rows are read on the shared
  /// thread pool.
  struct Supplied {
    int32_t tree, prefix;
  };
  struct Refused {
    int32_t tree;
    std::string reason;
  };
  /// Returns the trees of rows that hold NaN or infinite logits; those prefixes stay unknown.
  std::vector<Refused> supply(std::span<const Supplied> prefixes, const float* logits,
                              int64_t row_stride, int32_t vocabulary);
  /// The same for one prefix; NaN or infinite logits raise NotFinite.
  void supply(int32_t tree, int32_t prefix, const float* logits, int32_t vocabulary);
  /// Moves the walkers of the prefixes that were supplied, one after the other. Only here: where
  /// they go splits the paths of rows that are still to be computed, and how a step was cut into
  /// batches must not show.
  void end_step(int32_t tree);

  bool waiting(int32_t tree) const;
  /// Length in tokens of the next path that waits in this step; 0 when none does.
  int32_t next_length(int32_t tree) const;
  std::vector<FinishedSegment> take_finished();
  std::vector<EndQuestion> take_questions();
  void answer(int32_t tree, int32_t walker, bool ends);

  /// Computed tokens that no finished segment goes through.
  int64_t wasted(int32_t tree) const;

  State state(int32_t tree, int32_t prefix) const;
  /// Tokens from the start of the prompt to a prefix.
  std::vector<int32_t> tokens(int32_t tree, int32_t prefix) const;
  /// Marks a prefix that the search has given up as first to be evicted, with all below it and
  /// the tokens above it that lead nowhere else: back to where another branch parts, or to the
  /// next prefix above that a draw started from or a segment ended at.
  void discard(int32_t tree, int32_t prefix);

 private:
  struct Prefix {
    int32_t parent = -1;
    int32_t token = -1;
    int32_t length = 0;  // tokens from the start of the prompt
    int32_t next = -1;   // its distribution in Tree::distributions; -1: unknown
    int32_t n_open = 0;  // choices below which draws without replacement have something left
    int32_t first_child = -1, next_sibling = -1;
    uint64_t hash = 0;  // of the tokens, for the seed
    State state;
    float logprob = 0;
    float weight = 1;  // under the sampling distribution, given the prefix before it
    double left = 1;   // part of it that finished draws have not used up
    bool closed = false;
    bool is_waiting = false;
    bool used = false;  // on the path of a finished segment
    bool node = false;  // a draw started or a segment ended here
    bool ends_step = false;
    int8_t ends = -1;  // the outside rule: -1 not asked, 0 goes on, 1 ends here
    std::vector<int32_t> walkers;
  };
  struct Walker {
    int64_t request = 0;
    DrawMode mode = DrawMode::kSample;
    int32_t draw = 0;
    int32_t start = 0;
    int32_t prefix = 0;
    int32_t max_tokens = 0;
    uint32_t choices_made = 0;
    int32_t waits_at = -1;  // prefix whose logits it waits for
    bool live = false;
    bool asked = false;   // waits for an answer
    bool again = false;   // walks again from its start once answered
    bool parked = false;  // at its end, behind an earlier draw
    int32_t end_prefix = -1;
    SegmentEnd end = SegmentEnd::kStop;
  };
  struct Tree {
    bool live = false;
    uint64_t seed = 0;
    SegmentRules rules;
    SamplingOptions sampling;
    std::vector<Prefix> prefixes;
    std::vector<NextTokens> distributions;
    std::deque<int32_t> rows;  // distributions that keep their row, oldest first
    std::vector<Walker> walkers;
    std::vector<int32_t> free_walkers;
    std::vector<int32_t> waiting;  // of the next step
    std::vector<int32_t> this_step;
    size_t next_of_step = 0;
    std::vector<int32_t> supplied;  // in this step
    // Draws without replacement under way, by the prefix they start from, first come first.
    std::unordered_map<int32_t, std::vector<int32_t>> lines;
    bool releasing = false;
  };

  Tree& tree_of(int32_t tree);
  const Tree& tree_of(int32_t tree) const;
  const Prefix& prefix_of(const Tree& tree, int32_t prefix) const;
  void walk(int32_t number, int32_t walker);
  int32_t choose(Tree& tree, Walker& walker);
  double left_below(const Tree& tree, const Choice& choice) const;
  void take_distribution(Tree& tree, int32_t prefix, NextTokens&& next);
  static bool wants_row(const Tree& tree, int32_t prefix);
  void keep_row(Tree& tree, int32_t distribution);
  int32_t child(Tree& tree, int32_t prefix, int32_t choice);
  /// Whether what comes after a prefix is of another step than its last token.
  static bool begins_step(const Tree& tree, int32_t prefix) {
    return prefix == 0 || tree.prefixes[prefix].ends_step;
  }
  bool closes(const Tree& tree, const Walker& walker, SegmentEnd* end) const;
  bool completes_text(const Tree& tree, const Walker& walker) const;
  bool cut(const Tree& tree, const Walker& walker) const;
  void settle(int32_t number, int32_t walker, int32_t prefix, SegmentEnd end);
  void release(int32_t number, int32_t start);
  void restart(int32_t number, int32_t walker);
  void emit(int32_t number, int32_t walker, int32_t prefix, SegmentEnd end);
  void close_branch(Tree& tree, int32_t prefix, int32_t start);
  void forget_outputs(int32_t number, bool finished_too);

  SpanTree& spans_;
  int64_t row_bytes_;
  std::vector<std::string> token_texts_;
  std::vector<Tree> trees_;
  std::vector<FinishedSegment> finished_;
  std::vector<EndQuestion> questions_;
};

}  // namespace treeward
