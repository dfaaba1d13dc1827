// Every task runs once; threads are told apart; errors and forks are survived.
#include "common/thread_pool.h"

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cfenv>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "check.h"
#include "common/errors.h"

namespace treeward {
namespace {

void every_task_runs_once() {
  ThreadPool pool(4);
  for (const int64_t n : {0, 1, 2, 3, 4, 5, 1000}) {
    for (const int most : {1, 2, 100}) {
      std::vector<std::atomic<int>> count(n);
      std::atomic<int> largest{0};
      pool.parallel_for(n, most, [&](int64_t task, int thread) {
        count[task].fetch_add(1);
        int seen = largest.load();
        while (thread > seen && !largest.compare_exchange_weak(seen, thread)) {
        }
      });
      for (const auto& c : count) CHECK(c.load() == 1);
      CHECK(largest.load() < std::min(most, 4));
    }
  }
}

void thread_numbers_are_unique_among_those_inside() {
  ThreadPool pool(8);
  for (int round = 0; round < 200; ++round) {
    std::vector<std::atomic<bool>> busy(8);
    pool.parallel_for(64, 8, [&](int64_t, int thread) {
      CHECK(!busy[thread].exchange(true));
      std::this_thread::yield();
      busy[thread].store(false);
    });
  }
}

void a_thread_keeps_its_tasks() {
  ThreadPool pool(3);
  std::thread::id first[3];
  for (int round = 0; round < 300; ++round) {
    std::atomic<int> there{0};
    std::thread::id ran[3];
    pool.parallel_for(3, 3, [&](int64_t task, int thread) {
      CHECK(task == thread);
      ran[task] = std::this_thread::get_id();
      there.fetch_add(1);
      while (there.load() < 3) std::this_thread::yield();  // so that none does two tasks
    });
    for (int task = 0; task < 3; ++task) {
      if (round == 0) first[task] = ran[task];
      CHECK(ran[task] == first[task]);
    }
  }
}

void blocks_cover_the_tasks_in_order() {
  for (const int64_t n : {0, 1, 2, 7, 64}) {
    for (const int blocks : {1, 2, 3, 8}) {
      for (int start = 0; start < blocks; ++start) {
        TaskBlocks tasks(n, blocks);
        CHECK(tasks.empty() == (n == 0));
        std::vector<int64_t> order;
        int ends = 0;
        tasks.run(start, [&](int64_t task, int64_t after) {
          CHECK(after == task + 1 || after == -1);
          ends += after == -1;
          order.push_back(task);
        });
        CHECK(tasks.empty());
        CHECK(static_cast<int64_t>(order.size()) == n);
        CHECK(ends == std::min<int64_t>(n, blocks));
        const int64_t shift = n * start / blocks;
        for (int64_t i = 0; i < n; ++i) CHECK(order[i] == (shift + i) % n);
      }
    }
  }
  TaskBlocks tasks(10, 3);
  const std::set<int> claimed = {tasks.claim(), tasks.claim(), tasks.claim()};
  CHECK(claimed.size() == 3 && *claimed.begin() == 0 && *claimed.rbegin() == 2);
  tasks.drop();
  CHECK(tasks.empty());
  tasks.run(1, [](int64_t, int64_t) { CHECK(false); });
}

void errors_reach_the_caller() {
  ThreadPool pool(4);
  for (int round = 0; round < 50; ++round) {
    std::string message;
    try {
      pool.parallel_for(100, 4, [&](int64_t task, int) {
        if (task % 7 == round % 7) throw std::runtime_error("task failed");
      });
    } catch (const std::runtime_error& error) {
      message = error.what();
    }
    CHECK(message == "task failed");
    std::atomic<int> n{0};
    pool.parallel_for(10, 4, [&](int64_t, int) { n.fetch_add(1); });
    CHECK(n.load() == 10);
  }
}

void loops_may_be_nested() {
  ThreadPool pool(3);
  std::atomic<int> n{0};
  pool.parallel_for(
      8, 3, [&](int64_t, int) { pool.parallel_for(8, 3, [&](int64_t, int) { n.fetch_add(1); }); });
  CHECK(n.load() == 64);
}

void several_callers_and_resizes() {
  ThreadPool pool(2);
  std::atomic<int64_t> total{0};
  std::vector<std::thread> callers;
  for (int c = 0; c < 4; ++c) {
    callers.emplace_back([&] {
      for (int i = 0; i < 200; ++i) {
        pool.parallel_for(20, 8, [&](int64_t task, int) { total.fetch_add(task); });
      }
    });
  }
  for (int i = 0; i < 100; ++i) pool.resize(1 + i % 5);
  for (auto& caller : callers) caller.join();
  CHECK(total.load() == 4 * 200 * 190);
}

void sizes_are_checked() {
  for (const int wrong : {0, -3}) {
    bool raised = false;
    try {
      ThreadPool pool(wrong);
    } catch (const InvalidArgument&) {
      raised = true;
    }
    CHECK(raised);
  }
}

void workers_take_over_the_rounding_mode() {
  ThreadPool pool(4);
  CHECK(std::fesetround(FE_UPWARD) == 0);
  std::atomic<int> wrong{0};
  for (int i = 0; i < 50; ++i) {
    pool.parallel_for(64, 4, [&](int64_t, int) {
      if (std::fegetround() != FE_UPWARD) wrong.fetch_add(1);
      std::this_thread::yield();
    });
  }
  std::fesetround(FE_TONEAREST);
  CHECK(wrong.load() == 0);
}

[[maybe_unused]] void a_forked_child_gets_threads() {
  thread_pool().resize(4);
  const auto sum = [] {
    std::atomic<int64_t> total{0};
    thread_pool().parallel_for(1000, 4, [&](int64_t task, int) { total.fetch_add(task); });
    return total.load();
  };
  CHECK(sum() == 499500);
  const pid_t child = fork();
  if (child == 0) {
    const bool good = thread_pool().size() == 4 && sum() == 499500 && sum() == 499500;
    thread_pool().resize(1);
    _exit(good ? 0 : 1);
  }
  int status = -1;
  CHECK(waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  CHECK(sum() == 499500);
  thread_pool().resize(1);
}

}  // namespace
}  // namespace treeward

int main() {
  treeward::every_task_runs_once();
  treeward::thread_numbers_are_unique_among_those_inside();
  treeward::a_thread_keeps_its_tasks();
  treeward::blocks_cover_the_tasks_in_order();
  treeward::errors_reach_the_caller();
  treeward::loops_may_be_nested();
  treeward::several_callers_and_resizes();
  treeward::sizes_are_checked();
  treeward::workers_take_over_the_rounding_mode();
#if !defined(__SANITIZE_THREAD__)  // which cannot follow threads of a forked child
  treeward::a_forked_child_gets_threads();
#endif
  return 0;
}
