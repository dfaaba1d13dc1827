// The threads of an OpenMP runtime that somebody else brought into the process.
#pragma once

namespace treeward {

/// From now on loops run on the threads of the OpenMP runtime that the process has loaded, if there
/// is one with GNU's entry point (libgomp, libiomp5, libomp). Torch loads one, and between two of
/// its operations its threads spin for a while: other threads would have to share processors with
/// them. Returns whether there is one. Not kept by a forked child, where those threads are gone.
bool use_loaded_openmp();

/// Calls fn(data) on up to n_threads threads, the caller included, and returns when all are back;
/// false, without a call, when no runtime is in use.
bool run_on_openmp_team(void (*fn)(void*), void* data, int n_threads);

}  // namespace treeward
