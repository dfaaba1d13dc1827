// Kernels for AVX-512 (F, BW, VL, DQ): sixteen floats at a time.
#define TREEWARD_ISA isa_avx512

#include "attention/vector_avx512.h"

static_assert(treeward::isa_avx512::Vec::kWidth == 16, "the vectors of the headers below");

#include "attention/chunk_kernel.h"
#include "attention/float_panel.h"
#include "attention/merge_kernel.h"

namespace treeward::isa_avx512 {

AttentionKernels attention_kernels() {
  return {{chunks<FloatPanel<float>>, chunks<FloatPanel<Bf16>>}, {merge<float>, merge<Bf16>}};
}

}  // namespace treeward::isa_avx512
