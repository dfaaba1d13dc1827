#include "attention/check.h"

#include <cmath>
#include <cstdlib>
#include <string>

#include "common/errors.h"

namespace treeward {
namespace {

void require(bool ok, const char* name, const std::string& what) {
  if (!ok) throw InvalidArgument(std::string(name) + ": " + what);
}

// Messages of plan checks are built only when one fails: plans are checked on every call.
[[noreturn]] void fail(const char* name, int64_t index, const char* what) {
  throw InvalidArgument(std::string(name) + "[" + std::to_string(index) + "]: " + what);
}

int64_t n_slots(const KvLayer& layer) {
  return static_cast<int64_t>(layer.pages) * layer.page_size;
}

int64_t size(const std::vector<int32_t>& v) { return static_cast<int64_t>(v.size()); }

void check_alignment(const char* name, const void* data, ElementType type) {
  const uintptr_t bytes = type == ElementType::f32 ? 4 : 2;
  require(reinterpret_cast<uintptr_t>(data) % bytes == 0, name,
          "must be aligned to its element type");
}

}  // namespace

void check_layer(const KvLayer& layer) {
  require(layer.pages >= 0, "pages", "must not be negative");
  require(layer.kv_heads >= 1, "kv_heads", "must be at least 1");
  require(layer.page_size >= 1, "page_size", "must be at least 1");
  require(layer.head_dim >= 1, "head_dim", "must be at least 1");
  require(n_slots(layer) <= INT32_MAX, "pages", "pages x page_size must fit 31 bits");
  require(layer.pages == 0 || layer.keys != nullptr, "keys", "is null");
  require(layer.pages == 0 || layer.values != nullptr, "values", "is null");
  check_alignment("keys", layer.keys, layer.type);
  check_alignment("values", layer.values, layer.type);
}

void check_rows(const char* name, const void* data, const KvLayer& layer, int32_t n_rows) {
  require(n_rows == 0 || data != nullptr, name, "is null");
  check_alignment(name, data, layer.type);
}

void check_output(const char* name, const Rows& rows, const KvLayer& layer, int32_t n_rows,
                  int32_t heads) {
  check_rows(name, rows.data, layer, n_rows);
  const int64_t row = std::llabs(rows.row_stride), head = std::llabs(rows.head_stride);
  const int64_t dim = layer.head_dim;
  // One of the two dimensions is the outer one and steps over the whole of the inner one.
  const bool head_inside = row >= (heads - 1) * head + dim && (heads == 1 || head >= dim);
  const bool row_inside = head >= (n_rows - 1) * row + dim && (n_rows == 1 || row >= dim);
  const bool single_row = n_rows == 1 && (heads == 1 || head >= dim);
  const bool single_head = heads == 1 && row >= dim;
  require(n_rows == 0 || head_inside || row_inside || single_row || single_head, name,
          "strides make rows or heads overlap");
}

void check_append_slots(const Plan& plan, const KvLayer& layer) {
  require(plan.n_rows >= 0, "plan.n_rows", "must not be negative");
  require(size(plan.append_slots) == plan.n_rows, "plan.append_slots", "must have n_rows entries");
  const int64_t slots = n_slots(layer);
  for (int32_t row = 0; row < plan.n_rows; ++row) {
    const int32_t slot = plan.append_slots[row];
    if (slot < -1 || slot >= slots) fail("plan.append_slots", row, "is outside the pool");
  }
}

void check_slots(const Plan& plan, const KvLayer& layer) {
  const int64_t slots = n_slots(layer);
  for (size_t i = 0; i < plan.slots.size(); ++i) {
    if (plan.slots[i] < 0 || plan.slots[i] >= slots) {
      fail("plan.slots", static_cast<int64_t>(i), "is outside the pool");
    }
  }
}

void check_plan(const Plan& plan, std::vector<int32_t>& row_of_partial) {
  require(plan.n_rows >= 0, "plan.n_rows", "must not be negative");
  require(plan.n_partials >= 0, "plan.n_partials", "must not be negative");
  require(size(plan.query_position) == plan.n_rows, "plan.query_position",
          "must have n_rows entries");
  require(size(plan.reduce_begin) == plan.n_rows + int64_t{1}, "plan.reduce_begin",
          "must have n_rows + 1 entries");
  row_of_partial.assign(plan.n_partials, -1);
  for (size_t i = 0; i < plan.items.size(); ++i) {
    const WorkItem& item = plan.items[i];
    const auto at = static_cast<int64_t>(i);
    if (item.query_begin < 0 || item.query_end < item.query_begin || item.query_end > plan.n_rows) {
      fail("plan.items", at, "rows are outside the batch");
    }
    if (item.n_tokens < 0 || item.n_tokens > kChunkTokens) {
      fail("plan.items", at, "n_tokens must lie in [0, 64]");
    }
    if (item.slot_begin < 0 || item.slot_begin > size(plan.slots) - item.n_tokens) {
      fail("plan.items", at, "slots are outside plan.slots");
    }
    if (item.position < 0) fail("plan.items", at, "position must not be negative");
    const int32_t n = item.query_end - item.query_begin;
    if (item.partial_begin < 0 || item.partial_begin > plan.n_partials - n) {
      fail("plan.items", at, "partials are outside [0, n_partials)");
    }
    for (int32_t q = 0; q < n; ++q) {
      int32_t& row = row_of_partial[item.partial_begin + q];
      if (row != -1) fail("plan.items", at, "writes a partial of another item");
      row = item.query_begin + q;
    }
  }
  if (plan.reduce_begin[0] != 0 || plan.reduce_begin[plan.n_rows] != size(plan.reduce_partials)) {
    throw InvalidArgument("plan.reduce_begin: must run from 0 to the size of reduce_partials");
  }
  // All of reduce_begin first: an entry out of order would index past reduce_partials below.
  for (int32_t row = 0; row < plan.n_rows; ++row) {
    if (plan.reduce_begin[row + 1] < plan.reduce_begin[row]) {
      fail("plan.reduce_begin", row + 1, "is smaller than the entry before");
    }
  }
  for (int32_t row = 0; row < plan.n_rows; ++row) {
    for (int32_t i = plan.reduce_begin[row]; i < plan.reduce_begin[row + 1]; ++i) {
      const int32_t partial = plan.reduce_partials[i];
      if (partial < 0 || partial >= plan.n_partials || row_of_partial[partial] != row) {
        fail("plan.reduce_partials", i, "is no partial of its row, or is merged twice");
      }
      row_of_partial[partial] = -1;
    }
  }
}

}  // namespace treeward
