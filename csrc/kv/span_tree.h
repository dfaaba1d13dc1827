// The page table as a tree: every run of tokens that all its continuations share is one span.
//
//   root span (prompt)        [ 4 5 6 10 -> 24 \n ]            start 0
//                               /              \.
//   child spans       [ 10 - 4 = 6 ... ]   [ 5 * 6 = 30 ... ]   start 8
//
// A state is (span, length): the model after the first `length` tokens of the path that ends in
// that span. Forking a state is copying that pair. Extending it by a token walks the tree first:
// a token that is already there is found, never stored or computed again; a token that differs
// splits the span at that point (two spans, no key or value moves) and starts a sibling.
// A split keeps the tail under the old number and gives the head a new one, so a state stays
// valid: it is resolved by climbing while its length ends above the span.
//
//   split of S at 3:   S[a b c d e]   ->   H[a b c] -- S[d e]      state (S, 2) resolves to H
//
// The tokens of a span stay when its keys and values are evicted: coming back recomputes them.
//
// Prompts share across trees in blocks of kBlockTokens: a block is a span of exactly that many
// tokens, found by (parent, hash of its tokens) and then by comparing the tokens themselves.
// Sharing at block boundaries only keeps the chunks of attention the same whether a prompt was
// shared or not, so a tree never depends on who else was there.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <utility>
#include <vector>

#include "common/huge_page_allocator.h"
#include "kv/block_hash.h"
#include "kv/eviction_queue.h"
#include "kv/page_pool.h"
#include "kv/span_index.h"

namespace treeward {

/// A language-model state: the first `length` tokens of the path through `span`.
struct State {
  int32_t span = -1;
  uint32_t generation = 0;
  int32_t length = 0;
};

/// What a tree's tokens cost in one model, in tokens.
struct TokenCounts {
  int64_t unique = 0;      // distinct tokens that were computed at least once for this tree
  int64_t computed = 0;    // rows sent through the model, repeats included
  int64_t recomputed = 0;  // of those, rows that had been computed before (evicted, or asked again)
  int64_t reused = 0;      // prompt tokens of shared blocks that another tree computed
};

/// A run of tokens on the paths of a tree.
///
///     tokens   [ a b c d e f g h ]          the text of the span, kept for good
///     slots    [ 9 10 11 30 31 32 ]         scheduled = 6: rows of the open batch are the last two
///     resident |------->|                   = 4: keys and values are there
///     kept     |--->|                       = 2: the search discarded what lies behind
struct alignas(64) Span {
  static constexpr int32_t kAll = std::numeric_limits<int32_t>::max();

  int32_t parent = -1;
  uint32_t generation = 0;
  int32_t tree = -1;      // owner; kSharedTree for prompt blocks
  int32_t start = 0;      // position of tokens[0] on its path
  int32_t resident = 0;   // tokens [0, resident) have keys and values
  int32_t scheduled = 0;  // tokens [0, scheduled) have slots: resident, or rows of the open batch
  int32_t ever = 0;       // tokens [0, ever) were resident at some time
  int32_t kept = kAll;    // tokens [kept, end) were discarded by the search: evicted first
  int32_t locks = 0;      // paths of the open batch through this span
  int32_t resident_children = 0;
  int32_t users = 0;       // prompt blocks: trees that hold them
  int64_t tick = 0;        // last use, for eviction
  uint64_t block_key = 0;  // prompt blocks: key in the index
  // Children as a list through their siblings: one is taken out without a search.
  int32_t first_child = -1, next_sibling = -1, previous_sibling = -1;
  bool live = false;
  std::vector<int32_t> tokens;
  std::vector<int32_t> slots;  // [scheduled] pool slot of each token

  /// Whether tokens that the search discarded still have keys and values.
  bool holds_discarded() const { return resident > kept; }
  int32_t end() const { return start + static_cast<int32_t>(tokens.size()); }
};
static_assert(sizeof(Span) == 128, "two cache lines");

class SpanTree {
 public:
  SpanTree(int32_t n_pages, int32_t page_size);

  // ---- trees
  /// Starts a tree for a prompt of at least one token; whole blocks of it are shared with other
  /// trees. Returns the tree's number.
  int32_t open_tree(const std::vector<int32_t>& prompt);
  /// The state after the prompt.
  State root(int32_t tree) const;
  /// Frees every span and page of the tree; shared prompt blocks stay until evicted.
  void close_tree(int32_t tree);
  const TokenCounts& counts(int32_t tree) const;
  /// Forgets prompt blocks computed so far (the weights changed): later trees match none of them.
  void new_version() { ++version_; }

