// The index of shared prompt blocks: found by a hash of parent, tokens and version of the weights.
#include <cstring>

#include "common/random.h"
#include "kv/span_tree.h"

namespace treeward {

uint64_t SpanTree::block_key(int32_t parent, const int32_t* tokens) const {
  return block_hash(tokens) ^ mix64(version_ ^ child_key(parent, 0));
}

int32_t SpanTree::find_block(int32_t parent, const int32_t* tokens) const {
  return block_index_.find(block_key(parent, tokens), [&](int32_t index) {
    const Span& span = spans_[index];
    // The hash only finds the candidate; the tokens decide.
    return span.parent == parent &&
           std::memcmp(span.tokens.data(), tokens, kBlockTokens * sizeof(int32_t)) == 0;
  });
}

int32_t SpanTree::match(std::span<const int32_t> prompt) const {
  int32_t parent = -1;
  size_t matched = 0;
  while (matched + kBlockTokens <= prompt.size()) {
    const int32_t block = find_block(parent, prompt.data() + matched);
    if (block < 0) break;
    parent = block;
    matched += kBlockTokens;
  }
  return static_cast<int32_t>(matched);
}

}  // namespace treeward
