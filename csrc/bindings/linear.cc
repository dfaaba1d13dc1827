// search._native.linear: packed linear layers.
#include <string>
#include <vector>

#include "bindings/bindings.h"
#include "common/errors.h"
#include "linear/packed_linear.h"

namespace treeward::bindings {
namespace {

void multiply_all(const std::vector<const PackedLinear*>& layers, uintptr_t x_ptr, int64_t x_stride,
                  int32_t rows, const std::vector<uintptr_t>& out_ptrs) {
  if (out_ptrs.size() != layers.size()) {
    throw InvalidArgument("out_ptrs: must be as many as the " + std::to_string(layers.size()) +
                          " layers");
  }
  std::vector<PackedLinear::Product> products;
  for (size_t i = 0; i < layers.size(); ++i) {
    products.push_back({layers[i], reinterpret_cast<uint16_t*>(out_ptrs[i]), layers[i]->outputs()});
  }
  py::gil_scoped_release release;
  PackedLinear::multiply(products, reinterpret_cast<const uint16_t*>(x_ptr), x_stride, rows);
}

}  // namespace

void bind_linear(py::module_& module) {
  module.def("available", &PackedLinear::available,
             "Whether the instruction set in use can multiply packed bfloat16 weights.");
  py::class_<PackedLinear>(
      module, "PackedLinear",
      "Weights of a bfloat16 linear layer, copied in the order in which products read them.")
      .def(py::init([](uintptr_t weight_ptr, int64_t weight_stride, uintptr_t bias_ptr,
                       int32_t outputs, int32_t inputs) {
             return PackedLinear(reinterpret_cast<const uint16_t*>(weight_ptr), weight_stride,
                                 reinterpret_cast<const uint16_t*>(bias_ptr), outputs, inputs);
           }),
           py::arg("weight_ptr"), py::arg("weight_stride"), py::arg("bias_ptr"), py::arg("outputs"),
           py::arg("inputs"),
           "Weights [outputs, inputs], rows weight_stride elements apart; bias [outputs], or\n"
           "bias_ptr 0 for none. ValueError unless inputs is even and both are positive.")
      .def_property_readonly("outputs", &PackedLinear::outputs, "Outputs of a row.")
      .def_property_readonly("inputs", &PackedLinear::inputs, "Inputs of a row.")
      .def(
          "multiply",
          [](const PackedLinear& linear, uintptr_t x_ptr, int64_t x_stride, int32_t rows,
             uintptr_t out_ptr, int64_t out_stride) {
            py::gil_scoped_release release;
            linear.multiply(reinterpret_cast<const uint16_t*>(x_ptr), x_stride, rows,
                            reinterpret_cast<uint16_t*>(out_ptr), out_stride);
          },
          py::arg("x_ptr"), py::arg("x_stride"), py::arg("rows"), py::arg("out_ptr"),
          py::arg("out_stride"),
          "out [rows, outputs] = x [rows, inputs] · weightᵀ + bias, all bfloat16; strides in\n"
          "elements. A row has the same bits whatever it is batched with. ValueError if the\n"
          "instruction set in use cannot, or a row does not fit its stride.");
  module.def("multiply_all", &multiply_all, py::arg("layers"), py::arg("x_ptr"),
             py::arg("x_stride"), py::arg("rows"), py::arg("out_ptrs"),
             "The products of several layers with the same rows, in one loop; their outs\n"
             "[rows, outputs] are contiguous. Bits and errors are those of multiply; ValueError\n"
             "also if the layers differ in inputs or out_ptrs in number.");
}

}  // namespace treeward::bindings
