// What a decoder layer does to one row between its products. Only plain data crosses here.
//
// Every operation rounds to bf16 where the model as transformers runs it does, so that only sums
// and exponentials can differ, in their last bits.
#pragma once

#include <cstdint>

namespace treeward::isa_avx512bf16 {

/// out[n] = weight * round(x / sqrt(mean(x^2) + epsilon)); `out` may be `x`.
void rms_norm(const uint16_t* x, const float* weight, float epsilon, int32_t n, uint16_t* out);

/// out[n] = x + y; `out` may be either.
void add(const uint16_t* x, const uint16_t* y, int32_t n, uint16_t* out);

/// Turns a head in place, its first half with its second: head * cos + (-second, first) * sin.
void rotate(uint16_t* head, const uint16_t* cos, const uint16_t* sin, int32_t head_dim);

/// gate[n] = silu(gate) * up, with silu(x) = x / (1 + exp(-x)).
void gated_silu(uint16_t* gate, const uint16_t* up, int32_t n);

}  // namespace treeward::isa_avx512bf16
