#include "attention/plan.h"

#include <atomic>

namespace treeward {

uint64_t new_plan_number() {
  static std::atomic<uint64_t> last{0};
  return last.fetch_add(1, std::memory_order_relaxed) + 1;
}

}  // namespace treeward
