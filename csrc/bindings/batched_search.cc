// search._native.search.BatchedSearch: many trees in lockstep, arrays in and out.
#include "search/batched_search.h"

#include <memory>
#include <optional>

#include "bindings/bindings.h"
#include "bindings/tree_helpers.h"
#include "common/errors.h"
#include "search/select_options.h"

namespace treeward::bindings {
namespace {

using FloatArray = py::array_t<float, py::array::c_style | py::array::forcecast>;
using CountArray = py::array_t<int32_t, py::array::c_style | py::array::forcecast>;
using SeedArray = py::array_t<uint64_t, py::array::c_style | py::array::forcecast>;

// The arrays that every select() writes anew. Python may keep them longer than the search.
struct Leaves {
  explicit Leaves(py::ssize_t trees)
      : node(trees), parent(trees), action(trees), depth(trees), seed(trees) {}

  LeafRows rows() {
    return {node.mutable_data(), parent.mutable_data(), action.mutable_data(), depth.mutable_data(),
            seed.mutable_data()};
  }

  py::array_t<int32_t> node, parent, action, depth;
  py::array_t<uint64_t> seed;
};

std::vector<uint64_t> seeds_of(const std::optional<SeedArray>& given, int32_t trees) {
  if (given) return {given->data(), given->data() + given->size()};
  std::vector<uint64_t> seeds;
  for (int32_t tree = 0; tree < trees; ++tree) seeds.push_back(static_cast<uint64_t>(tree));
  return seeds;
}

SelectRule rule_of(const py::dict& given) {
  const Options options = to_options(given);
  OptionReader reader("BatchedSearch", options);
  const SelectRule rule = read_select_rule(reader);
  reader.finish();
  return rule;
}

// Owns a search; its trees go back to the arena under the arena's lock.
class PyBatchedSearch {
 public:
  PyBatchedSearch(std::shared_ptr<Arena> arena, int32_t trees, int32_t branching,
                  int32_t simulations, const std::optional<SeedArray>& given,
                  const py::dict& options)
      : arena_(std::move(arena)) {
    const BatchedSettings settings{trees, branching, simulations, rule_of(options)};
    const std::vector<uint64_t> seeds = seeds_of(given, trees);
    search_ =
        locked(*arena_, [&] { return std::make_unique<BatchedSearch>(arena_, settings, seeds); });
    leaves_ = py::cast(std::make_unique<Leaves>(trees));
    rows_ = leaves_.cast<Leaves&>().rows();
  }
  ~PyBatchedSearch() {
    locked(*arena_, [&] { search_.reset(); });
  }
  PyBatchedSearch(const PyBatchedSearch&) = delete;
  PyBatchedSearch& operator=(const PyBatchedSearch&) = delete;

  const py::object& select() {
    locked(*arena_, [&] { search_->select(rows_); });
    return leaves_;
  }

  void expand_and_backup(const FloatArray& priors, const FloatArray& values,
                         const std::optional<CountArray>& widths) {
    const Evaluation given = evaluation_of(priors, values, widths);
    locked(*arena_, [&] { search_->expand_and_backup(given); });
  }

  const py::object& advance(const FloatArray& priors, const FloatArray& values,
                            const std::optional<CountArray>& widths) {
    const Evaluation given = evaluation_of(priors, values, widths);
    locked(*arena_, [&] { search_->advance(given, rows_); });
    return leaves_;
  }

  py::array_t<int32_t> root_visits() {
    const BatchedSettings& settings = search_->settings();
    py::array_t<int32_t> visits({settings.trees, settings.branching});
    int32_t* out = visits.mutable_data();
    locked(*arena_, [&] { search_->root_visits(out); });
    return visits;
  }

  py::array_t<uint64_t> roots() const {
    std::vector<uint64_t> handles;
    for (const NodeHandle root : search_->roots()) handles.push_back(root.packed());
    return array_of(handles);
  }

  py::dict export_one(int32_t tree) const {
    const BatchedSettings& settings = search_->settings();
    if (tree < 0 || tree >= settings.trees) {
      throw InvalidArgument("tree must be 0 to " + std::to_string(settings.trees - 1) + ", got " +
                            std::to_string(tree));
    }
    return export_arrays(locked(*arena_, [&] {
      const NodeIndex root = arena_->resolve(search_->roots()[tree]);
      return export_tree(*arena_, root, settings.rule.backup);
    }));
  }

  const BatchedSearch& search() const { return *search_; }
  const std::shared_ptr<Arena>& arena() const { return arena_; }

 private:
  Evaluation evaluation_of(const FloatArray& priors, const FloatArray& values,
                           const std::optional<CountArray>& widths) const {
    const BatchedSettings& settings = search_->settings();
    require_shape(priors.ndim() == 2 && priors.shape(0) == settings.trees &&
                      priors.shape(1) == settings.branching,
                  "priors", "[trees, branching]");
    require_shape(values.ndim() == 1 && values.shape(0) == settings.trees, "values", "[trees]");
    require_shape(!widths || (widths->ndim() == 1 && widths->shape(0) == settings.trees), "widths",
                  "[trees]");
    return {priors.data(), values.data(), widths ? widths->data() : nullptr};
  }

