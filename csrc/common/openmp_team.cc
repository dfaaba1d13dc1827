#include "common/openmp_team.h"

#include <dlfcn.h>
#include <pthread.h>

#include <atomic>

namespace treeward {
namespace {

using Parallel = void (*)(void (*fn)(void*), void* data, unsigned n_threads, unsigned flags);

std::atomic<Parallel> parallel{nullptr};

Parallel find_loaded() {
  for (const char* name : {"libgomp.so.1", "libiomp5.so", "libomp.so"}) {
    void* library = dlopen(name, RTLD_LAZY | RTLD_NOLOAD);
    if (library == nullptr) continue;
    if (void* found = dlsym(library, "GOMP_parallel")) return reinterpret_cast<Parallel>(found);
    dlclose(library);
  }
  return nullptr;
}

}  // namespace

bool use_loaded_openmp() {
  static const bool at_fork = [] {
    pthread_atfork(nullptr, nullptr, [] { parallel.store(nullptr); });
    return true;
  }();
  (void)at_fork;
  if (parallel.load() == nullptr) parallel.store(find_loaded());
  return parallel.load() != nullptr;
}

bool run_on_openmp_team(void (*fn)(void*), void* data, int n_threads) {
  const Parallel run = parallel.load(std::memory_order_relaxed);
  if (run == nullptr) return false;
  run(fn, data, static_cast<unsigned>(n_threads), 0);
  return true;
}

}  // namespace treeward
