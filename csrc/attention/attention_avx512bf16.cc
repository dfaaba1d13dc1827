// Kernels for AVX-512 BF16: products of pairs of bf16. All else is as for AVX-512.
#define TREEWARD_ISA isa_avx512bf16

#include "attention/vector_avx512.h"

static_assert(treeward::isa_avx512bf16::Vec::kWidth == 16, "the vectors of the headers below");

#include "attention/chunk_kernel.h"
#include "attention/pair_panel.h"

namespace treeward::isa_avx512bf16 {

AttentionKernels attention_kernels() {
  AttentionKernels kernels = isa_avx512::attention_kernels();
  kernels.chunks[static_cast<int>(ElementType::bf16)] = chunks<PairPanel>;
  return kernels;
}

}  // namespace treeward::isa_avx512bf16
