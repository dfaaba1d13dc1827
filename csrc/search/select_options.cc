#include "search/select_options.h"

namespace treeward {

SelectRule read_select_rule(OptionReader& reader) {
  SelectRule rule;
  rule.formula = static_cast<Formula>(reader.choice("formula", {"puct", "uct", "muzero"}));
  rule.c_init = reader.number("c_init", rule.c_init, 0.0, 1e6);
  rule.c_base = reader.number("c_base", rule.c_base, 1.0, 1e12);
  rule.exploration = reader.number("exploration", rule.exploration, 0.0, 1e6);
  rule.first_play = static_cast<FirstPlay>(reader.choice("fpu", {"reduction", "absolute"}));
  rule.fpu_value = reader.number("fpu_value", rule.fpu_value, -1e9, 1e9);
  rule.fpu_reduction = reader.number("fpu_reduction", rule.fpu_reduction, 0.0, 1e9);
  rule.normalise = reader.flag("normalise", false);
  rule.backup = static_cast<Backup>(reader.choice("backup", {"mean", "max", "min_path"}));
  return rule;
}

}  // namespace treeward
