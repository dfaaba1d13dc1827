// search._native.search: the algorithms as ask/tell machines.
#include <memory>
#include <optional>

#include "bindings/bindings.h"
#include "bindings/tree_helpers.h"
#include "common/errors.h"
#include "search/factory.h"

namespace treeward::bindings {

Options to_options(const py::dict& given) {
  Options options;
  for (const auto& [key, value] : given) {
    const auto name = py::cast<std::string>(key);
    if (py::isinstance<py::bool_>(value)) {
      options[name] = py::cast<bool>(value);
    } else if (py::isinstance<py::int_>(value)) {
      options[name] = py::cast<int64_t>(value);
    } else if (py::isinstance<py::float_>(value)) {
      options[name] = py::cast<double>(value);
    } else if (py::isinstance<py::str>(value)) {
      options[name] = py::cast<std::string>(value);
    } else {
      throw InvalidArgument("option '" + name + "' must be a bool, an int, a float or a str");
    }
  }
  return options;
}

namespace {

py::dict from_options(const Options& options) {
  py::dict result;
  for (const auto& [name, value] : options) {
    result[py::str(name)] =
        std::visit([](const auto& v) { return py::object(py::cast(v)); }, value);
  }
  return result;
}

const char* mode_name(Mode mode) {
  constexpr const char* kNames[] = {"sample", "distinct", "greedy", "top"};
  return kNames[static_cast<int>(mode)];
}

// Owns a machine; its tree goes back to the arena under the arena's lock.
class PyMachine {
 public:
  PyMachine(std::shared_ptr<Arena> arena, const std::string& algorithm, const py::dict& options,
            uint64_t seed)
      : arena_(std::move(arena)), algorithm_(algorithm) {
    const Options parsed = to_options(options);
    machine_ = locked(*arena_, [&] { return make_machine(algorithm, arena_, parsed, seed); });
  }
  ~PyMachine() {
    locked(*arena_, [&] { machine_.reset(); });
  }
  PyMachine(const PyMachine&) = delete;
  PyMachine& operator=(const PyMachine&) = delete;

  template <typename Function>
  auto run(Function&& function) {
    return locked(*arena_, [&] { return function(*machine_); });
  }
  const std::string& algorithm() const { return algorithm_; }
  const std::shared_ptr<Arena>& arena() const { return arena_; }

