#include "attention/plan.h"

#include <algorithm>
#include <atomic>

#include "attention/check.h"
#include "common/errors.h"

namespace treeward {

uint64_t new_plan_number() {
  static std::atomic<uint64_t> last{0};
  return last.fetch_add(1, std::memory_order_relaxed) + 1;
}

Plan plan_of_rows(const Plan& plan, const std::vector<int32_t>& rows) {
  std::vector<int32_t> new_partial;
  check_plan(plan, new_partial);
  for (size_t i = 0; i < rows.size(); ++i) {
    if (rows[i] < 0 || rows[i] >= plan.n_rows || (i > 0 && rows[i] <= rows[i - 1])) {
      throw InvalidArgument("rows: must be rows of the plan, ascending");
    }
  }
  Plan part;
  part.n_rows = static_cast<int32_t>(rows.size());
  part.append_slots.assign(rows.size(), -1);
  part.slots = plan.slots;
  const auto first_from = [&](int32_t row) {
    return static_cast<int32_t>(std::lower_bound(rows.begin(), rows.end(), row) - rows.begin());
  };
  for (const WorkItem& item : plan.items) {
    WorkItem kept = item;
    kept.query_begin = first_from(item.query_begin);
    kept.query_end = first_from(item.query_end);
    kept.partial_begin = part.n_partials;
    if (kept.query_begin >= kept.query_end) continue;
    for (int32_t i = kept.query_begin; i < kept.query_end; ++i) {
      new_partial[item.partial_begin + rows[i] - item.query_begin] = part.n_partials++;
    }
    part.items.push_back(kept);
  }
  part.reduce_begin.push_back(0);
  for (const int32_t row : rows) {
    part.query_position.push_back(plan.query_position[row]);
    for (int32_t i = plan.reduce_begin[row]; i < plan.reduce_begin[row + 1]; ++i) {
      part.reduce_partials.push_back(new_partial[plan.reduce_partials[i]]);
    }
    part.reduce_begin.push_back(static_cast<int32_t>(part.reduce_partials.size()));
  }
  part.number = new_plan_number();
  return part;
}

}  // namespace treeward
