// A small pool of threads for loops whose result does not depend on who runs which task.
#pragma once

#include <atomic>
#include <cfenv>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <type_traits>
#include <vector>

#include "common/task_blocks.h"

namespace treeward {

/// Runs loops on the calling thread plus size() - 1 workers, which start with the first loop that
/// needs them, or on the threads of OpenMP (openmp_team.h). Several threads may run loops on one
/// pool at once; they share its workers.
class ThreadPool {
 public:
  /// InvalidArgument unless n_threads >= 1.
  explicit ThreadPool(int n_threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  /// Threads that one loop may use, the caller included.
  int size() const { return size_.load(std::memory_order_relaxed); }

  /// Changes size(); loops that are running keep the workers they have. Not to be called from
  /// inside a task. InvalidArgument unless n_threads >= 1.
  void resize(int n_threads);

  /// Calls fn(task, thread) once for each task in [0, n_tasks), thread in [0, max_threads) being
  /// unique among the calls that run at the same time; loop after loop, a thread keeps its number
  /// and its share of the tasks where it can (task_blocks.h). Returns when all are done. The first
  /// exception is rethrown here; tasks not begun by then are dropped. Tasks see the caller's
  /// floating point environment (rounding, denormals), so that results cannot depend on threads.
  template <class Function>
  void parallel_for(int64_t n_tasks, int max_threads, Function&& fn) {
    using Body = std::remove_reference_t<Function>;
    run(
        n_tasks, max_threads,
        [](const void* body, int64_t task, int thread) {
          (*static_cast<Body*>(const_cast<void*>(body)))(task, thread);
        },
        static_cast<const void*>(&fn));
  }

 private:
  using Invoke = void (*)(const void* body, int64_t task, int thread);

  /// One loop in progress; lives on its caller's stack. `error` and `joined` need the mutex.
  struct Job {
    ThreadPool* pool;
    Invoke invoke;
    const void* body;
    TaskBlocks tasks;  // a block for each thread that it may use, the caller included
    int limit;         // these threads
    int joined = 1;
    std::atomic<int> active{0};  // workers inside; the caller may leave once this is 0
    std::fenv_t environment{};
    std::exception_ptr error = nullptr;
  };

  struct Worker {
    std::thread thread;
    bool stop = false;
  };

  void run(int64_t n_tasks, int max_threads, Invoke invoke, const void* body);
  bool run_on_team(Job& job);
  void work(Job& job);
  void worker_loop(Worker& self);
  /// Lets the lock go and looks out for a new job for a while.
  void await_post(std::unique_lock<std::mutex>& lock);
  void start_workers();  // needs the mutex
  Job* joinable_job();   // needs the mutex

  std::atomic<int> size_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::condition_variable left_;
  std::vector<Job*> jobs_;
  std::vector<std::unique_ptr<Worker>> workers_;
  int awake_ = 0;  // workers that look out for a job; they need no waking
  // Changes with every job, and alone in its cache line: workers read it all the time.
  alignas(64) std::atomic<uint64_t> posted_{0};
};

/// The pool that every kernel of this process shares; at first one thread a processor. A forked
/// child gets a fresh pool of the same size, because threads do not survive a fork.
ThreadPool& thread_pool();

}  // namespace treeward
