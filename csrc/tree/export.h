// A whole tree as flat arrays, for traces, viewers and training data.
#pragma once

#include <cstdint>
#include <vector>

#include "tree/arena.h"

namespace treeward {

// Row i is the i-th node in the order of creation; row 0 is the root. Tokens of row i are
// tokens[token_offset[i] .. token_offset[i + 1]).
struct TreeExport {
  std::vector<uint64_t> handle;
  std::vector<int32_t> parent;  // row of the parent, -1 at the root
  std::vector<int32_t> depth, visits, draws, answer;
  std::vector<float> value;  // own reward, NaN when not scored
  std::vector<double> q;     // mean of the backed-up values, NaN without a visit
  std::vector<float> logprob, prior;
  std::vector<uint8_t> flags, finish;
  std::vector<int8_t> verdict;
  std::vector<int64_t> token_offset;
  std::vector<int32_t> tokens;
};

TreeExport export_tree(const Arena& arena, NodeIndex root, Backup mode = Backup::kMean);

}  // namespace treeward
