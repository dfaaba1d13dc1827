// search._native.attention: plans, pool layers and the attention calls.
#include "attention/attention.h"

#include <array>
#include <string>
#include <utility>
#include <vector>

#include "bindings/bindings.h"
#include "common/errors.h"
#include "common/huge_pages.h"
#include "common/openmp_team.h"
#include "common/simd.h"
#include "common/thread_pool.h"

namespace treeward::bindings {
namespace {

using IntArray = py::array_t<int32_t, py::array::c_style | py::array::forcecast>;
using Strides = std::pair<int64_t, int64_t>;

constexpr py::ssize_t kItemFields = 6;
static_assert(sizeof(WorkItem) == kItemFields * sizeof(int32_t));

std::vector<int32_t> to_vector(const char* name, const IntArray& array) {
  if (array.ndim() != 1) throw InvalidArgument(std::string(name) + ": must be one-dimensional");
  return {array.data(), array.data() + array.size()};
}

/// A read-only copy: the plan may be filled anew while Python still holds the array.
py::array_t<int32_t> to_array(const std::vector<int32_t>& values) {
  py::array_t<int32_t> array(static_cast<py::ssize_t>(values.size()), values.data());
  array.attr("setflags")(py::arg("write") = false);
  return array;
}

Plan make_plan(const IntArray& query_position, const IntArray& append_slots, const IntArray& items,
               const IntArray& slots, const IntArray& reduce_begin, const IntArray& reduce_partials,
               int32_t n_partials) {
  if (items.ndim() != 2 || items.shape(1) != kItemFields) {
    throw InvalidArgument("items: must have shape [n_items, 6]");
  }
  Plan plan;
  plan.query_position = to_vector("query_position", query_position);
  plan.append_slots = to_vector("append_slots", append_slots);
  for (py::ssize_t i = 0; i < items.shape(0); ++i) {
    const int32_t* row = items.data(i, 0);
    plan.items.push_back({row[0], row[1], row[2], row[3], row[4], row[5]});
  }
  plan.slots = to_vector("slots", slots);
  plan.reduce_begin = to_vector("reduce_begin", reduce_begin);
  plan.reduce_partials = to_vector("reduce_partials", reduce_partials);
  plan.n_rows = static_cast<int32_t>(plan.query_position.size());
  plan.n_partials = n_partials;
  plan.number = new_plan_number();
  return plan;
}

py::array_t<int32_t> item_array(const Plan& plan) {
  py::array_t<int32_t> array({static_cast<py::ssize_t>(plan.items.size()), kItemFields});
  auto view = array.mutable_unchecked<2>();
  for (size_t i = 0; i < plan.items.size(); ++i) {
    const WorkItem& item = plan.items[i];
    const std::array<int32_t, kItemFields> fields = {item.query_begin, item.query_end,
                                                     item.slot_begin,  item.n_tokens,
                                                     item.position,    item.partial_begin};
    for (py::ssize_t j = 0; j < kItemFields; ++j) view(static_cast<py::ssize_t>(i), j) = fields[j];
  }
  array.attr("setflags")(py::arg("write") = false);
  return array;
}

ElementType parse_type(const std::string& name) {
  if (name == "float32") return ElementType::f32;
  if (name == "bfloat16") return ElementType::bf16;
  throw InvalidArgument("dtype: '" + name + "' is neither float32 nor bfloat16");
}

KvLayer make_layer(uintptr_t k_ptr, uintptr_t v_ptr, int32_t pages, int32_t kv_heads,
                   int32_t page_size, int32_t head_dim, const std::string& dtype) {
  return {.keys = reinterpret_cast<void*>(k_ptr),
          .values = reinterpret_cast<void*>(v_ptr),
          .pages = pages,
          .kv_heads = kv_heads,
          .page_size = page_size,
          .head_dim = head_dim,
          .type = parse_type(dtype)};
}

ConstRows const_rows(uintptr_t data, const Strides& strides) {
  return {reinterpret_cast<const void*>(data), strides.first, strides.second};
}

/// One a thread, so that Python threads can attend at once; freed with the thread.
AttentionScratch& scratch() {
  thread_local AttentionScratch scratch;
  return scratch;
}

void bind_plan(py::module_& module) {
  py::class_<Plan>(module, "Plan", R"(What one model step attends to, used by every layer.

A row is one new token of one branch; rows are packed in depth-first order. An item is one chunk
of at most 64 keys with the contiguous rows that see it, as six integers: query_begin, query_end,
slot_begin, n_tokens, position, partial_begin. Array attributes are read-only copies.)")
      .def(py::init(&make_plan), py::kw_only(), py::arg("query_position"), py::arg("append_slots"),
           py::arg("items"), py::arg("slots"), py::arg("reduce_begin"), py::arg("reduce_partials"),
           py::arg("n_partials"),
           R"(Makes a plan from int32 arrays; indices are checked when it is used.

query_position: [n_rows] position of each row on its path; -1 for padding rows.
append_slots: [n_rows] pool slot of the row's own key and value; -1 for none.
items: [n_items, 6]. slots: [n_slots] pool slots of the keys of all items.
reduce_begin: [n_rows + 1], reduce_partials: partial states of each row, root to leaf.
n_partials: number of partial states, one for each row of each item.
Raises ValueError for a wrong shape.)")
      .def_readonly("n_rows", &Plan::n_rows)
      .def_readonly("n_partials", &Plan::n_partials)
      .def_property_readonly("query_position",
                             [](const Plan& p) { return to_array(p.query_position); })
      .def_property_readonly("append_slots", [](const Plan& p) { return to_array(p.append_slots); })
      .def_property_readonly("items", &item_array)
      .def_property_readonly("slots", [](const Plan& p) { return to_array(p.slots); })
      .def_property_readonly("reduce_begin", [](const Plan& p) { return to_array(p.reduce_begin); })
      .def_property_readonly("reduce_partials",
                             [](const Plan& p) { return to_array(p.reduce_partials); })
      .def(
          "of_rows",
          [](const Plan& p, const IntArray& rows) {
            return plan_of_rows(p, to_vector("rows", rows));
          },
          py::arg("rows"),
          R"(The plan of some rows only, which appends nothing.

rows: [n] int32, ascending. Their attention has the bits that it has in this plan.
Raises ValueError if a row is missing here or out of order.)");
}

void bind_layer(py::module_& module) {
  py::class_<KvLayer>(module, "KvLayer", R"(Keys and values of one layer, seen by address.

The owner of the two contiguous tensors [pages, kv_heads, page_size, head_dim] keeps them alive.)")
      .def(py::init([](uintptr_t k_ptr, uintptr_t v_ptr, int32_t pages, int32_t kv_heads,
                       int32_t page_size, int32_t head_dim, const std::string& dtype) {
             return make_layer(k_ptr, v_ptr, pages, kv_heads, page_size, head_dim, dtype);
           }),
           py::arg("k_ptr"), py::arg("v_ptr"), py::arg("pages"), py::arg("kv_heads"),
           py::arg("page_size"), py::arg("head_dim"), py::arg("dtype"),
           "Addresses as integers; dtype is 'float32' or 'bfloat16'. Raises ValueError otherwise.")
      .def_readonly("pages", &KvLayer::pages)
      .def_readonly("kv_heads", &KvLayer::kv_heads)
      .def_readonly("page_size", &KvLayer::page_size)
      .def_readonly("head_dim", &KvLayer::head_dim)
      .def_property_readonly("dtype", [](const KvLayer& layer) {
        return layer.type == ElementType::f32 ? "float32" : "bfloat16";
      });
}

void bind_calls(py::module_& module) {
  module.def(
      "append",
      [](const Plan& plan, const KvLayer& layer, uintptr_t k_ptr, Strides k_strides,
         uintptr_t v_ptr, Strides v_strides) {
        append(plan, layer, const_rows(k_ptr, k_strides), const_rows(v_ptr, v_strides));
      },
      py::arg("plan"), py::arg("layer"), py::arg("k_ptr"), py::arg("k_strides"), py::arg("v_ptr"),
      py::arg("v_strides"), py::call_guard<py::gil_scoped_release>(),
      R"(Writes the keys and values of the plan's rows into their slots.

k_ptr, v_ptr: addresses of [n_rows, kv_heads, head_dim] of the layer's dtype.
k_strides, v_strides: (row, head) strides in elements; head_dim has stride 1.
Raises ValueError naming the argument that is wrong.)");
  module.def(
      "attend",
      [](const Plan& plan, const KvLayer& layer, uintptr_t q_ptr, Strides q_strides,
         uintptr_t out_ptr, Strides out_strides, int32_t q_heads, float scale, int32_t window,
         float softcap) {
        attend(plan, layer, const_rows(q_ptr, q_strides), q_heads,
               {reinterpret_cast<void*>(out_ptr), out_strides.first, out_strides.second},
               {scale, window, softcap}, scratch());
      },
      py::arg("plan"), py::arg("layer"), py::arg("q_ptr"), py::arg("q_strides"), py::arg("out_ptr"),
      py::arg("out_strides"), py::arg("q_heads"), py::arg("scale"), py::arg("window") = 0,
      py::arg("softcap") = 0.0f, py::call_guard<py::gil_scoped_release>(),
      R"(Attention of the plan's rows over the keys of their paths.

q_ptr, out_ptr: addresses of [n_rows, q_heads, head_dim] of the layer's dtype.
q_strides, out_strides: (row, head) strides in elements; head_dim has stride 1.
q_heads: a multiple of the layer's kv_heads. scale: multiplies every dot product.
window: tokens of its path that a row sees, itself included; 0 for all.
softcap: scores become softcap * tanh(score / softcap); 0 for not.
Padding rows and rows without a visible key get zeros. The result does not depend on the number
of threads nor on how rows are grouped into items. Releases the GIL.
Raises ValueError naming the argument that is wrong, before anything is written.)");
  module.def(
      "append_and_attend",
      [](const Plan& plan, const KvLayer& layer, uintptr_t q_ptr, Strides q_strides,
         uintptr_t k_ptr, Strides k_strides, uintptr_t v_ptr, Strides v_strides, uintptr_t out_ptr,
         Strides out_strides, int32_t q_heads, float scale, int32_t window, float softcap) {
        append(plan, layer, const_rows(k_ptr, k_strides), const_rows(v_ptr, v_strides));
        attend(plan, layer, const_rows(q_ptr, q_strides), q_heads,
               {reinterpret_cast<void*>(out_ptr), out_strides.first, out_strides.second},
               {scale, window, softcap}, scratch());
      },
      py::arg("plan"), py::arg("layer"), py::arg("q_ptr"), py::arg("q_strides"), py::arg("k_ptr"),
      py::arg("k_strides"), py::arg("v_ptr"), py::arg("v_strides"), py::arg("out_ptr"),
      py::arg("out_strides"), py::arg("q_heads"), py::arg("scale"), py::arg("window") = 0,
      py::arg("softcap") = 0.0f, py::call_guard<py::gil_scoped_release>(),
      "append, then attend, in one call: arguments, result and errors are theirs.");
}

void bind_runtime(py::module_& module) {
  module.def(
      "simd_levels",
      [] {
        std::vector<std::string> names;
        for (const SimdLevel level : available_levels()) names.emplace_back(simd_level_name(level));
        return names;
      },
      "Instruction sets that this host and this build have, slowest first.");
  module.def(
      "simd_level", [] { return std::string(simd_level_name(current_level())); },
      "The instruction set in use. ValueError if TREEWARD_SIMD names one that is missing.");
  module.def(
      "set_simd_level", [](const std::string& name) { set_level(parse_simd_level(name)); },
      py::arg("name"),
      "Changes the instruction set: 'scalar', 'avx2', 'avx512' or 'avx512bf16'. ValueError if "
      "the host or the build lacks it.");
  module.def(
      "num_threads", [] { return thread_pool().size(); },
      "Threads that one call may use, the caller included.");
  module.def(
      "set_num_threads", [](int n) { thread_pool().resize(n); }, py::arg("n"),
      py::call_guard<py::gil_scoped_release>(),
      "Sets the threads that one call may use, the caller included. ValueError if n < 1.");
  module.def("use_loaded_openmp", &use_loaded_openmp,
             "Lets all native loops run on the threads of the OpenMP runtime that the process has\n"
             "loaded, as torch does; False where there is none.");
  module.def(
      "huge_page_memory",
      [](size_t bytes) {
        auto* memory = new std::shared_ptr<void>(shared_huge_pages(bytes));
        const py::capsule owner(
            memory, [](void* held) { delete static_cast<std::shared_ptr<void>*>(held); });
        return py::array_t<uint8_t>(static_cast<py::ssize_t>(bytes),
                                    static_cast<const uint8_t*>(memory->get()), owner);
      },
      py::arg("bytes"),
      "Array of bytes not yet written, aligned to 64, in pages of 2 MiB where the system has "
      "them.\n"
      "Arrays made one after the other share pages. MemoryError when there is not so much.");
}

}  // namespace

void bind_attention(py::module_& module) {
  bind_plan(module);
  bind_layer(module);
  bind_calls(module);
  bind_runtime(module);
  module.attr("CHUNK_TOKENS") = kChunkTokens;
}

}  // namespace treeward::bindings
