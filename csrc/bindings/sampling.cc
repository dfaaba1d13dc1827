// The sampling submodule.
#include "bindings/bindings.h"

namespace treeward::bindings {

void bind_logits_row(py::module_& module);
void bind_segment_draws(py::module_& module);

void bind_sampling(py::module_& module) {
  bind_logits_row(module);
  bind_segment_draws(module);
}

}  // namespace treeward::bindings
