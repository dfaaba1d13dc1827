// One bf16 decoder layer of the Llama family for the rows of a step, as one call:
//
//     hidden -> norm -> q k v -> (norm of heads) -> rotation -> append -> attention -> projection
//        \_______________________________________________________________________________ + -> sum
//     sum -> norm -> gate, up -> silu(gate) * up -> down
//        \___________________________________________ + -> out
//
// The code of transformers and torch between two of these takes as long as the work itself where a
// model is small, and between two layers a fiftieth of it where a step takes 40 ms: the processor
// has forgotten that code while it read weights.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "attention/attention.h"
#include "linear/packed_linear.h"

namespace treeward {

/// What all layers of a step share. `cos` and `sin` are bf16 [rows][head_dim].
struct DecoderStep {
  const Plan* plan;
  const uint16_t* cos;
  const uint16_t* sin;
};

/// Rows whose outputs somebody asks for, ascending, and their plan (plan_of_rows). No plan: all.
struct AskedRows {
  const Plan* plan = nullptr;
  std::span<const int32_t> rows = {};
};

/// Memory that calls reuse: grown when a call needs more. Two threads need one each.
struct DecoderScratch {
  AlignedBuffer normed, heads, attended, products, sum, gates, between;
  AttentionScratch attention;
};

/// Weights and sizes of a layer. Products are those of PackedLinear, attention is that of attend():
/// a row has the same bits whatever it is batched with.
struct DecoderLayer {
  PackedLinear query, key, value, projection, gate, up, down;
  std::vector<float> input_norm, attention_norm;  // [hidden]
  std::vector<float> query_norm, key_norm;        // [head_dim] of every head; empty: none
  float epsilon;
  int32_t head_dim;
  AttentionParams attention;

  /// InvalidArgument names the sizes that do not fit each other.
  void check() const;

  int32_t hidden() const { return query.inputs(); }

  /// bf16 out [rows][hidden] of hidden [rows][hidden], both contiguous and apart; keys and values
  /// of all rows are kept in `kept`. Rows that are not asked for get zeros.
  /// InvalidArgument names what is wrong.
  void run(const DecoderStep& step, const KvLayer& kept, const AskedRows& asked,
           const uint16_t* hidden, uint16_t* out, DecoderScratch& scratch) const;
};

/// A layer and where its keys and values are kept.
struct KeptDecoderLayer {
  const DecoderLayer* layer;
  const KvLayer* kept;
};

/// Layers one after the other, at least one, each over the rows that the one before it gave. Rows
/// are asked for of the last one. InvalidArgument as DecoderLayer::run.
void run_layers(std::span<const KeptDecoderLayer> layers, const DecoderStep& step,
                const AskedRows& asked, const uint16_t* hidden, uint16_t* out,
                DecoderScratch& scratch);

}  // namespace treeward
