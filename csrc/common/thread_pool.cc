#include "common/thread_pool.h"

#include <pthread.h>

#include <algorithm>
#include <string>

#include "common/errors.h"
#include "common/openmp_team.h"

namespace treeward {
namespace {

// Loops of one attention call or one step of a search last tens of microseconds; sleeping and
// waking would cost as much. So whoever waits looks for the end about as long before it sleeps.
constexpr int kSpins = 2000;

void pause_briefly() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#else
  std::this_thread::yield();
#endif
}

/// Whether `condition` came true within a while.
template <typename Condition>
bool spin_until(Condition&& condition) {
  for (int i = 0; i < kSpins; ++i) {
    if (condition()) return true;
    // Who is waited for may be kept from running by this very thread.
    if (i % 32 == 31) std::this_thread::yield();
    pause_briefly();
  }
  return false;
}

// Who holds the mutex keeps it for a few instructions, and whoever sleeps for it sleeps much
// longer.
std::unique_lock<std::mutex> lock_soon(std::mutex& mutex) {
  std::unique_lock lock(mutex, std::defer_lock);
  if (!spin_until([&] { return lock.try_lock(); })) lock.lock();
  return lock;
}

void check_size(int n_threads) {
  if (n_threads < 1) {
    throw InvalidArgument("n_threads: must be at least 1, got " + std::to_string(n_threads));
  }
}

}  // namespace

ThreadPool::ThreadPool(int n_threads) : size_(n_threads) { check_size(n_threads); }

ThreadPool::~ThreadPool() { resize(1); }

void ThreadPool::resize(int n_threads) {
  check_size(n_threads);
  std::vector<std::unique_ptr<Worker>> removed;
  {
    std::lock_guard lock(mutex_);
    size_.store(n_threads, std::memory_order_relaxed);
    posted_.fetch_add(1, std::memory_order_relaxed);
    while (workers_.size() + 1 > static_cast<size_t>(n_threads)) {
      workers_.back()->stop = true;
      removed.push_back(std::move(workers_.back()));
      workers_.pop_back();
    }
  }
  wake_.notify_all();
  for (auto& worker : removed) worker->thread.join();
}

void ThreadPool::start_workers() {
  while (workers_.size() + 1 < static_cast<size_t>(size())) {
    auto worker = std::make_unique<Worker>();
    Worker& self = *worker;
    workers_.push_back(std::move(worker));
    try {
      self.thread = std::thread([this, &self] { worker_loop(self); });
    } catch (...) {
      workers_.pop_back();
      if (workers_.empty()) throw;
      return;  // fewer threads than asked for still finish the loop
    }
  }
}

ThreadPool::Job* ThreadPool::joinable_job() {
  for (Job* job : jobs_) {
    if (job->joined < job->limit && !job->tasks.empty()) return job;
  }
  return nullptr;
}

void ThreadPool::await_post(std::unique_lock<std::mutex>& lock) {
  // With more threads than processors the others need this one.
  static const unsigned processors = std::thread::hardware_concurrency();
  if (static_cast<unsigned>(size()) > processors) return;
  const uint64_t seen = posted_.load(std::memory_order_relaxed);
  ++awake_;
  lock.unlock();
  spin_until([&] { return posted_.load(std::memory_order_relaxed) != seen; });
  lock = lock_soon(mutex_);
  --awake_;
}

void ThreadPool::worker_loop(Worker& self) {
  std::unique_lock lock(mutex_);
  while (true) {
    Job* job = nullptr;
    const auto found = [&] { return self.stop || (job = joinable_job()) != nullptr; };
    if (!found()) {
      await_post(lock);
      wake_.wait(lock, found);
    }
    if (self.stop) return;
    ++job->joined;
    job->active.fetch_add(1, std::memory_order_relaxed);
    lock.unlock();
    std::fesetenv(&job->environment);
    work(*job);
    lock = lock_soon(mutex_);
    // The caller may be gone as soon as it sees 0: the job is not touched after this.
    if (job->active.fetch_sub(1, std::memory_order_release) == 1) left_.notify_all();
  }
}

void ThreadPool::work(Job& job) {
  const int thread = job.tasks.claim();
  try {
    job.tasks.run(thread, [&](int64_t task, int64_t) { job.invoke(job.body, task, thread); });
  } catch (...) {
    job.tasks.drop();
    std::lock_guard lock(mutex_);
    if (!job.error) job.error = std::current_exception();
  }
}

bool ThreadPool::run_on_team(Job& job) {
  const auto join = [](void* data) {
    Job& mine = *static_cast<Job*>(data);
    std::fenv_t before;
    std::fegetenv(&before);
    std::fesetenv(&mine.environment);
    mine.pool->work(mine);
    std::fesetenv(&before);
  };
  return run_on_openmp_team(join, &job, job.limit);
}

void ThreadPool::run(int64_t n_tasks, int max_threads, Invoke invoke, const void* body) {
  if (n_tasks <= 0) return;
  const int64_t most = std::min<int64_t>(std::min(max_threads, size()), n_tasks);
  if (most <= 1) {
    for (int64_t task = 0; task < n_tasks; ++task) invoke(body, task, 0);
    return;
  }
  Job job{.pool = this,
          .invoke = invoke,
          .body = body,
          .tasks = TaskBlocks(n_tasks, static_cast<int>(most)),
          .limit = static_cast<int>(most)};
  std::fegetenv(&job.environment);
  if (run_on_team(job)) {
    if (job.error) std::rethrow_exception(job.error);
    return;
  }
  int64_t asleep = 0;
  {
    const auto lock = lock_soon(mutex_);
    start_workers();
    jobs_.push_back(&job);
    posted_.fetch_add(1, std::memory_order_relaxed);
    asleep = most - 1 - awake_;
  }
  for (int64_t i = 0; i < asleep; ++i) wake_.notify_one();
  work(job);
  {
    const auto lock = lock_soon(mutex_);
    jobs_.erase(std::find(jobs_.begin(), jobs_.end(), &job));
  }
  const auto all_left = [&] { return job.active.load(std::memory_order_acquire) == 0; };
  if (!spin_until(all_left)) {
    std::unique_lock lock(mutex_);
    left_.wait(lock, all_left);
  }
  if (job.error) std::rethrow_exception(job.error);
}

namespace {

// Never destroyed: a worker may still be asleep in it when the process ends.
std::atomic<ThreadPool*> shared_pool{nullptr};

void replace_pool_in_child() {
  // The parent's pool is leaked here: its threads do not exist and its mutex may be held.
  if (ThreadPool* old = shared_pool.load()) shared_pool.store(new ThreadPool(old->size()));
}

}  // namespace

ThreadPool& thread_pool() {
  static const bool made = [] {
    const int n = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
    shared_pool.store(new ThreadPool(n));
    pthread_atfork(nullptr, nullptr, replace_pool_in_child);
    return true;
  }();
  (void)made;
  return *shared_pool.load(std::memory_order_acquire);
}

}  // namespace treeward
