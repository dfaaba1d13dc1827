// Checks of what a caller hands in, before any kernel trusts it.
#pragma once

#include <cstdint>
#include <vector>

#include "attention/plan.h"
#include "attention/types.h"

namespace treeward {

/// All functions raise InvalidArgument, whose message begins with the argument's name.
void check_layer(const KvLayer& layer);

/// `data` may be null only if there are no rows; its element type is the layer's.
void check_rows(const char* name, const void* data, const KvLayer& layer, int32_t n_rows);

/// Two (row, head) of an output must not overlap.
void check_output(const char* name, const Rows& rows, const KvLayer& layer, int32_t n_rows,
                  int32_t heads);

void check_append_slots(const Plan& plan, const KvLayer& layer);

/// The keys of the plan lie in the pool.
void check_slots(const Plan& plan, const KvLayer& layer);

/// Every index of the plan is in range; every partial is written by one item at most, and merged
/// at most once, by its own row. `row_of_partial` is room for the check.
void check_plan(const Plan& plan, std::vector<int32_t>& row_of_partial);

}  // namespace treeward
