// Portable kernels: four floats at a time in plain C++, which any compiler maps to what it has.
#include <cstdint>
#include <cstring>

#define TREEWARD_ISA isa_scalar

namespace treeward::isa_scalar {

struct Vec {
  typedef float Reg __attribute__((vector_size(16)));
  typedef int32_t Bits __attribute__((vector_size(16)));
  typedef uint16_t Halves __attribute__((vector_size(8)));
  static constexpr int kWidth = 4;
  static constexpr int kScoreBlocks = 2;
  static constexpr int kRegisters = 16;
  static constexpr int kValueVectors = 2;
  template <class T>
  static constexpr int kColumns = kWidth;  // that load_columns() gives at once

  static Reg load(const float* from) {
    Reg x;
    std::memcpy(&x, from, sizeof(x));
    return x;
  }
  static Reg load(const uint16_t* from) {
    Halves halves;
    std::memcpy(&halves, from, sizeof(halves));
    return (Reg)(__builtin_convertvector(halves, Bits) << 16);
  }
  static void store(float* to, Reg x) { std::memcpy(to, &x, sizeof(x)); }
  static Reg set1(float x) { return Reg{x, x, x, x}; }
  static Reg iota() { return Reg{0, 1, 2, 3}; }
  static float first(Reg x) { return x[0]; }
  static Reg add(Reg a, Reg b) { return a + b; }
  static Reg sub(Reg a, Reg b) { return a - b; }
  static Reg mul(Reg a, Reg b) { return a * b; }
  static Reg div(Reg a, Reg b) { return a / b; }
  static Reg fma(Reg a, Reg b, Reg c) { return a * b + c; }
  static Reg max(Reg a, Reg b) { return a > b ? a : b; }
  static Reg abs(Reg x) { return (Reg)((Bits)x & 0x7fffffff); }
  static Reg copy_sign(Reg x, Reg sign) {
    return (Reg)(((Bits)x & 0x7fffffff) | ((Bits)sign & INT32_MIN));
  }
  /// p * 2^n where x >= least, else 0. The low bits of shifted = 1.5 * 2^23 + n are n.
  static Reg scale(Reg p, Reg, Reg shifted, Reg x, Reg least) {
    const Reg power = (Reg)(((Bits)shifted + 127) << 23);
    return (Reg)(~(x < least) & (Bits)(p * power));
  }
  static Reg where_less(Reg a, Reg b, Reg x, Reg y) { return a < b ? x : y; }
  static float reduce_add(Reg x) { return (x[0] + x[2]) + (x[1] + x[3]); }
  static float reduce_max(Reg x) {
    const float a = x[0] > x[2] ? x[0] : x[2];
    const float b = x[1] > x[3] ? x[1] : x[3];
    return a > b ? a : b;
  }
  /// out[i] = the largest lane of x[i], for n vectors.
  static void max_of_each(const Reg* x, int n, float* out) {
    for (int i = 0; i < n; ++i) out[i] = reduce_max(x[i]);
  }
  /// out[i] = the sum of the lanes of x[i], for n vectors.
  static void sum_of_each(const Reg* x, int n, float* out) {
    for (int i = 0; i < n; ++i) out[i] = reduce_add(x[i]);
  }
  static void transpose(Reg (&t)[4]) {
    const Reg a = t[0], b = t[1], c = t[2], d = t[3];
    for (int i = 0; i < 4; ++i) t[i] = Reg{a[i], b[i], c[i], d[i]};
  }
  /// columns[i] = element from + i of kWidth rows.
  template <class T>
  __attribute__((always_inline)) static void load_columns(const char* const* rows, int from,
                                                          Reg (&columns)[kWidth]) {
    for (int i = 0; i < kWidth; ++i) {
      columns[i] = load(reinterpret_cast<const T*>(rows[i]) + from);
    }
    transpose(columns);
  }
};

}  // namespace treeward::isa_scalar

#include "attention/chunk_kernel.h"
#include "attention/float_panel.h"
#include "attention/merge_kernel.h"

namespace treeward::isa_scalar {

AttentionKernels attention_kernels() {
  return {{chunks<FloatPanel<float>>, chunks<FloatPanel<Bf16>>}, {merge<float>, merge<Bf16>}};
}

}  // namespace treeward::isa_scalar
