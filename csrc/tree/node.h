// What names a node and what a node can be: handles, flags, and a child on its way into a tree.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace treeward {

/// Place of a node in its arena. Reused after the node's tree is dropped.
using NodeIndex = uint32_t;
inline constexpr NodeIndex kNoNode = 0xFFFFFFFFu;

/// A node index with the generation it was handed out in: a handle kept past the death of its
/// tree is recognised as stale. Generations start at 1, so a packed handle is never 0.
struct NodeHandle {
  NodeIndex index = kNoNode;
  uint32_t generation = 0;

  uint64_t packed() const { return (static_cast<uint64_t>(generation) << 32) | index; }
  static NodeHandle unpack(uint64_t packed) {
    return {static_cast<uint32_t>(packed), static_cast<uint32_t>(packed >> 32)};
  }
  bool operator==(const NodeHandle&) const = default;
};

/// Why a segment ended. kLength is a cut, not an end: the step may be continued.
enum class Finish : uint8_t { kStop, kEos, kLength };

enum NodeFlag : uint8_t {
  kTerminal = 1,    // nothing follows this node
  kDead = 2,        // terminal without an answer, or no continuation was found
  kExhausted = 4,   // has no further distinct child
  kPruned = 8,      // left out by the search (beam); never chosen for growth in this round
  kClosed = 16,     // everything below is known: selection never enters it again
  kExpanding = 32,  // a task for distinct children of this node is out
  kEdges = 64,      // its children are edges first: a node is made at the first visit
};

/// A segment produced under a node, with what is known about the state it reaches.
struct Child {
  std::vector<int32_t> tokens;
  float logprob = 0.0f;  // of the whole segment given the node
  Finish finish = Finish::kStop;
  bool terminal = false;
  std::optional<float> value;  // reward of the state; nothing when it was not scored
  int8_t verdict = -1;         // -1 unknown, 0 wrong, 1 right
  int32_t answer = -1;         // id of the canonical answer, -1 when there is none
};

}  // namespace treeward
