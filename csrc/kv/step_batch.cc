#include "kv/step_batch.h"

#include <algorithm>
#include <limits>

#include "common/errors.h"

namespace treeward {

StepBatch::~StepBatch() {
  if (open_) abort();
}

int32_t StepBatch::cost(const State& state) const {
  const int32_t leaf = tree_.resolve(state);
  int32_t rows = 0;
  int32_t upto = state.length;
  for (int32_t index = leaf; index >= 0; index = tree_.span(index).parent) {
    const Span& span = tree_.span(index);
    rows += std::max(0, upto - span.start - span.scheduled);
    upto = span.start;
  }
  if (rows > 0) return rows;
  const int32_t local = state.length - 1 - tree_.span(leaf).start;
  const int32_t number = leaf < static_cast<int32_t>(touched_of_.size()) ? touched_of_[leaf] : -1;
  if (number < 0) return 1;
  const Touched& touched = touched_[number];
  const bool here = local >= touched.first_row ||
                    std::binary_search(touched.again.begin(), touched.again.end(), local);
  return here ? 0 : 1;
}

int32_t StepBatch::touch(int32_t index) {
  if (index >= static_cast<int32_t>(touched_of_.size())) touched_of_.resize(index + 1, -1);
  if (touched_of_[index] >= 0) return touched_of_[index];
  const Span& span = tree_.span(index);
  const int32_t number = static_cast<int32_t>(touched_.size());
  touched_of_[index] = number;
  touched_.push_back(Touched{index, -1, span.scheduled, 0, {}, {}, 0});
  tree_.lock(index);
  return number;
}

bool StepBatch::add(const State& state) {
  if (!open_ || finished_) throw Error("the batch is finished");
  const int32_t rows = cost(state);
  std::vector<int32_t> path;  // leaf to root
  for (int32_t index = tree_.resolve(state); index >= 0; index = tree_.span(index).parent) {
    path.push_back(index);
  }
  // Locked as a whole first: making room for the leaf must not evict the root.
  for (int32_t index : path) tree_.lock(index);
  std::vector<std::pair<int32_t, int32_t>> before;  // span, scheduled; root to leaf
  bool fits = true;
  for (auto it = path.rbegin(); it != path.rend() && fits; ++it) {
    const Span& span = tree_.span(*it);
    const int32_t need = std::min(span.end(), state.length) - span.start;
    if (need <= span.scheduled) continue;
    before.emplace_back(*it, span.scheduled);
    fits = tree_.schedule(*it, need);
    if (!fits) before.pop_back();
  }
  if (!fits) {
    for (const auto& [index, scheduled] : before) {
      // Rows of states added earlier keep their slots.
      tree_.truncate_schedule(index, scheduled);
    }
    for (int32_t index : path) tree_.unlock(index);
    return false;
  }
  int32_t parent = -1;
  auto grown = before.begin();
  for (auto it = path.rbegin(); it != path.rend(); ++it) {
    const bool grew = grown != before.end() && grown->first == *it;
    const bool fresh = *it >= static_cast<int32_t>(touched_of_.size()) || touched_of_[*it] < 0;
    const int32_t number = touch(*it);
    Touched& touched = touched_[number];
    const Span& span = tree_.span(*it);
    if (fresh) {
      touched.parent = parent;
      if (grew) touched.first_row = grown->second;
      if (parent >= 0) {
        touched_[parent].children.push_back(number);
      } else {
        roots_.push_back(number);
      }
    }
    touched.last_seen =
        std::max(touched.last_seen, std::min(span.end(), state.length) - span.start);
    if (grew) ++grown;
    parent = number;
  }
  Touched& leaf = touched_[parent];
  const int32_t local = state.length - 1 - tree_.span(leaf.span).start;
  if (local < leaf.first_row) {
    const auto place = std::lower_bound(leaf.again.begin(), leaf.again.end(), local);
    if (place == leaf.again.end() || *place != local) leaf.again.insert(place, local);
  }
  wanted_.push_back(Wanted{parent, local});
  total_cost_ += rows;
  for (int32_t index : path) tree_.unlock(index);
  return true;
}

void StepBatch::emit_rows(Touched& touched) {
  const Span& span = tree_.span(touched.span);
  touched.row_begin = static_cast<int32_t>(row_tokens_.size());
  const auto emit = [&](int32_t local, int32_t slot) {
    row_tokens_.push_back(span.tokens[local]);
    row_positions_.push_back(span.start + local);
    plan_.append_slots.push_back(slot);
  };
  // A row that reads its key again writes nothing: the slot holds the same numbers already.
  for (int32_t local : touched.again) emit(local, -1);
  for (int32_t local = touched.first_row; local < touched.last_seen; ++local) {
    emit(local, span.slots[local]);
  }
}

void StepBatch::emit_items(const Touched& touched, int32_t subtree_end) {
  const Span& span = tree_.span(touched.span);
  int32_t local = 0;
  while (local < touched.last_seen) {
    const int32_t position = span.start + local;
    const int32_t chunk_end = (position / kChunkTokens + 1) * kChunkTokens;
    const int32_t n = std::min(touched.last_seen, chunk_end - span.start) - local;
    // Own rows before the chunk do not see it; they come first and in order of position.
    int32_t query = touched.row_begin;
    while (query < subtree_end && row_positions_[query] < position) ++query;
    if (query < subtree_end) {
      WorkItem item;
      item.query_begin = query;
      item.query_end = subtree_end;
      item.slot_begin = static_cast<int32_t>(plan_.slots.size());
      item.n_tokens = n;
      item.position = position;
      item.partial_begin = plan_.n_partials;
      plan_.slots.insert(plan_.slots.end(), span.slots.begin() + local,
                         span.slots.begin() + local + n);
      const int32_t n_rows = item.query_end - item.query_begin;
      if (n_rows > std::numeric_limits<int32_t>::max() - plan_.n_partials) {
        throw InvalidArgument(
            "the batch has too many tokens: read a prompt of this length in parts");
      }
      plan_.n_partials += n_rows;
      plan_.items.push_back(item);
    }
    local += n;
  }
}

void StepBatch::finish(int32_t pad_to) {
  if (pad_to < 1) throw InvalidArgument("pad_to must be at least 1");
  if (!open_ || finished_) throw Error("the batch is finished");
  finished_ = true;
  // Depth first without recursion: rows on the way down, then the items, whose query range ends
  // where the span's subtree of rows ends.
  struct Frame {
    int32_t number;
    size_t next_child;
  };
  std::vector<int32_t> order;
  std::vector<int32_t> subtree_end(touched_.size());
  for (int32_t root : roots_) {
    std::vector<Frame> stack = {{root, 0}};
    order.push_back(root);
    emit_rows(touched_[root]);
    while (!stack.empty()) {
      Frame& frame = stack.back();
      const Touched& touched = touched_[frame.number];
      if (frame.next_child < touched.children.size()) {
        const int32_t child = touched.children[frame.next_child++];
        order.push_back(child);
        emit_rows(touched_[child]);
        stack.push_back({child, 0});
      } else {
        subtree_end[frame.number] = static_cast<int32_t>(row_tokens_.size());
        stack.pop_back();
      }
    }
  }
  n_rows_ = static_cast<int32_t>(row_tokens_.size());
  for (int32_t number : order) emit_items(touched_[number], subtree_end[number]);

  for (const Wanted& wanted : wanted_) {
    const Touched& touched = touched_[wanted.touched];
    int32_t row;
    if (wanted.local < touched.first_row) {
      row = touched.row_begin +
            static_cast<int32_t>(
                std::lower_bound(touched.again.begin(), touched.again.end(), wanted.local) -
                touched.again.begin());
    } else {
      row = touched.row_begin + static_cast<int32_t>(touched.again.size()) + wanted.local -
            touched.first_row;
    }
    state_rows_.push_back(row);
  }

  plan_.query_position = row_positions_;
  while (static_cast<int32_t>(row_tokens_.size()) % pad_to != 0) {
    row_tokens_.push_back(row_tokens_.empty() ? 0 : row_tokens_.front());
    row_positions_.push_back(0);
    plan_.query_position.push_back(-1);
    plan_.append_slots.push_back(-1);
  }
  plan_.n_rows = static_cast<int32_t>(row_tokens_.size());
  plan_.reduce_begin.assign(plan_.n_rows + 1, 0);
  for (const WorkItem& item : plan_.items) {
    for (int32_t q = item.query_begin; q < item.query_end; ++q) ++plan_.reduce_begin[q + 1];
  }
  for (int32_t q = 0; q < plan_.n_rows; ++q) plan_.reduce_begin[q + 1] += plan_.reduce_begin[q];
  plan_.reduce_partials.resize(plan_.n_partials);
  std::vector<int32_t> cursor(plan_.reduce_begin.begin(), plan_.reduce_begin.end() - 1);
  for (const WorkItem& item : plan_.items) {
    for (int32_t q = item.query_begin; q < item.query_end; ++q) {
      plan_.reduce_partials[cursor[q]++] = item.partial_begin + (q - item.query_begin);
    }
  }
  plan_.number = new_plan_number();
}

void StepBatch::commit() {
  if (!open_) throw Error("the batch is closed");
  if (!finished_) throw Error("finish() the batch before commit()");
  for (const Touched& touched : touched_) {
    if (touched.parent >= 0) count_prompt(touched);
  }
  for (const Touched& touched : touched_) {
    const Span& span = tree_.span(touched.span);
    const int32_t rows = std::max(0, span.scheduled - touched.first_row);
    const int32_t again = static_cast<int32_t>(touched.again.size());
    const int32_t repeated = repeated_rows(touched);
    // Rows of a shared prompt block are charged to the tree whose prompt asked for them.
    const int32_t payer = span.tree >= 0 ? span.tree : payer_of(touched);
    TokenCounts& counts = tree_.tree_counts(payer);
    counts.computed += rows + again;
    counts.recomputed += repeated + again;
    counts.unique += rows - repeated;
    tree_.make_resident(touched.span, span.scheduled);
  }
  close();
}

int32_t StepBatch::payer_of(const Touched& touched) const {
  int32_t number = touched_of_[touched.span];
  while (tree_.span(touched_[number].span).tree < 0) number = touched_[number].children.front();
  return tree_.span(touched_[number].span).tree;
}

int32_t StepBatch::repeated_rows(const Touched& touched) const {
  const Span& span = tree_.span(touched.span);
  return std::max(0, std::min(span.ever, span.scheduled) - touched.first_row);
}

// The first rows of a tree tell which blocks of its prompt it owes to another one. Of those that it
// computes itself all rows are its first, even where another tree had computed them long ago.
void StepBatch::count_prompt(const Touched& touched) {
  const int32_t tree = tree_.span(touched.span).tree;
  int32_t number = touched.parent;
  if (tree < 0 || tree_.span(touched_[number].span).tree >= 0) return;
  if (!tree_.prompt_uncounted(tree)) return;
  for (; number >= 0; number = touched_[number].parent) {
    const Touched& block = touched_[number];
    const bool paid = block.first_row < kBlockTokens && payer_of(block) == tree;
    TokenCounts& counts = tree_.tree_counts(tree);
    if (!paid) {
      counts.reused += kBlockTokens;
    } else {
      counts.unique += repeated_rows(block);
      counts.recomputed -= repeated_rows(block);
    }
  }
}

void StepBatch::abort() {
  if (!open_) return;
  for (const Touched& touched : touched_) tree_.unschedule(touched.span);
  close();
}

void StepBatch::close() {
  open_ = false;
  tree_.close_batch();
  for (const Touched& touched : touched_) tree_.unlock(touched.span);
}

}  // namespace treeward
