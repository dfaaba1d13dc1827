// The products of packed weights with AVX-512 BF16.
//
// A tile of 6 rows x 64 outputs stays in registers along all inputs that are done in one go:
//
//     weights of 2 inputs   4 vectors of 16 outputs  (second level cache, read by every tile)
//     row                   2 inputs, broadcast      (first level cache)
#include <immintrin.h>

#include <cstring>

#include "linear/kernel.h"

namespace treeward::isa_avx512bf16 {
namespace {

constexpr int kTileRows = 6;
constexpr int kTileVectors = 4;
constexpr int kVector = 16;
constexpr int kPanelPairs = kTileVectors * kVector;
constexpr int kLinePairs = 16;

/// What a tile reads and where it leaves its sums.
struct Tile {
  const uint32_t* pairs;
  const uint16_t* x;
  int64_t x_stride;
  int32_t n_pairs;  // along the inputs
  float* sums;
  int64_t sums_stride;
  bool first, last;  // whether sums begin here; whether they are finished here
  const float* bias;
  uint16_t* out;
  int64_t out_stride;
  int32_t n_outputs;  // at most 64
};

/// Pairs that will be needed next, asked for a few lines a step: the processor does not foresee a
/// new panel.
struct Ahead {
  const uint32_t* at;
  const uint32_t* end;
};

inline __m512i broadcast_pair(const uint16_t* from) {
  int pair;
  std::memcpy(&pair, from, sizeof(pair));
  return _mm512_set1_epi32(pair);
}

/// Rounds 16 sums to bf16 and writes the first n.
inline void write(__m512 sum, uint16_t* out, int n) {
  const auto rounded = (__m256i)_mm512_cvtneps_pbh(sum);
  if (n >= kVector) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), rounded);
  } else if (n > 0) {
    _mm256_mask_storeu_epi16(out, static_cast<__mmask16>((1u << n) - 1), rounded);
  }
}

template <int Rows, int Vectors, int LinesOfTwo>
inline void run_tile(const Tile& tile, Ahead& ahead) {
  __m512 sum[Rows][Vectors];
#pragma GCC unroll 8
  for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v) {
      sum[r][v] = tile.first ? _mm512_setzero_ps()
                             : _mm512_loadu_ps(tile.sums + r * tile.sums_stride + v * kVector);
    }
  }
  const uint32_t* pairs = tile.pairs;
  const uint16_t* x = tile.x;
  for (int32_t p = 0; p < tile.n_pairs; ++p, pairs += kPanelPairs, x += 2) {
    __m512bh weight[Vectors];
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v) {
      weight[v] = (__m512bh)_mm512_load_si512(pairs + v * kVector);
    }
    if constexpr (LinesOfTwo > 0) {
      constexpr int LinesAhead = LinesOfTwo > 1 ? LinesOfTwo / 2 : 1;
      if (ahead.at < ahead.end && (LinesOfTwo > 1 || p % 2 == 0)) {
#pragma GCC unroll 8
        for (int i = 0; i < LinesAhead; ++i) __builtin_prefetch(ahead.at + i * kLinePairs, 0, 2);
        ahead.at += LinesAhead * kLinePairs;
      }
    }
#pragma GCC unroll 8
    for (int r = 0; r < Rows; ++r) {
      const auto row = (__m512bh)broadcast_pair(x + r * tile.x_stride);
#pragma GCC unroll 8
      for (int v = 0; v < Vectors; ++v) sum[r][v] = _mm512_dpbf16_ps(sum[r][v], row, weight[v]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v) {
      if (tile.last) {
        const __m512 bias = _mm512_loadu_ps(tile.bias + v * kVector);
        write(_mm512_add_ps(sum[r][v], bias), tile.out + r * tile.out_stride + v * kVector,
              tile.n_outputs - v * kVector);
      } else {
        _mm512_storeu_ps(tile.sums + r * tile.sums_stride + v * kVector, sum[r][v]);
      }
    }
  }
}

template <int Rows, int Vectors>
void run_tile(const Tile& tile, int lines, Ahead& ahead) {
  switch (lines) {
    case 0:
      return run_tile<Rows, Vectors, 0>(tile, ahead);
    case 1:
      return run_tile<Rows, Vectors, 1>(tile, ahead);
    case 2:
      return run_tile<Rows, Vectors, 2>(tile, ahead);
    case 4:
      return run_tile<Rows, Vectors, 4>(tile, ahead);
    default:
      return run_tile<Rows, Vectors, 8>(tile, ahead);
  }
}

