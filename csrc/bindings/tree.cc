// search._native.tree: read access to the arena, and building a tree by hand.
#include <cmath>
#include <memory>

#include "bindings/bindings.h"
#include "bindings/tree_helpers.h"
#include "common/errors.h"
#include "tree/arena.h"
#include "tree/export.h"
#include "tree/select.h"

namespace treeward::bindings {
namespace {

using HandleArray = py::array_t<uint64_t, py::array::c_style | py::array::forcecast>;
using ValueArray = py::array_t<double, py::array::c_style | py::array::forcecast>;

// Searches count their epochs from 1, so this one sees no busy mark of theirs.
constexpr uint32_t kNoEpoch = 0;

py::object optional_number(double value) {
  return std::isnan(value) ? py::object(py::none()) : py::object(py::float_(value));
}

py::dict node_fields(Arena& arena, uint64_t handle) {
  struct Fields {
    uint64_t parent, path_hash;
    uint32_t depth, children;
    uint8_t flags;
    Finish finish;
    int verdict, answer, visits, in_flight, draws, next_draw;
    double value, q, value_sum, value_max, value_min, logprob, logprob_sum;
    std::vector<int32_t> tokens;
  };
  const Fields f = locked(arena, [&] {
    const NodeIndex node = arena.resolve(NodeHandle::unpack(handle));
    const Node* c = arena.nodes();
    const NodeIndex parent = c[node].parent;
    const auto tokens = arena.tokens(node);
    return Fields{parent == kNoNode ? 0 : arena.handle(parent).packed(),
                  c[node].path_hash,
                  c[node].depth,
                  c[node].child_count,
                  c[node].flags,
                  c[node].finish,
                  c[node].verdict,
                  c[node].answer,
                  c[node].visits,
                  c[node].in_flight,
                  c[node].draws,
                  c[node].next_draw,
                  c[node].reward,
                  arena.value_of(node, Backup::kMean),
                  c[node].value_sum,
                  c[node].value_max,
                  c[node].value_min,
                  c[node].logprob,
                  c[node].logprob_sum,
                  {tokens.begin(), tokens.end()}};
  });
  py::dict d;
  d["parent"] = f.parent == 0 ? py::object(py::none()) : py::object(py::int_(f.parent));
  d["depth"] = f.depth;
  d["children"] = f.children;
  d["terminal"] = (f.flags & kTerminal) != 0;
  d["dead"] = (f.flags & kDead) != 0;
  d["exhausted"] = (f.flags & kExhausted) != 0;
  d["pruned"] = (f.flags & kPruned) != 0;
  d["closed"] = (f.flags & kClosed) != 0;
  d["finish"] = finish_name(f.finish);
  d["verdict"] = f.verdict;
  d["answer"] = f.answer;
  d["visits"] = f.visits;
  d["in_flight"] = f.in_flight;
  d["draws"] = f.draws;
  d["next_draw"] = f.next_draw;
  d["value"] = optional_number(f.value);
  d["q"] = optional_number(f.q);
  d["value_sum"] = f.value_sum;
  d["value_max"] = f.visits > 0 ? py::object(py::float_(f.value_max)) : py::object(py::none());
  d["value_min"] = f.visits > 0 ? py::object(py::float_(f.value_min)) : py::object(py::none());
  d["logprob"] = f.logprob;
  d["logprob_sum"] = f.logprob_sum;
  d["seed"] = f.path_hash;
  d["tokens"] = f.tokens;
  return d;
}

std::vector<uint64_t> packed(const Arena& arena, const std::vector<NodeIndex>& nodes) {
  std::vector<uint64_t> handles;
  handles.reserve(nodes.size());
  for (const NodeIndex node : nodes) handles.push_back(arena.handle(node).packed());
  return handles;
}

}  // namespace

std::string finish_name(Finish finish) {
  return finish == Finish::kStop ? "stop" : finish == Finish::kEos ? "eos" : "length";
}

Finish parse_finish(const std::string& name) {
  if (name == "stop") return Finish::kStop;
  if (name == "eos") return Finish::kEos;
  if (name == "length") return Finish::kLength;
  throw InvalidArgument("finish must be one of 'stop', 'eos', 'length', got '" + name + "'");
}

Backup parse_backup(const std::string& name) {
  if (name == "mean") return Backup::kMean;
  if (name == "max") return Backup::kMax;
  if (name == "min_path") return Backup::kMinPath;
  throw InvalidArgument("mode must be one of 'mean', 'max', 'min_path', got '" + name + "'");
}

py::dict export_arrays(const TreeExport& e) {
  py::dict d;
  d["handle"] = array_of(e.handle);
  d["parent"] = array_of(e.parent);
  d["depth"] = array_of(e.depth);
  d["visits"] = array_of(e.visits);
  d["draws"] = array_of(e.draws);
  d["value"] = array_of(e.value);
  d["q"] = array_of(e.q);
  d["logprob"] = array_of(e.logprob);
  d["prior"] = array_of(e.prior);
  d["flags"] = array_of(e.flags);
  d["finish"] = array_of(e.finish);
  d["verdict"] = array_of(e.verdict);
  d["answer"] = array_of(e.answer);
  d["token_offset"] = array_of(e.token_offset);
  d["tokens"] = array_of(e.tokens);
  return d;
}

void bind_tree(py::module_& module) {
  module.attr("TERMINAL") = static_cast<int>(kTerminal);
  module.attr("DEAD") = static_cast<int>(kDead);
  module.attr("EXHAUSTED") = static_cast<int>(kExhausted);
  module.attr("PRUNED") = static_cast<int>(kPruned);
  module.attr("CLOSED") = static_cast<int>(kClosed);
  module.attr("EDGES") = static_cast<int>(kEdges);

  py::class_<Child>(module, "Child", "A segment produced under a node, as told to a search.")
      .def(py::init([](std::vector<int32_t> tokens, float logprob, const std::string& finish,
                       bool terminal, std::optional<float> value, int verdict, int32_t answer) {
             if (verdict < -1 || verdict > 1) {
               throw InvalidArgument("verdict must be -1, 0 or 1, got " + std::to_string(verdict));
             }
             return Child{std::move(tokens),
                          logprob,
                          parse_finish(finish),
                          terminal,
                          value,
                          static_cast<int8_t>(verdict),
                          answer};
           }),
           py::arg("tokens"), py::arg("logprob"), py::arg("finish") = "stop",
           py::arg("terminal") = false, py::arg("value") = py::none(), py::arg("verdict") = -1,
           py::arg("answer") = -1,
           "tokens: ids of the segment, empty only if terminal. logprob: finite, of the whole "
           "segment given its node. finish: 'stop', 'eos' or 'length' (cut, may be continued). "
           "terminal: nothing follows; with answer -1 it is a dead end and casts no vote. value: "
           "finite reward or None. verdict: -1 unknown, 0 wrong, 1 right. answer: id of the "
           "canonical answer, -1 for none.")
      .def_readonly("tokens", &Child::tokens)
      .def_readonly("logprob", &Child::logprob)
      .def_property_readonly("finish", [](const Child& c) { return finish_name(c.finish); })
      .def_readonly("terminal", &Child::terminal)
      .def_readonly("value", &Child::value)
      .def_property_readonly("verdict", [](const Child& c) { return int{c.verdict}; })
      .def_readonly("answer", &Child::answer);

  py::class_<Arena, std::shared_ptr<Arena>>(
      module, "Arena",
      "Holds the nodes of many trees. A node is named by an int handle; a handle whose tree was "
      "dropped raises StaleHandle. Calls are safe from several threads.")
      .def(py::init<>())
      .def(
          "add_tree",
          [](Arena& a, uint64_t seed, const std::vector<int32_t>& tokens) {
            return locked(a, [&] { return a.add_tree(seed, tokens).packed(); });
          },
          py::arg("seed") = 0, py::arg("tokens") = std::vector<int32_t>{},
          "A new tree; returns the handle of its root.")
      .def(
          "add_child",
          [](Arena& a, uint64_t parent, const Child& child) {
            return locked(a, [&] {
              const NodeIndex node = a.resolve(NodeHandle::unpack(parent));
              if (a.has(node, kTerminal)) {
                throw InvalidArgument("node " + std::to_string(parent) + " is terminal");
              }
              const auto added = a.add_child(node, child);
              a.refresh_priors(node);
              return std::pair(a.handle(added.node).packed(), added.created);
            });
          },
          py::arg("parent"), py::arg("child"),
          "Adds a segment; returns (handle, created). An equal segment under the same parent is "
          "merged: its draws go up by one and created is False.")
      .def(
          "backup",
          [](Arena& a, uint64_t leaf, double value, const std::string& mode) {
            if (!std::isfinite(value)) {
              throw NotFinite("value backed up from node " + std::to_string(leaf) +
                              " is not finite");
            }
            const Backup backup = parse_backup(mode);
            locked(a, [&] { a.backup(a.resolve(NodeHandle::unpack(leaf)), value, backup); });
          },
          py::arg("leaf"), py::arg("value"), py::arg("mode") = "mean",
          "Counts a visit from the leaf to the root. mode: 'mean', 'max' or 'min_path'.")
      .def(
          "select_leaves",
          [](Arena& a, const HandleArray& roots, const std::string& formula, double exploration) {
            SelectRule rule;
            if (formula != "puct" && formula != "uct") {
              throw InvalidArgument("formula must be one of 'puct', 'uct', got '" + formula + "'");
            }
            if (formula == "uct") rule.formula = Formula::kUct;
            (rule.formula == Formula::kUct ? rule.exploration : rule.c_init) = exploration;
            std::vector<uint64_t> handles(roots.data(), roots.data() + roots.size());
            locked(a, [&] {
              for (uint64_t& handle : handles) {
                NodeIndex node = a.resolve(NodeHandle::unpack(handle));
                for (NodeIndex next = node; next != kNoNode;) {
                  node = next;
                  next =
                      a.at(node).child_count == 0 ? kNoNode : select_child(a, node, rule, kNoEpoch);
                }
                handle = a.handle(node).packed();
              }
            });
            return array_of(handles);
          },
          py::arg("roots"), py::arg("formula") = "puct", py::arg("exploration") = 1.25,
          "One descent from each root (u64 array) to a leaf; returns the leaves (u64 array). "
          "formula: 'puct' or 'uct'; exploration: c_init of the one, factor of the other.")
      .def(
          "backup_many",
          [](Arena& a, const HandleArray& leaves, const ValueArray& values,
             const std::string& mode) {
            if (leaves.size() != values.size()) {
              throw InvalidArgument("leaves and values must have one length, got " +
                                    std::to_string(leaves.size()) + " and " +
                                    std::to_string(values.size()));
            }
            const Backup backup = parse_backup(mode);
            const uint64_t* handle = leaves.data();
            const double* value = values.data();
            const py::ssize_t count = leaves.size();
            locked(a, [&] {
              for (py::ssize_t i = 0; i < count; ++i) {
                a.resolve(NodeHandle::unpack(handle[i]));
                if (!std::isfinite(value[i])) {
                  throw NotFinite("value backed up from node " + std::to_string(handle[i]) +
                                  " is not finite");
                }
              }
              for (py::ssize_t i = 0; i < count; ++i) {
                a.backup(NodeHandle::unpack(handle[i]).index, value[i], backup);
              }
            });
          },
          py::arg("leaves"), py::arg("values"), py::arg("mode") = "mean",
          "backup() of leaves[i] (u64) with values[i] (f64, finite) for every i, in order.")
      .def(
          "drop_tree",
          [](Arena& a, uint64_t root) {
            locked(a, [&] { a.drop_tree(NodeHandle::unpack(root)); });
          },
          py::arg("root"), "Frees every node of the tree; their handles become stale.")
      .def("node", &node_fields, py::arg("handle"),
           "All fields of a node as a dict: parent (handle or None), depth, children (count, edges "
           "included), "
           "terminal, dead, exhausted, pruned, closed, finish, verdict, answer, visits, in_flight, "
           "draws, next_draw, value (own reward or None), q (mean of the backed-up values or "
           "None), value_sum, value_max, value_min, logprob, logprob_sum, seed, tokens.")
      .def(
          "children",
          [](Arena& a, uint64_t handle) {
            return locked(
                a, [&] { return packed(a, a.children(a.resolve(NodeHandle::unpack(handle)))); });
          },
          py::arg("handle"), "Handles of the children in the order of arrival.")
      .def(
          "path",
          [](Arena& a, uint64_t handle) {
            return locked(a,
                          [&] { return packed(a, a.path(a.resolve(NodeHandle::unpack(handle)))); });
          },
          py::arg("handle"), "Handles from the root to the node, both included.")
      .def(
          "tokens",
          [](Arena& a, uint64_t handle) {
            return locked(a, [&] {
              const auto span = a.tokens(a.resolve(NodeHandle::unpack(handle)));
              return std::vector<int32_t>(span.begin(), span.end());
            });
          },
          py::arg("handle"), "Token ids of the node's own segment.")
      .def(
          "path_tokens",
          [](Arena& a, uint64_t handle) {
            return locked(a, [&] { return a.path_tokens(a.resolve(NodeHandle::unpack(handle))); });
          },
          py::arg("handle"), "Token ids of all segments from the root to the node.")
      .def(
          "alive",
          [](Arena& a, uint64_t handle) {
            return locked(a, [&] { return a.alive(NodeHandle::unpack(handle)); });
          },
          py::arg("handle"), "Whether the handle names a node of a tree that is still there.")
      .def(
          "export",
          [](Arena& a, uint64_t handle) {
            const TreeExport e =
                locked(a, [&] { return export_tree(a, a.resolve(NodeHandle::unpack(handle))); });
            return export_arrays(e);
          },
          py::arg("handle"), "The whole tree that holds the node; see search.Machine.export.")
      .def(
          "check", [](Arena& a, bool at_rest) { locked(a, [&] { a.check(at_rest); }); },
          py::arg("at_rest") = true,
          "Raises TreewardError naming the first broken invariant. at_rest: nothing in flight.")
      .def_property_readonly(
          "nodes", [](Arena& a) { return locked(a, [&] { return a.live_nodes(); }); },
          "Nodes alive, over all trees.")
      .def_property_readonly(
          "trees", [](Arena& a) { return locked(a, [&] { return a.live_trees(); }); },
          "Trees alive.")
      .def_property_readonly(
          "bytes", [](Arena& a) { return locked(a, [&] { return a.bytes(); }); },
          "Bytes held by the arena.");
}

}  // namespace treeward::bindings
