// Tasks in one block a thread. Who is done with his own block takes what others left:
//
//     tasks    | 0 1 2 3 | 4 5 6 7 | 8 9 10 |      3 threads
//     block         0         1         2
//
// A thread comes back to the same block loop after loop. What it wrote there is in its own caches;
// those of another processor may be as far away as memory (two dies of an EPYC: attention of 32
// rows took 1.5 times as long with tasks in the order of arrival).
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

namespace treeward {

class TaskBlocks {
 public:
  TaskBlocks(int64_t n_tasks, int n_blocks) : n_(n_blocks), blocks_(new Block[n_blocks]) {
    for (int b = 0; b < n_; ++b) {
      blocks_[b].next.store(n_tasks * b / n_, std::memory_order_relaxed);
      blocks_[b].end = n_tasks * (b + 1) / n_;
    }
  }

  /// Calls fn(task, after) for the tasks of a block, then for what is left of the others. `after`
  /// is the task that comes next in the block, -1 at its end.
  template <class Function>
  void run(int first, Function&& fn) {
    for (int i = 0; i < n_; ++i) {
      Block& block = blocks_[(first + i) % n_];
      for (;;) {
        const int64_t task = block.next.fetch_add(1, std::memory_order_relaxed);
        if (task >= block.end) break;
        fn(task, task + 1 < block.end ? task + 1 : -1);
      }
    }
  }

  /// A block for the calling thread alone: the one that it had in the last loop, where that is
  /// free.
  int claim() {
    thread_local int mine = 0;
    for (int i = 0; i < n_ - 1; ++i) {
      const int block = (mine + i) % n_;
      if (!blocks_[block].claimed.exchange(true, std::memory_order_relaxed)) return mine = block;
    }
    return mine = (mine + n_ - 1) % n_;
  }

  bool empty() const {
    for (int b = 0; b < n_; ++b) {
      if (blocks_[b].next.load(std::memory_order_relaxed) < blocks_[b].end) return false;
    }
    return true;
  }

  /// Leaves out all tasks that nobody has begun.
  void drop() {
    for (int b = 0; b < n_; ++b) blocks_[b].next.store(blocks_[b].end, std::memory_order_relaxed);
  }

 private:
  struct alignas(64) Block {  // a cache line each
    std::atomic<int64_t> next{0};
    int64_t end = 0;
    std::atomic<bool> claimed{false};
  };

  int n_;
  std::unique_ptr<Block[]> blocks_;
};

}  // namespace treeward
