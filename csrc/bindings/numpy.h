// Small conversions between vectors of the core and numpy arrays.
#pragma once

#include <pybind11/numpy.h>

#include <algorithm>
#include <cstdint>
#include <vector>

namespace treeward::bindings {

/// A new int64 array, the index type of torch.
inline pybind11::array_t<int64_t> int64_array(const std::vector<int32_t>& values) {
  pybind11::array_t<int64_t> out(static_cast<pybind11::ssize_t>(values.size()));
  std::copy(values.begin(), values.end(), out.mutable_data());
  return out;
}

}  // namespace treeward::bindings
