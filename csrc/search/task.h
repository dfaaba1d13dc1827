// A piece of work that a search hands out.
#pragma once

#include <cstdint>

#include "tree/node.h"

namespace treeward {

enum class Mode : uint8_t {
  kSample,    // independent draws, with replacement
  kDistinct,  // without replacement: children that this node never had
  kGreedy,    // the most probable continuation
  kTop,       // the `count` most probable next tokens
};

enum class Unit : uint8_t { kStep, kToken };

struct Task {
  uint64_t id = 0;
  NodeHandle node;
  int32_t count = 1;
  Mode mode = Mode::kSample;
  Unit unit = Unit::kStep;
  int32_t first_draw = 0;  // number of the first draw under this node
  uint64_t seed = 0;       // hash of (search seed, path tokens): the key of every draw under it
};

}  // namespace treeward