 private:
  std::shared_ptr<Arena> arena_;
  std::string algorithm_;
  std::unique_ptr<Machine> machine_;
};

std::vector<uint64_t> packed(const std::vector<NodeHandle>& nodes) {
  std::vector<uint64_t> handles;
  handles.reserve(nodes.size());
  for (const NodeHandle node : nodes) handles.push_back(node.packed());
  return handles;
}

}  // namespace

void bind_search(py::module_& module) {
  module.def("algorithms", &algorithm_names, "Names of the algorithms.");
  module.def(
      "options",
      [](const std::string& algorithm) {
        return from_options(make_machine(algorithm, std::make_shared<Arena>(), {}, 0)->defaults());
      },
      py::arg("algorithm"), "Every option of an algorithm with its default.");

  py::class_<Task>(module, "Task", "A piece of work that a search hands out. Read-only.")
      .def_readonly("id", &Task::id)
      .def_property_readonly(
          "node", [](const Task& t) { return t.node.packed(); }, "Handle of the node to grow.")
      .def_readonly("count", &Task::count, "How many children are asked for, 1 or more.")
      .def_property_readonly(
          "mode", [](const Task& t) { return mode_name(t.mode); },
          "'sample' (independent draws, duplicates are legal), 'distinct' "
          "(children this node never had), 'greedy', or 'top' (the `count` "
          "most probable next tokens).")
      .def_property_readonly(
          "unit", [](const Task& t) { return t.unit == Unit::kStep ? "step" : "token"; },
          "'step': a segment ends at a step boundary; 'token': after one token.")
      .def_readonly("first_draw", &Task::first_draw,
                    "Number of the first draw under this node; draw i of the task has number "
                    "first_draw + i.")
      .def_readonly("seed", &Task::seed,
                    "64-bit hash of the search seed and the path's tokens: the key of the draws.")
      .def("__repr__", [](const Task& t) {
        return "Task(id=" + std::to_string(t.id) + ", node=" + std::to_string(t.node.packed()) +
               ", count=" + std::to_string(t.count) + ", mode='" + mode_name(t.mode) + "')";
      });

  py::class_<PyMachine>(
      module, "Machine",
      "One search over one tree of a shared arena. ask() hands out tasks that may run at the same "
      "time; tell() takes their results in any order. The tree is freed with the machine.")
      .def(py::init<std::shared_ptr<Arena>, const std::string&, const py::dict&, uint64_t>(),
           py::arg("arena"), py::arg("algorithm"), py::arg("options") = py::dict(),
           py::arg("seed") = 0,
           "algorithm: a name from algorithms(). options: see options(algorithm); an unknown or "
           "out-of-range one raises ValueError. seed: equal seeds give equal searches.")
      .def(
          "ask",
          [](PyMachine& m, int max_tasks) {
            return m.run([&](Machine& machine) { return machine.ask(max_tasks); });
          },
          py::arg("max_tasks"),
          "Up to max_tasks tasks, fewer when less can run now. Empty with tasks outstanding: tell "
          "one first.")
      .def(
          "tell",
          [](PyMachine& m, uint64_t task_id, const std::vector<Child>& children, bool exhausted) {
            return packed(m.run(
                [&](Machine& machine) { return machine.tell(task_id, children, exhausted); }));
          },
          py::arg("task_id"), py::arg("children"), py::arg("exhausted") = false,
          "Takes up to `count` children; returns their handles in order (equal segments share "
          "one). exhausted: the node has no further distinct child. A second tell of the same "
          "task changes nothing and returns the same handles; a tell of a cancelled task is "
          "ignored and returns []. NotFinite for a NaN or infinite value or log-probability; the "
          "task then stays out.")
      .def(
          "cancel",
          [](PyMachine& m, uint64_t task_id) {
            m.run([&](Machine& machine) { machine.cancel(task_id); });
          },
          py::arg("task_id"), "Takes a task back; it may be handed out again by a later ask.")
      .def(
          "done", [](PyMachine& m) { return m.run([](Machine& x) { return x.done(); }); },
          "No task will come any more, or a verified answer ended the search.")
      .def(
          "best",
          [](PyMachine& m) -> std::optional<uint64_t> {
            const auto best = m.run([](Machine& x) { return x.best(); });
            return best ? std::optional(best->packed()) : std::nullopt;
          },
          "Handle of the best node so far: a verified terminal, else by the selection rule, else "
          "the best terminal, else the best leaf. None before the first child.")
      .def(
          "terminals",
          [](PyMachine& m) { return packed(m.run([](Machine& x) { return x.terminals(); })); },
          "Handles of all terminal nodes in the order of creation.")
      .def(
          "selection",
          [](PyMachine& m) {
            const auto votes = m.run([](Machine& x) { return x.selection(); });
            py::list rows;
            for (const Vote& vote : votes) rows.append(py::make_tuple(vote.answer, vote.weight));
            return rows;
          },
          "[(answer, weight)], best first: draws (majority), sum of values (weighted), best value "
          "(best) or visits (visited) of the answer's terminals.")
      .def(
          "export",
          [](PyMachine& m) {
            const TreeExport e = m.run([](Machine& x) {
              return export_tree(*x.arena(), x.arena()->resolve(x.root()), x.backup_mode());
            });
            return export_arrays(e);
          },
          "The tree as numpy arrays, row i being the i-th node created (row 0 the root): handle "
          "u64, parent i32 (row, -1 at the root), depth, visits, draws, answer i32, value f32 "
          "(own reward or NaN), q f64 (value by the backup in use, NaN if unvisited), logprob and "
          "prior f32, flags u8 (bits of the constants in _native.tree), finish u8 (0 stop, 1 eos, "
          "2 length), verdict i8, token_offset i64 [rows + 1], tokens i32.")
      .def_property_readonly(
          "root", [](PyMachine& m) { return m.run([](Machine& x) { return x.root().packed(); }); },
          "Handle of the root.")
      .def_property_readonly(
          "outstanding",
          [](PyMachine& m) { return m.run([](Machine& x) { return x.outstanding(); }); },
          "Tasks handed out and neither told nor cancelled.")
      .def_property_readonly("algorithm", &PyMachine::algorithm)
      .def_property_readonly("arena", &PyMachine::arena);
}

}  // namespace treeward::bindings
