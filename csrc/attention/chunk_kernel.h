// The kernel of a run of chunks: scores, softmax and weighted values of its rows.
// Included by the file of one instruction set, after its Vec. Nothing here may call an inline
// function of another header: the linker could keep the copy compiled for this set.
//
// Rows go through a chunk in groups, and a group through the two products in tiles:
//
//     keys (first level cache)   group: tile tile tile  ->  scores  ->  softmax
//     values (the same)          group: tile tile tile  ->  sums    ->  state of the row
//
// A run of very few rows reads keys and values where they lie, without a panel, all rows at once.
#pragma once

#include "attention/chunk_rows.h"
#include "attention/combine.h"
#include "attention/elements.h"
#include "attention/kernels.h"
#include "attention/softmax.h"
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
  float max[kRowGroup], sum[kRowGroup];
  float* scores;  // [kRowGroup][kChunkTokens]
  float* values;  // [kRowGroup][dim_padded]
};

/// Keys that all rows of a tile see are done together, the rest row by row; each row in rising
/// order, whatever its neighbours see.
template <int Rows, class Panel>
inline void weigh_tile(const Panel& panel, RowGroup& group, int first, int dim_padded) {
  constexpr int kStep = Panel::kKeyStep;
  KeyRange together = group.keys[first];
  for (int r = 1; r < Rows; ++r) together = common(together, group.keys[first + r]);
  together.begin = (together.begin + kStep - 1) / kStep * kStep;
  together.end = together.end / kStep * kStep;
  if (together.empty()) together = {kChunkTokens, kChunkTokens};
  bool fresh = true;
  for (int r = 0; r < Rows; ++r) {
    fresh = fresh && group.keys[first + r].begin >= together.begin;
  }
  for (int r = first; r < first + Rows && !fresh; ++r) {
    const int end = group.keys[r].end < together.begin ? group.keys[r].end : together.begin;
    const KeyRange before{group.keys[r].begin, end};
    panel.template weigh<1>(group.scores + r * kChunkTokens, before, true,
                            group.values + r * dim_padded);
  }
  panel.template weigh<Rows>(group.scores + first * kChunkTokens, together, fresh,
                             group.values + first * dim_padded);
  for (int r = first; r < first + Rows; ++r) {
    const int begin = group.keys[r].begin > together.end ? group.keys[r].begin : together.end;
    const KeyRange after{begin, group.keys[r].end};
    if (after.empty()) continue;
    panel.template weigh<1>(group.scores + r * kChunkTokens, after, false,
                            group.values + r * dim_padded);
  }
}

