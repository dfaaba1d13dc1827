#include "sampling/row_kernels.h"

#include "common/simd.h"

namespace treeward {

const RowKernels& row_kernels() {
  // One table a level, made when first asked for.
  switch (current_level()) {
#if defined(TREEWARD_COMPILE_AVX512)
    case SimdLevel::avx512bf16:  // has nothing more that is of use here
    case SimdLevel::avx512: {
      static const RowKernels avx512 = isa_avx512::row_kernels();
      return avx512;
    }
#endif
#if defined(TREEWARD_COMPILE_AVX2)
    case SimdLevel::avx2: {
      static const RowKernels avx2 = isa_avx2::row_kernels();
      return avx2;
    }
#endif
    default: {
      static const RowKernels scalar = isa_scalar::row_kernels();
      return scalar;
    }
  }
}

}  // namespace treeward