template <int Vectors>
void run_tile(int rows, const Tile& tile, int lines, Ahead& ahead) {
  static_assert(kTileRows == 6);
  switch (rows) {
    case 1:
      return run_tile<1, Vectors>(tile, lines, ahead);
    case 2:
      return run_tile<2, Vectors>(tile, lines, ahead);
    case 3:
      return run_tile<3, Vectors>(tile, lines, ahead);
    case 4:
      return run_tile<4, Vectors>(tile, lines, ahead);
    case 5:
      return run_tile<5, Vectors>(tile, lines, ahead);
    default:
      return run_tile<6, Vectors>(tile, lines, ahead);
  }
}

void run_tile(int rows, int vectors, const Tile& tile, int lines, Ahead& ahead) {
  static_assert(kTileVectors == 4);
  switch (vectors) {
    case 1:
      return run_tile<1>(rows, tile, lines, ahead);
    case 2:
      return run_tile<2>(rows, tile, lines, ahead);
    case 3:
      return run_tile<3>(rows, tile, lines, ahead);
    default:
      return run_tile<4>(rows, tile, lines, ahead);
  }
}

/// Lines of the next share that a tile asks for with every two input pairs. The eight of them are
/// spread over the tiles: memory is busy all along, and what a tile reads is not kept waiting.
int lines_ahead(int tile, int n_tiles) {
  if (n_tiles < 3) return 8 / n_tiles;
  if (n_tiles == 3) return tile == 0 ? 4 : 2;
  if (n_tiles < 8) return tile < 4 ? 2 : 0;
  return tile < 8 ? 1 : 0;
}

int32_t inputs_from(const LinearTask& task, int32_t input) {
  const int32_t left = task.inputs - input;
  return left < kLinearInputs ? left : kLinearInputs;
}

/// What follows the share of a panel: the next panel, the next cut of the inputs, or the next task.
Ahead next_share(const LinearTask& task, int32_t panel, int32_t input, int32_t n_panels,
                 int64_t panel_pairs) {
  if (++panel == n_panels) {
    panel = 0;
    input += kLinearInputs;
  }
  const uint32_t* at = task.pairs + panel * panel_pairs + input / 2 * kPanelPairs;
  if (input >= task.inputs) {
    at = task.next;
    input = 0;
    // The next task is a guess: where memory alone counts a wrong one costs more than it gains.
    if (task.rows <= kTileRows) return {at, at};
  }
  return {at, at + inputs_from(task, input) / 2 * kPanelPairs};
}

}  // namespace

void linear(const LinearTask& task) {
  const int64_t panel_pairs = int64_t{task.inputs} / 2 * kPanelPairs;
  const int32_t n_panels = (task.n_vectors + kTileVectors - 1) / kTileVectors;
  const int32_t n_tiles = (task.rows + kTileRows - 1) / kTileRows;
  for (int32_t input = 0; input < task.inputs; input += kLinearInputs) {
    const int32_t n_inputs = inputs_from(task, input);
    for (int32_t panel = 0; panel < n_panels; ++panel) {
      const int32_t vector = panel * kTileVectors;
      const int32_t vectors =
          task.n_vectors - vector < kTileVectors ? task.n_vectors - vector : kTileVectors;
      Tile tile{.pairs = task.pairs + panel * panel_pairs + input / 2 * kPanelPairs,
                .x = task.x + input,
                .x_stride = task.x_stride,
                .n_pairs = n_inputs / 2,
                .sums = task.sums + vector * kVector,
                .sums_stride = int64_t{task.n_vectors} * kVector,
                .first = input == 0,
                .last = input + n_inputs == task.inputs,
                .bias = task.bias + vector * kVector,
                .out = task.out + vector * kVector,
                .out_stride = task.out_stride,
                .n_outputs = task.n_outputs - vector * kVector};
      Ahead ahead = next_share(task, panel, input, n_panels, panel_pairs);
      int32_t row = 0;
      for (int32_t t = 0; t < n_tiles; ++t) {
        const int32_t rows = (task.rows - row + n_tiles - t - 1) / (n_tiles - t);
        run_tile(rows, vectors, tile, lines_ahead(t, n_tiles), ahead);
        row += rows;
        tile.x += rows * tile.x_stride;
        tile.sums += rows * tile.sums_stride;
        tile.out += rows * tile.out_stride;
      }
    }
  }
}

}  // namespace treeward::isa_avx512bf16
