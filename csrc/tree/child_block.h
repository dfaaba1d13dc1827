// Sixteen children of one node, laid out so that a selection pass reads five whole cache lines.
#pragma once

#include <cstddef>
#include <cstdint>

#include "tree/node.h"

namespace treeward {

inline constexpr int kLanes = 16;
inline constexpr uint32_t kNoBlock = 0xFFFFFFFFu;
/// A slot is 16 * block + lane.
inline constexpr uint32_t kNoSlot = 0xFFFFFFFFu;

// byte    0          64         128        192        256                     320
//         | prior x16 | value x16 | visits x16 | child x16 | next count closed busy | in_flight x16
// Lane k of the j-th block of a node is its child number 16 j + k, in the order of arrival.
// A mirror of the child's own numbers is kept here, so that choosing among siblings never touches
// the siblings. 384 bytes: six cache lines. Under a node with kEdges a lane may be
// in use without a node: an edge that holds its prior and waits for its first visit.
struct alignas(64) ChildBlock {
  float prior[kLanes];      // exp(log-probability), normalised over the known siblings
  float value[kLanes];      // mean (or max) of the values backed up through the child
  int32_t visits[kLanes];   // finished visits
  NodeIndex child[kLanes];  // node index, kNoNode in an empty lane and in an edge
  uint32_t next;            // next block of the same node, or kNoBlock
  uint16_t count;           // lanes in use
  uint16_t closed;          // bit per lane: the subtree is finished
  uint32_t busy_epoch;      // `busy` counts only while this equals the epoch of the search
  uint16_t busy;            // bit per lane: no free work below until something is told
  // Visits that are out: the virtual loss. A search without it never reads this line.
  alignas(64) int32_t in_flight[kLanes];
};
static_assert(sizeof(ChildBlock) == 384);
static_assert(offsetof(ChildBlock, in_flight) == 320);

}  // namespace treeward
