// search._native.decoder: whole decoder layers.
#include <optional>
#include <utility>
#include <vector>

#include "bindings/bindings.h"
#include "common/errors.h"
#include "decoder/decoder_layer.h"

namespace treeward::bindings {
namespace {

using FloatArray = py::array_t<float, py::array::c_style | py::array::forcecast>;
using RowArray = py::array_t<int32_t, py::array::c_style | py::array::forcecast>;

std::vector<float> to_vector(const FloatArray& array) {
  return {array.data(), array.data() + array.size()};
}

DecoderLayer make_layer(const std::vector<PackedLinear>& products, const FloatArray& input_norm,
                        const FloatArray& attention_norm, const FloatArray& query_norm,
                        const FloatArray& key_norm, float epsilon, int32_t head_dim, float scale,
                        int32_t window) {
  if (products.size() != 7) {
    throw InvalidArgument("products: must be query, key, value, projection, gate, up and down");
  }
  DecoderLayer layer{.query = products[0],
                     .key = products[1],
                     .value = products[2],
                     .projection = products[3],
                     .gate = products[4],
                     .up = products[5],
                     .down = products[6],
                     .input_norm = to_vector(input_norm),
                     .attention_norm = to_vector(attention_norm),
                     .query_norm = to_vector(query_norm),
                     .key_norm = to_vector(key_norm),
                     .epsilon = epsilon,
                     .head_dim = head_dim,
                     .attention = {scale, window, 0.0f}};
  layer.check();
  return layer;
}

/// One a thread, so that Python threads can run layers at once; freed with the thread.
DecoderScratch& scratch() {
  thread_local DecoderScratch scratch;
  return scratch;
}

using NamedLayer = std::pair<const DecoderLayer*, const KvLayer*>;

void run(const std::vector<NamedLayer>& given, const Plan& plan, uintptr_t hidden_ptr,
         uintptr_t cos_ptr, uintptr_t sin_ptr, uintptr_t out_ptr,
         const std::optional<std::pair<const Plan*, RowArray>>& asked_rows) {
  std::vector<KeptDecoderLayer> layers;
  for (const auto& [layer, kept] : given) {
    if (layer == nullptr || kept == nullptr) throw InvalidArgument("layers: one is None");
    layers.push_back({layer, kept});
  }
  AskedRows asked;
  if (asked_rows.has_value()) {
    const RowArray& rows = asked_rows->second;
    asked = {asked_rows->first, {rows.data(), static_cast<size_t>(rows.size())}};
  }
  py::gil_scoped_release release;
  run_layers(layers,
             {&plan, reinterpret_cast<const uint16_t*>(cos_ptr),
              reinterpret_cast<const uint16_t*>(sin_ptr)},
             asked, reinterpret_cast<const uint16_t*>(hidden_ptr),
             reinterpret_cast<uint16_t*>(out_ptr), scratch());
}

}  // namespace

void bind_decoder(py::module_& module) {
  py::class_<DecoderLayer>(
      module, "DecoderLayer",
      "A bfloat16 decoder layer of the Llama family: norms, products, rotation, attention over\n"
      "pages and the gated feed-forward part.")
      .def(py::init(&make_layer), py::kw_only(), py::arg("products"), py::arg("input_norm"),
           py::arg("attention_norm"), py::arg("query_norm"), py::arg("key_norm"),
           py::arg("epsilon"), py::arg("head_dim"), py::arg("scale"), py::arg("window") = 0,
           R"(Shares the packed weights of its products, copies those of its norms.

products: query, key, value, projection, gate, up and down.
input_norm, attention_norm: [hidden]. query_norm, key_norm: [head_dim] of every head, or empty.
epsilon: of all norms. scale: of the dot products of attention.
window: tokens of its path that a row sees, itself included; 0 for all.
Raises ValueError naming the sizes that do not fit.)")
      .def_property_readonly("hidden", &DecoderLayer::hidden, "Elements of a row.")
      .def_property_readonly(
          "kv_heads",
          [](const DecoderLayer& layer) { return layer.key.outputs() / layer.head_dim; },
          "Heads of keys and values.")
      .def_readonly("head_dim", &DecoderLayer::head_dim, "Elements of a head.");
  module.def("run_layers", &run, py::arg("layers"), py::arg("plan"), py::arg("hidden_ptr"),
             py::arg("cos_ptr"), py::arg("sin_ptr"), py::arg("out_ptr"),
             py::arg("asked") = py::none(),
             R"(Runs the rows of a plan through layers, one after the other.

layers: [(layer, where its keys and values are kept)], at least one.
hidden_ptr, out_ptr: addresses of bfloat16 [n_rows, hidden], contiguous and apart.
cos_ptr, sin_ptr: addresses of bfloat16 [n_rows, head_dim], the rotation of each row.
asked: when not all rows of the last layer are asked for, plan.of_rows of those that are, and them,
    [n] int32 ascending; the others get zeros.
A row has the same bits whatever it is batched with. Releases the GIL.
Raises ValueError naming the argument that is wrong.)");
}

}  // namespace treeward::bindings
