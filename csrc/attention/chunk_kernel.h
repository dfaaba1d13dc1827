// The kernel of a run of chunks: scores, softmax and weighted values of its rows.
// Included by the file of one instruction set, after its Vec. Nothing here may call an inline
// function of another header: the linker could keep the copy compiled for this set.
//
// Rows go through a chunk in groups, and a group through the two products in tiles:
//
//     keys (first level cache)   group: tile tile tile  ->  scores  ->  softmax
//     values (the same)          group: tile tile tile  ->  sums    ->  states of the rows
//
// A run of very few rows reads keys and values where they lie, without a panel, all rows at once.
#pragma once

#include "attention/chunk_rows.h"
#include "attention/combine.h"
#include "attention/elements.h"
#include "attention/kernels.h"
#include "attention/prefetcher.h"
#include "attention/softmax.h"
#include "attention/sums.h"
#include "attention/visibility.h"

namespace treeward::TREEWARD_ISA {

/// Rows of the next tile where some are left. Seven are better done as four and three than as six
/// and one.
inline int tile_rows(int64_t left) {
  return left == 7 ? 4 : left < kTileRows ? static_cast<int>(left) : kTileRows;
}

/// Tiles of less than kTileRows rows that for_tiles() makes of n rows, group by group.
inline int small_tiles(int64_t n) {
  int tiles = 0;
  for (int64_t left = n % kRowGroup; left > 0; left -= tile_rows(left)) {
    tiles += tile_rows(left) < kTileRows;
  }
  return tiles;
}

/// Calls fn<Rows>(first) for tiles of at most kTileRows rows that cover [0, n).
template <class Function>
inline void for_tiles(int n, Function&& fn) {
  static_assert(kTileRows == 6);
  for (int first = 0; first < n;) {
    const int rows = tile_rows(n - first);
    switch (rows) {
      case 1:
        fn.template operator()<1>(first);
        break;
      case 2:
        fn.template operator()<2>(first);
        break;
      case 3:
        fn.template operator()<3>(first);
        break;
      case 4:
        fn.template operator()<4>(first);
        break;
      case 5:
        fn.template operator()<5>(first);
        break;
      default:
        fn.template operator()<6>(first);
    }
    first += rows;
  }
}

/// A group of row-heads of a run and what they make of one chunk.
struct RowGroup {
  int n;
  KeyRange keys[kRowGroup];
  int64_t state[kRowGroup];
  float old_max[kRowRoom] = {};  // of the states
  float max[kRowRoom] = {}, sum[kRowRoom];
  StateUpdate updates[kRowGroup];
  float* scores;  // [kRowGroup][kChunkTokens]
  float* values;  // [kRowGroup][dim_padded]
};

/// Takes the maxima and sums of the group's scores into the states of its rows, and finds how the
/// weighted values are to be taken in.
inline void plan_updates(const PartialStates& states, RowGroup& group) {
  float max[kRowRoom], old_weight[kRowRoom], new_weight[kRowRoom];
  for (int r = 0; r < group.n; r += kLanes) {
    combine_weights(group.old_max + r, group.max + r, max + r, old_weight + r, new_weight + r);
  }
  for (int r = 0; r < group.n; ++r) {
    if (group.keys[r].empty()) continue;
    const int64_t at = group.state[r];
    // A state that saw a key has a sum of at least 1.
    const bool empty = states.sum[at] == 0.0f;
    group.updates[r] = {states.values + at * states.dim_padded, old_weight[r], new_weight[r],
                        empty};
    states.max[at] = empty ? group.max[r] : max[r];
    states.sum[at] =
        empty ? group.sum[r] : states.sum[at] * old_weight[r] + group.sum[r] * new_weight[r];
  }
}

/// Takes weighted values that lie in the group's buffer into the states of rows [first, end).
inline void add_values(const RowGroup& group, int first, int end, int dim_padded) {
  for (int r = first; r < end; ++r) {
    if (group.keys[r].empty()) continue;
    const StateUpdate& update = group.updates[r];
    const float* from = group.values + r * dim_padded;
    if (update.empty) {
      for (int d = 0; d < dim_padded; d += Vec::kWidth) {
        Vec::store(update.values + d, Vec::load(from + d));
      }
    } else {
      combine_values(update.old_weight, update.new_weight, update.values, from, dim_padded,
                     update.values);
    }
  }
}

/// Takes the weighted values of a tile into the states of its rows. Keys that all its rows see are
/// done together, the rest row by row; each row in rising order, whatever its neighbours see.
template <int Rows, class Panel>
inline void weigh_tile(const Panel& panel, RowGroup& group, int first, int dim_padded) {
  constexpr int kStep = Panel::kKeyStep;
  KeyRange together = group.keys[first];
  for (int r = 1; r < Rows; ++r) together = common(together, group.keys[first + r]);
  together.begin = (together.begin + kStep - 1) / kStep * kStep;
  together.end = together.end / kStep * kStep;
  const float* weights = group.scores + first * kChunkTokens;
  bool alike = !together.empty();
  for (int r = first; r < first + Rows; ++r) {
    alike = alike && group.keys[r].begin == together.begin && group.keys[r].end == together.end;
  }
  if (alike) {
    panel.template weigh<Rows>(weights, together, SumsInStates{group.updates + first});
    return;
  }
  if (together.empty()) together = {kChunkTokens, kChunkTokens};
  SumsInBuffer sums{group.values + first * dim_padded, dim_padded, true};
  for (int r = 0; r < Rows; ++r) {
    sums.fresh = sums.fresh && group.keys[first + r].begin >= together.begin;
  }
  for (int r = 0; r < Rows && !sums.fresh; ++r) {
    const KeyRange keys = group.keys[first + r];
    const KeyRange before{keys.begin, keys.end < together.begin ? keys.end : together.begin};
    SumsInBuffer row = sums.row(r);
    row.fresh = true;
    panel.template weigh<1>(weights + r * kChunkTokens, before, row);
  }
  panel.template weigh<Rows>(weights, together, sums);
  sums.fresh = false;
  for (int r = 0; r < Rows; ++r) {
    const KeyRange keys = group.keys[first + r];
    const KeyRange after{keys.begin > together.end ? keys.begin : together.end, keys.end};
    if (!after.empty()) panel.template weigh<1>(weights + r * kChunkTokens, after, sums.row(r));
  }
  add_values(group, first, first + Rows, dim_padded);
}

/// What the rows of a run see of a chunk.
struct SeenKeys {
  KeyRange all;  // the smallest range that holds what any row sees
  bool same;     // every row sees just that
};

inline SeenKeys seen_keys(const ChunkCall& call, const ChunkRun& run, const ChunkKeys& chunk) {
  SeenKeys seen{{kChunkTokens, 0}, true};
  KeyRange first{};
  for (int32_t row = run.row_begin; row < run.row_end; ++row) {
    const KeyRange keys =
        visible_keys(call.query_position[row], chunk.position, chunk.n_tokens, call.params.window);
    if (row == run.row_begin) first = keys;
    seen.same = seen.same && keys.begin == first.begin && keys.end == first.end;
    if (!keys.empty()) seen.all = cover(seen.all, keys);
  }
  return seen;
}

/// Calls fn<n>().
template <int Most, class Function>
inline void for_count(int n, Function&& fn) {
  if constexpr (Most > 1) {
    if (n < Most) return for_count<Most - 1>(n, fn);
  }
  fn.template operator()<Most>();
}

/// Where the queries and the states of a group's rows lie.
template <class Panel>
inline void find_rows(const ChunkCall& call, const ChunkRun& run, int32_t kv_head, int64_t first,
                      Panel& panel, RowGroup& group) {
  const int64_t row = first / call.group;
  auto in_group = static_cast<int32_t>(first % call.group);
  const int64_t head = int64_t{kv_head} * call.group + in_group;
  const int64_t head_stride = call.query.head_stride;
  int64_t state = first_state(call.states, kv_head, run.place) + first;
  const auto* query = static_cast<const typename Panel::Element*>(call.query.data) +
                      (run.row_begin + row) * call.query.row_stride + head * head_stride;
  for (int r = 0; r < group.n; ++r) {
    group.old_max[r] = call.states.max[state];  // long before it is loaded as a vector
    group.state[r] = state++;
    panel.set_query(r, query);
    query += head_stride;
    if (++in_group == call.group) {
      in_group = 0;
      query += call.query.row_stride - call.group * head_stride;
    }
  }
}

/// The keys that each row of a group sees; returns the smallest range that holds them all.
inline KeyRange find_keys(const ChunkCall& call, const ChunkRun& run, const ChunkKeys& chunk,
                          int64_t first, RowGroup& group) {
  KeyRange all{kChunkTokens, 0};
  for (int r = 0; r < group.n; ++r) {
    const int64_t row = run.row_begin + (first + r) / call.group;
    group.keys[r] =
        visible_keys(call.query_position[row], chunk.position, chunk.n_tokens, call.params.window);
    if (!group.keys[r].empty()) all = cover(all, group.keys[r]);
  }
  return all;
}

/// One group of rows over a chunk: the one that the panel holds, or `direct`, of which all rows of
/// the group then see the same keys.
template <class Panel>
inline void attend_group(const ChunkCall& call, const ChunkRun& run, const ChunkKeys& chunk,
                         int32_t kv_head, const SeenKeys& seen_by_run, int64_t first,
                         const ChunkRows* direct, Panel& panel, RowGroup& group) {
  find_rows(call, run, kv_head, first, panel, group);
  KeyRange seen = seen_by_run.all;
  if (!seen_by_run.same) seen = find_keys(call, run, chunk, first, group);
  if (seen.empty()) return;
  if (direct != nullptr) {
    for_count<kMostDirect>(group.n, [&]<int Rows>() {
      panel.template direct_scores<Rows>(*direct, seen, call.params.scale, group.scores);
    });
  } else {
    for_tiles(group.n, [&]<int Rows>(int at) {
      panel.template scores<Rows>(at, seen, call.params.scale, group.scores + at * kChunkTokens);
    });
  }
  panel.softmax(group.scores, group.n, group.keys, call.params.softcap, group.max, group.sum);
  plan_updates(call.states, group);
  if (direct != nullptr) {
    for_count<kMostDirect>(group.n, [&]<int Rows>() {
      panel.template direct_weigh<Rows>(*direct, group.scores, seen, group.values);
    });
    add_values(group, 0, group.n, call.states.dim_padded);
  } else {
    for_tiles(group.n, [&]<int Rows>(int at) {
      weigh_tile<Rows>(panel, group, at, call.states.dim_padded);
    });
  }
}

/// Marks the states of the run's rows as empty.
inline void clear_states(const ChunkCall& call, const ChunkRun& run, int32_t kv_head) {
  const PartialStates& states = call.states;
  const int64_t first = first_state(states, kv_head, run.place);
  const int64_t n = static_cast<int64_t>(run.row_end - run.row_begin) * call.group;
  for (int64_t state = first; state < first + n; ++state) {
    states.max[state] = kMinusInfinity;
    states.sum[state] = 0.0f;
  }
}

/// Runs the rows of each run over its chunks, in order. `after` is what this thread is likely to do
/// next: the memory of its first chunk is asked for in time.
template <class Panel>
void chunks(const ChunkCall& call, const HeadTask& now, const HeadTask& after, float* workspace) {
  const ChunkTask& task = now.runs;
  const int32_t kv_head = now.kv_head;
  RowGroup group;
  group.scores = workspace;
  group.values = group.scores + kRowGroup * kChunkTokens;
  const int row_bytes = call.layer.head_dim * static_cast<int>(sizeof(typename Panel::Element));
  ChunkRows rows[2];
  ChunkRows *here = rows, *next = rows + 1;
  Prefetcher ahead;
  Panel panel(call.layer, call.states.dim_padded, group.values + kRowGroup * call.states.dim_padded,
              ahead);
  const auto find = [&](ChunkRows* to, int32_t chunk, int32_t head) {
    to->find(call.layer, call.slots + call.chunks[chunk].slot_begin, call.chunks[chunk].n_tokens,
             head);
  };
  if (task.begin < task.end) {
    find(next, call.runs[task.begin].chunk_begin, kv_head);
    ahead.start(*next, row_bytes, 0);
    ahead.finish();  // nothing runs before the first chunk
  }
  for (int32_t r = task.begin; r < task.end; ++r) {
    const ChunkRun& run = call.runs[r];
    const int64_t n = static_cast<int64_t>(run.row_end - run.row_begin) * call.group;
    const bool few = panel.reads_directly(n);
    const int calls = few ? 0 : panel.gather_calls() + small_tiles(n) * panel.tile_calls();
    clear_states(call, run, kv_head);
    for (int32_t i = run.chunk_begin; i < run.chunk_end; ++i) {
      ChunkRows* found = next;
      next = here;
      here = found;
      if (i + 1 < run.chunk_end || r + 1 < task.end) {
        find(next, i + 1 < run.chunk_end ? i + 1 : call.runs[r + 1].chunk_begin, kv_head);
        ahead.start(*next, row_bytes, calls);
      } else if (after.runs.begin < after.runs.end) {
        find(next, call.runs[after.runs.begin].chunk_begin, after.kv_head);
        ahead.start(*next, row_bytes, calls);
      } else {
        ahead.stop();
      }
      const ChunkKeys& chunk = call.chunks[i];
      const SeenKeys seen = seen_keys(call, run, chunk);
      if (seen.all.empty()) continue;
      const ChunkRows* direct = few && seen.same ? here : nullptr;
      if (direct == nullptr) panel.gather(*here, seen.all);
      for (int k = 0; k < kRowGroup && seen.same; ++k) group.keys[k] = seen.all;
      for (int64_t first = 0; first < n; first += kRowGroup) {
        group.n = n - first < kRowGroup ? static_cast<int>(n - first) : kRowGroup;
        attend_group(call, run, chunk, kv_head, seen, first, direct, panel, group);
      }
      ahead.finish();
    }
  }
}

}  // namespace treeward::TREEWARD_ISA
