// Shared by the bindings of the tree and of the search.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "bindings/bindings.h"
#include "search/options.h"
#include "tree/arena.h"
#include "tree/export.h"

namespace treeward::bindings {

std::string finish_name(Finish finish);
Finish parse_finish(const std::string& name);
Backup parse_backup(const std::string& name);
py::dict export_arrays(const TreeExport& e);
Options to_options(const py::dict& given);

/// Runs `function`, which touches no Python object, without the GIL and under the arena's lock.
/// The lock is taken after the GIL is let go: the other order could deadlock two threads.
template <typename Function>
auto locked(Arena& arena, Function&& function) {
  py::gil_scoped_release release;
  std::lock_guard guard(arena.mutex());
  return std::forward<Function>(function)();
}

template <typename T>
py::array_t<T> array_of(const std::vector<T>& values) {
  return py::array_t<T>(static_cast<py::ssize_t>(values.size()), values.data());
}

}  // namespace treeward::bindings
