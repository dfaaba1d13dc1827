// Entry point of search._native: one submodule a part of the core.
#include "bindings/bindings.h"
#include "common/errors.h"

PYBIND11_MODULE(_native, module) {
  module.doc() = "Native core of treeward: trees, KV spans, attention, sampling.";
  module.attr("__version__") = TREEWARD_VERSION;
  module.attr("cuda_compiler") = static_cast<bool>(TREEWARD_CUDA_COMPILER);

  auto& base = treeward::bindings::register_errors(module);
  (void)base;

  auto attention = module.def_submodule("attention", "Tree attention over paged keys and values.");
  treeward::bindings::bind_attention(attention);
  auto kv = module.def_submodule("kv", "Pages, spans of tokens, and the plan of a step.");
  treeward::bindings::bind_kv(kv);
  auto linear = module.def_submodule("linear", "Linear layers with packed weights.");
  treeward::bindings::bind_linear(linear);
  auto decoder = module.def_submodule("decoder", "Whole decoder layers.");
  treeward::bindings::bind_decoder(decoder);
  auto sampling = module.def_submodule("sampling", "Logits rows and draws of segments.");
  treeward::bindings::bind_sampling(sampling);
  auto tree = module.def_submodule("tree", "The arena of nodes.");
  treeward::bindings::bind_tree(tree);
  auto search = module.def_submodule("search", "Search algorithms as ask/tell machines.");
  treeward::bindings::bind_search(search);
  treeward::bindings::bind_batched_search(search);
}
