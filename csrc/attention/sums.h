// Where the weighted values of a tile of rows go when its sums leave the registers.
// Included by the file of one instruction set, after its Vec.
#pragma once

#include "attention/unroll.h"

namespace treeward::TREEWARD_ISA {

/// How the state of a row takes in a chunk: values = values * old_weight + sums * new_weight.
struct StateUpdate {
  float* values;
  float old_weight, new_weight;
  bool empty;  // nothing was taken in before: values = sums
};

/// To a buffer [rows][dim_padded], added to what it holds unless it counts as 0 before.
struct SumsInBuffer {
  float* out;
  int dim_padded;
  bool fresh;

  SumsInBuffer row(int r) const { return {out + r * dim_padded, dim_padded, fresh}; }

  template <int Rows, int Vectors>
  void begin(int at, Vec::Reg (&sum)[Rows][Vectors]) const {
    TREEWARD_UNROLL
    for (int r = 0; r < Rows; ++r) {
      TREEWARD_UNROLL
      for (int v = 0; v < Vectors; ++v) {
        sum[r][v] =
            fresh ? Vec::set1(0.0f) : Vec::load(out + r * dim_padded + at + v * Vec::kWidth);
      }
    }
  }

  template <int Rows, int Vectors>
  void end(int at, const Vec::Reg (&sum)[Rows][Vectors]) const {
    TREEWARD_UNROLL
    for (int r = 0; r < Rows; ++r) {
      TREEWARD_UNROLL
      for (int v = 0; v < Vectors; ++v) {
        Vec::store(out + r * dim_padded + at + v * Vec::kWidth, sum[r][v]);
      }
    }
  }
};

/// Straight into the states of the rows, with the arithmetic of combine_values().
struct SumsInStates {
  const StateUpdate* rows;

  template <int Rows, int Vectors>
  void begin(int, Vec::Reg (&sum)[Rows][Vectors]) const {
    TREEWARD_UNROLL
    for (int r = 0; r < Rows; ++r) {
      TREEWARD_UNROLL
      for (int v = 0; v < Vectors; ++v) sum[r][v] = Vec::set1(0.0f);
    }
  }

  template <int Rows, int Vectors>
  void end(int at, const Vec::Reg (&sum)[Rows][Vectors]) const {
    TREEWARD_UNROLL
    for (int r = 0; r < Rows; ++r) {
      float* to = rows[r].values + at;
      if (rows[r].empty) {
        TREEWARD_UNROLL
        for (int v = 0; v < Vectors; ++v) Vec::store(to + v * Vec::kWidth, sum[r][v]);
        continue;
      }
      const Vec::Reg a = Vec::set1(rows[r].old_weight), b = Vec::set1(rows[r].new_weight);
      TREEWARD_UNROLL
      for (int v = 0; v < Vectors; ++v) {
        const Vec::Reg old = Vec::load(to + v * Vec::kWidth);
        Vec::store(to + v * Vec::kWidth, Vec::fma(sum[r][v], b, Vec::mul(old, a)));
      }
    }
  }
};

}  // namespace treeward::TREEWARD_ISA
