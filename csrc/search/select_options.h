// The options of a tree search that say how a child is chosen.
#pragma once

#include "search/options.h"
#include "tree/select.h"

namespace treeward {

/// formula, c_init, c_base, exploration, fpu, fpu_value, fpu_reduction, normalise, backup.
SelectRule read_select_rule(OptionReader& reader);

}  // namespace treeward