  // ---- states
  /// The state one token further. `existed` tells whether that token was in the tree already.
  State extend(const State& state, int32_t token, bool* existed = nullptr);
  /// The state some tokens further: those that are there are followed, the rest is added at once.
  State extend(const State& state, std::span<const int32_t> tokens);
  /// Marks what the search will hardly ask for again as first to be evicted: all behind the first
  /// `kept` tokens of the state's path, on that path and below the state. Shared prompt blocks are
  /// never marked, as other trees may want them. It is a hint and costs no correctness: a token
  /// that is asked for again is computed again, and counts as wanted from then on.
  void discard(const State& state, int32_t kept);
  /// The same back to the last branching above the state: all that no other branch shares.
  void discard(const State& state);
  /// All tokens from the start of the prompt.
  std::vector<int32_t> tokens(const State& state) const;
  /// How many leading tokens of a state have keys and values now.
  int32_t resident(const State& state) const;
  /// Throws StaleHandle when the state's tree was closed, or is of another pool.
  void check(const State& state) const;
  /// How many leading tokens of a prompt are in shared blocks now (a multiple of kBlockTokens).
  int32_t match(std::span<const int32_t> prompt) const;

  // ---- for the batch of a step (step_batch.h)
  /// While a batch is open the shape of the trees is frozen: what would change it raises Error.
  void open_batch();
  void close_batch() { batch_open_ = false; }
  /// Span that holds the last token of the state.
  int32_t resolve(const State& state) const;
  Span& span(int32_t index) { return spans_[index]; }
  const Span& span(int32_t index) const { return spans_[index]; }
  TokenCounts& tree_counts(int32_t tree) { return trees_[tree].counts; }
  /// True the first time it is called for a tree: its shared prompt is to be counted now.
  bool prompt_uncounted(int32_t tree) { return !std::exchange(trees_[tree].prompt_counted, true); }
  /// Gives slots to tokens [scheduled, upto) of a span, evicting unlocked leaves where needed.
  /// Returns false, with nothing changed but evictions, when the pool cannot hold them.
  bool schedule(int32_t index, int32_t upto);
  /// Takes back the slots of tokens [upto, scheduled).
  void truncate_schedule(int32_t index, int32_t upto);
  /// Takes back what schedule gave beyond `resident`.
  void unschedule(int32_t index) { truncate_schedule(index, spans_[index].resident); }
  /// Tokens [0, upto) are computed now.
  void make_resident(int32_t index, int32_t upto);
  void lock(int32_t index);
  void unlock(int32_t index);
  /// Evicts the span that is first in line, or its discarded part; false when none is evictable.
  bool evict_one();
  /// Evicts all that no open batch holds and closes half-used pages: the pool as empty as can be.
  void evict_all();

  const PagePool& pool() const { return pool_; }
  int64_t live_spans() const { return live_spans_; }
  int64_t evictions() const { return evictions_; }
  /// Verifies every invariant; throws Error naming the first that fails. For tests.
  void check_invariants() const;
  static constexpr int32_t kSharedTree = -2;

 private:
  struct Tree {
    bool live = false;
    bool prompt_counted = false;
    int32_t root_span = -1;
    int32_t first_own_span = -1;
    int32_t prompt_length = 0;
    int32_t open_page = -1;  // page that this tree's next token goes to
    int32_t open_used = 0;   // where in it the next free slot is looked for
    TokenCounts counts;
    std::vector<int32_t> spans;
    std::vector<int32_t> blocks;  // shared prompt blocks in use
  };

  int32_t new_span(int32_t parent, int32_t tree, int32_t start);
  void free_span(int32_t index);
  void link_child(int32_t parent, int32_t index);
  void unlink_child(int32_t index);
  void take_place_of(int32_t before, int32_t now);
  State follow(const State& state, std::span<const int32_t> tokens) const;
  State append(const State& state, std::span<const int32_t> tokens);
  void split(int32_t index, int32_t position);
  int32_t take_slot(int32_t tree);
  bool open_a_page(Tree& tree);
  bool close_idle_page();
  void evict(int32_t index);
  void drop_slots(Span& span, int32_t from);
  void refresh_evictable(int32_t index);
  void require_no_batch(const char* what) const;
  bool evictable(const Span& span) const;
  Tree& tree_of(int32_t tree);
  uint64_t block_key(int32_t parent, const int32_t* tokens) const;
  int32_t find_block(int32_t parent, const int32_t* tokens) const;

  PagePool pool_;
  const uint32_t first_generation_;  // of new spans; every pool has its own
  std::vector<Span, HugePageAllocator<Span>> spans_;
  std::vector<int32_t> free_spans_;
  std::vector<Tree> trees_;
  std::vector<int32_t> free_trees_;
  Tree shared_;              // writer of prompt blocks
  SpanIndex child_index_;    // (parent, first token) -> span
  SpanIndex block_index_;    // hash of parent, tokens and version -> prompt block
  EvictionQueue evictable_;  // leaf spans
  bool batch_open_ = false;
  int64_t tick_ = 0;
  int64_t live_spans_ = 0;
  int64_t evictions_ = 0;
  uint64_t version_ = 0;
};

}  // namespace treeward
