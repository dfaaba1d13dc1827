// Asking for the keys and values of the next chunk in time.
// Included by the file of one instruction set, after its Vec.
#pragma once

#include "attention/chunk_rows.h"
#include "attention/unroll.h"

namespace treeward::TREEWARD_ISA {

/// Which pages come next is not for the processor to guess, and only few reads fit in flight; what
/// is asked for beyond them is dropped. So lines are asked for one or two at a time, all along the
/// work on the chunk before:
///
///     who packs a chunk, or works on a packed one    calls advance() now and then
///     who reads keys and values where they lie       asks for a line of the next chunk, at the
///                                                    same place, with each line that is read
///
/// Full tiles leave it to others: where there are many rows, memory does not hold them up.
class Prefetcher {
 public:
  static constexpr int kLine = 64;

  /// `calls`: how often advance() will be called, about.
  void start(const ChunkRows& next, int row_bytes, int calls) {
    rows_ = next.rows;
    n_rows_ = 2 * next.n_tokens;
    bytes_ = row_bytes;
    row_ = 0;
    at_ = 0;
    const int lines = n_rows_ * ((row_bytes + kLine - 1) / kLine);
    lines_a_call_ = calls > 0 ? (lines + calls - 1) / calls : 0;
    idle_rounds_ = calls >= 2 * lines ? 1 : 0;
  }

  /// There is no next chunk.
  void stop() { n_rows_ = row_ = 0; }

  /// In round `round` of a loop.
  __attribute__((always_inline)) void advance(int round = 0) {
    if ((round & idle_rounds_) == 0 && row_ < n_rows_) ask_for(lines_a_call_);
  }

  /// What was not asked for yet.
  void finish() {
    while (row_ < n_rows_) ask_for(1);
  }

  /// Those keys of the next chunk that lie where a block of this one does.
  struct KeyBlock {
    const char *const *row, *const *end;
    int row_bytes, at;

    /// Asks for as many bytes as the caller reads.
    template <int Bytes>
    __attribute__((always_inline)) void ask() {
      constexpr int kStep = Bytes < kLine ? Bytes : kLine;
      TREEWARD_UNROLL
      for (int i = 0; i < Bytes / kStep; ++i) {
        if (row == end) return;
        __builtin_prefetch(*row + at, 0, kLevel);
        at += kStep;
        if (at >= row_bytes) {
          at = 0;
          ++row;
        }
      }
    }
  };

  /// For keys [first, first + n), all of which the caller will ask for.
  KeyBlock key_block(int first, int n) {
    const int n_tokens = n_rows_ / 2;
    const int end = first + n < n_tokens ? first + n : n_tokens;
    if (first == row_) row_ = end;
    return {rows_ + (first < end ? first : end), rows_ + end, bytes_, 0};
  }

  /// The values of the next chunk.
  struct Values {
    const char* const* rows;
    int n;

    /// Where that of a token lies; null where the next chunk has none.
    __attribute__((always_inline)) const char* of(int token) const {
      return token < n ? rows[token] : nullptr;
    }
    __attribute__((always_inline)) static void ask(const char* value, int64_t byte) {
      if (value != nullptr) __builtin_prefetch(value + byte, 0, kLevel);
    }
  };

  Values values() const { return {rows_ + n_rows_ / 2, n_rows_ / 2}; }

  /// The values of these tokens were asked for.
  void asked_for_values(KeyRange tokens) {
    const int n_tokens = n_rows_ / 2;
    if (row_ != n_tokens || tokens.begin != 0) return;  // finish() asks for them again
    row_ += tokens.end < n_tokens ? tokens.end : n_tokens;
  }

 private:
  // A call from a loop over registers would put them all in memory.
  __attribute__((always_inline)) void ask_for(int lines) {
    for (int i = 0; i < lines && row_ < n_rows_; ++i) {
      __builtin_prefetch(rows_[row_] + at_, 0, kLevel);
      at_ += kLine;
      if (at_ >= bytes_) {
        at_ = 0;
        ++row_;
      }
    }
  }

  static constexpr int kLevel = 2;  // the second level cache: a chunk would fill the first
  const char* const* rows_ = nullptr;
  int n_rows_ = 0, bytes_ = 0, row_ = 0, at_ = 0, lines_a_call_ = 0, idle_rounds_ = 0;
};

}  // namespace treeward::TREEWARD_ISA