  static void require_shape(bool holds, const char* name, const char* shape) {
    if (!holds) throw InvalidArgument(std::string(name) + " must have the shape " + shape);
  }

  std::shared_ptr<Arena> arena_;
  std::unique_ptr<BatchedSearch> search_;
  py::object leaves_;
  LeafRows rows_{};
};

}  // namespace

void bind_batched_search(py::module_& module) {
  py::class_<Leaves>(module, "Leaves",
                     "What BatchedSearch.select chose: arrays [trees], entry t of tree t. Nodes "
                     "are named by their number in their tree, in the order of creation.")
      .def_readonly("node", &Leaves::node,
                    "i32: number of the leaf, 0 for a root; the next free number when the leaf is "
                    "visited for the first time.")
      .def_readonly("parent", &Leaves::parent, "i32: number of its parent, -1 for a root.")
      .def_readonly("action", &Leaves::action,
                    "i32: which child of its parent it is, 0 to branching - 1; -1 for a root.")
      .def_readonly("depth", &Leaves::depth, "i32: edges from the root.")
      .def_readonly("seed", &Leaves::seed,
                    "u64: hash of the tree's seed and the actions from the root: it names the "
                    "state.");

  py::class_<PyBatchedSearch>(
      module, "BatchedSearch",
      "Tree search on many trees in lockstep, two calls a step. select() goes down once in every "
      "tree; the caller evaluates the leaves as one batch; expand_and_backup() makes each leaf a "
      "node with its children as edges and backs its value up. The first step evaluates the roots. "
      "The formulas are those of the algorithm 'mcts', without virtual loss and widening. Results "
      "do not depend on the number of threads. The trees are freed with the search.")
      .def(py::init<std::shared_ptr<Arena>, int32_t, int32_t, int32_t,
                    const std::optional<SeedArray>&, const py::dict&>(),
           py::arg("arena"), py::arg("trees"), py::arg("branching"), py::arg("simulations"),
           py::arg("seeds") = py::none(), py::arg("options") = py::dict(),
           "branching: children of a node, at most. simulations: of every tree, the evaluation of "
           "its root not counted; memory for all of them is set aside here. seeds: u64 [trees], "
           "0, 1, 2, ... by default. options: formula, c_init, c_base, exploration, fpu, "
           "fpu_value, fpu_reduction, normalise, backup, as for the algorithm 'mcts'. ValueError "
           "for numbers below 1, an unknown option, or seeds of another length.")
      .def("select", &PyBatchedSearch::select,
           "The leaf of every tree. The same object every time, its arrays written anew; no tree "
           "changes. ValueError after the last simulation.")
      .def("expand_and_backup", &PyBatchedSearch::expand_and_backup, py::arg("priors"),
           py::arg("values"), py::arg("widths") = py::none(),
           "priors: f32 [trees, branching], row t for the children of leaf t, not negative and "
           "adding up to one (within 5e-5). values: f32 [trees], finite. widths: i32 [trees], how "
           "many children leaf t has, 0 to branching; the rest of its row is not read, and a leaf "
           "of width 0 is terminal (selected again, it gets one more visit with the value given). "
           "ValueError or NotFinite leave every tree as it was.")
      .def("advance", &PyBatchedSearch::advance, py::arg("priors"), py::arg("values"),
           py::arg("widths") = py::none(),
           "expand_and_backup and the select that follows, faster than the two calls. ValueError, "
           "with every tree as it was, in the last simulation: expand_and_backup ends a search.")
      .def("root_visits", &PyBatchedSearch::root_visits,
           "i32 [trees, branching]: visits of the children of every root.")
      .def("export", &PyBatchedSearch::export_one, py::arg("tree"),
           "One tree as arrays, see Machine.export; edges without a visit are not in it.")
      .def_property_readonly("roots", &PyBatchedSearch::roots, "u64 [trees]: handles of the roots.")
      .def_property_readonly(
          "trees", [](const PyBatchedSearch& s) { return s.search().settings().trees; },
          "Number of trees.")
      .def_property_readonly(
          "branching", [](const PyBatchedSearch& s) { return s.search().settings().branching; },
          "Children of a node, at most.")
      .def_property_readonly(
          "simulations", [](const PyBatchedSearch& s) { return s.search().settings().simulations; },
          "Simulations of every tree, once all are done.")
      .def_property_readonly(
          "done", [](const PyBatchedSearch& s) { return s.search().done(); },
          "Simulations done in every tree.")
      .def_property_readonly("arena", &PyBatchedSearch::arena);
}

}  // namespace treeward::bindings