/// Takes what the group made of the chunk into the states of its rows.
inline void add_to_states(const PartialStates& states, const RowGroup& group) {
  constexpr int kRoom = (kRowGroup + Vec::kWidth - 1) / Vec::kWidth * Vec::kWidth;
  float old_max[kRoom], new_max[kRoom], max[kRoom], old_weight[kRoom], new_weight[kRoom];
  for (int r = 0; r < kRoom; ++r) old_max[r] = new_max[r] = 0.0f;
  for (int r = 0; r < group.n; ++r) {
    old_max[r] = states.max[group.state[r]];
    if (!group.keys[r].empty()) new_max[r] = group.max[r];
  }
  for (int r = 0; r < group.n; r += Vec::kWidth) {
    combine_weights(old_max + r, new_max + r, max + r, old_weight + r, new_weight + r);
  }
  const int dim_padded = states.dim_padded;
  for (int r = 0; r < group.n; ++r) {
    if (group.keys[r].empty()) continue;
    const int64_t at = group.state[r];
    float* to = states.values + at * dim_padded;
    const float* from = group.values + r * dim_padded;
    if (states.sum[at] == 0.0f) {  // a state that saw a key has a sum of at least 1
      states.max[at] = group.max[r];
      states.sum[at] = group.sum[r];
      for (int d = 0; d < dim_padded; d += Vec::kWidth) Vec::store(to + d, Vec::load(from + d));
      continue;
    }
    states.max[at] = max[r];
    states.sum[at] = states.sum[at] * old_weight[r] + group.sum[r] * new_weight[r];
    combine_values(old_weight[r], new_weight[r], to, from, dim_padded, to);
  }
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

/// One group of rows over a chunk: the one that the panel holds, or `direct`, of which all rows of
/// the group then see the same keys.
template <class Panel>
inline void attend_group(const ChunkCall& call, const ChunkRun& run, const ChunkKeys& chunk,
                         int32_t kv_head, const SeenKeys& seen_by_run, int64_t first,
                         const ChunkRows* direct, Panel& panel, RowGroup& group) {
  const PartialStates& states = call.states;
  KeyRange seen{kChunkTokens, 0};
  int64_t row = first / call.group;
  auto in_group = static_cast<int32_t>(first % call.group);
  for (int r = 0; r < group.n; ++r) {
    const int32_t head = kv_head * call.group + in_group;
    const KeyRange keys = seen_by_run.same
                              ? seen_by_run.all
                              : visible_keys(call.query_position[run.row_begin + row],
                                             chunk.position, chunk.n_tokens, call.params.window);
    group.keys[r] = keys;
    group.state[r] = (run.place + row) * states.n_heads + head - states.head_begin;
    if (!keys.empty()) seen = cover(seen, keys);
    panel.set_query(r, static_cast<const typename Panel::Element*>(call.query.data) +
                           (run.row_begin + row) * call.query.row_stride +
                           head * call.query.head_stride);
    if (++in_group == call.group) {
      in_group = 0;
      ++row;
    }
  }
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
  for (int r = 0; r < group.n; ++r) {
    if (group.keys[r].empty()) continue;
    panel.softmax(group.scores + r * kChunkTokens, group.keys[r], call.params.softcap,
                  &group.max[r], &group.sum[r]);
  }
  if (direct != nullptr) {
    for_count<kMostDirect>(group.n, [&]<int Rows>() {
      panel.template direct_weigh<Rows>(*direct, group.scores, seen, group.values);
    });
  } else {
    for_tiles(group.n,
              [&]<int Rows>(int at) { weigh_tile<Rows>(panel, group, at, states.dim_padded); });
  }
  add_to_states(states, group);
}

/// Marks the states of the run's rows as empty.
inline void clear_states(const ChunkCall& call, const ChunkRun& run, int32_t kv_head) {
  const PartialStates& states = call.states;
  for (int32_t row = 0; row < run.row_end - run.row_begin; ++row) {
    const int64_t first = static_cast<int64_t>(run.place + row) * states.n_heads +
                          kv_head * call.group - states.head_begin;
    for (int64_t state = first; state < first + call.group; ++state) {
      states.max[state] = kMinusInfinity;
      states.sum[state] = 0.0f;
    }
  }
}

/// Runs the rows of each run over its chunks, in order.
template <class Panel>
void chunks(const ChunkCall& call, const ChunkTask& task, int32_t kv_head, float* workspace) {
  RowGroup group;
  group.scores = workspace;
  group.values = group.scores + kRowGroup * kChunkTokens;
  const int row_bytes = call.layer.head_dim * static_cast<int>(sizeof(typename Panel::Element));
  ChunkRows rows[2];
  ChunkRows *here = rows, *next = rows + 1;
  Prefetcher ahead;
  Panel panel(call.layer, call.states.dim_padded, group.values + kRowGroup * call.states.dim_padded,
              ahead);
  const auto find = [&](ChunkRows* to, int32_t chunk) {
    to->find(call.layer, call.slots + call.chunks[chunk].slot_begin, call.chunks[chunk].n_tokens,
             kv_head);
  };
  if (task.begin < task.end) find(next, call.runs[task.begin].chunk_begin);
  for (int32_t r = task.begin; r < task.end; ++r) {
    const ChunkRun& run = call.runs[r];
    const int64_t n = static_cast<int64_t>(run.row_end - run.row_begin) * call.group;
    const bool few = panel.reads_directly(n);
    const int calls =
        few ? panel.direct_calls(n) : panel.gather_calls() + small_tiles(n) * panel.tile_calls();
    clear_states(call, run, kv_head);
    for (int32_t i = run.chunk_begin; i < run.chunk_end; ++i) {
      ChunkRows* found = next;
      next = here;
      here = found;
      if (i + 1 < run.chunk_end || r + 1 < task.end) {
        find(next, i + 1 < run.chunk_end ? i + 1 : call.runs[r + 1].chunk_begin);
        ahead.start(*next, row_bytes, calls);
      }
      const ChunkKeys& chunk = call.chunks[i];
      const SeenKeys seen = seen_keys(call, run, chunk);
      if (seen.all.empty()) continue;
      const ChunkRows* direct = few && seen.same ? here : nullptr;
      if (direct == nullptr) panel.gather(*here, seen.all);
      for (int64_t first = 0; first < n; first += kRowGroup) {
        group.n = n - first < kRowGroup ? static_cast<int>(n - first) : kRowGroup;
        attend_group(call, run, chunk, kv_head, seen, first, direct, panel, group);
      }
      ahead.finish();
    }
  }
}

}  // namespace treeward::TREEWARD_ISA
