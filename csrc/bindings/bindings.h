// What every bindings file defines. Python.h is seen only below this folder.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

namespace treeward::bindings {

namespace py = pybind11;

/// Registers the exception classes; returns their base, TreewardError.
py::object& register_errors(py::module_& module);

void bind_attention(py::module_& module);
void bind_decoder(py::module_& module);
void bind_kv(py::module_& module);
void bind_linear(py::module_& module);
void bind_sampling(py::module_& module);
void bind_tree(py::module_& module);
void bind_search(py::module_& module);
void bind_batched_search(py::module_& module);

}  // namespace treeward::bindings
