#include "search/machine.h"

#include <cmath>

#include "common/errors.h"

namespace treeward {

Machine::Machine(std::shared_ptr<Arena> arena, OptionReader& reader, uint64_t seed)
    : arena_(std::move(arena)), seed_(seed) {
  max_in_flight_ = reader.integer("max_in_flight", 16, 1);
  max_depth_ = reader.integer("max_depth", 0, 0);
  stop_when_verified_ = reader.flag("stop_when_verified", true);
  root_ = arena_->add_tree(seed);
}

Machine::~Machine() {
  if (arena_->alive(root_)) arena_->drop_tree(root_);
}

Machine::Record& Machine::record(uint64_t task_id) {
  arena_->resolve(root_);  // a search whose tree was dropped is over
  if (task_id == 0 || task_id > records_.size()) {
    throw InvalidArgument("task " + std::to_string(task_id) + " was never handed out");
  }
  return records_[task_id - 1];
}

std::vector<Task> Machine::ask(int max_tasks) {
  if (max_tasks < 0) throw InvalidArgument("max_tasks must be 0 or more");
  arena_->resolve(root_);
  std::vector<Task> tasks;
  ask_begins();
  while (static_cast<int>(tasks.size()) < max_tasks && outstanding_ < max_in_flight_ &&
         !(verified_ && stop_when_verified_)) {
    Request request{};
    if (!next(request)) break;
    Record entry;
    entry.task.id = records_.size() + 1;
    entry.task.node = arena_->handle(request.node);
    entry.task.count = request.count;
    entry.task.mode = request.mode;
    entry.task.unit = request.unit;
    entry.task.seed = at(request.node).path_hash;
    entry.task.first_draw = arena_->take_draws(request.node, request.count);
    arena_->add_in_flight(request.node, request.count, whole_path_);
    ++outstanding_;
    tasks.push_back(entry.task);
    records_.push_back(std::move(entry));
  }
  return tasks;
}

void Machine::validate(const Task& task, const std::vector<Child>& children) const {
  const auto where = [&](size_t i) {
    return "child " + std::to_string(i) + " of node " + std::to_string(task.node.packed()) +
           " (task " + std::to_string(task.id) + ")";
  };
  if (children.size() > static_cast<size_t>(task.count)) {
    throw InvalidArgument("task " + std::to_string(task.id) + " asked for " +
                          std::to_string(task.count) + " children, got " +
                          std::to_string(children.size()));
  }
  for (size_t i = 0; i < children.size(); ++i) {
    const Child& child = children[i];
    if (!std::isfinite(child.logprob)) {
      throw NotFinite("logprob of " + where(i) + " is " + std::to_string(child.logprob));
    }
    if (child.value && !std::isfinite(*child.value)) {
      throw NotFinite("value of " + where(i) + " is " + std::to_string(*child.value));
    }
    if (child.tokens.empty() && !child.terminal) {
      throw InvalidArgument(where(i) + " has no tokens and is not terminal");
    }
    if (child.verdict < -1 || child.verdict > 1) {
      throw InvalidArgument("verdict of " + where(i) + " must be -1, 0 or 1");
    }
    if (child.answer < -1) throw InvalidArgument("answer of " + where(i) + " must be -1 or more");
  }
}

void Machine::discharge(Record& record, Status status) {
  record.status = status;
  --outstanding_;
  arena_->add_in_flight(record.task.node.index, -record.task.count, whole_path_);
}

std::vector<NodeHandle> Machine::tell(uint64_t task_id, const std::vector<Child>& children,
                                      bool exhausted) {
  Record& entry = record(task_id);
  if (entry.status != Status::kOut) return entry.result;
  validate(entry.task, children);  // nothing has changed yet if this raises
  discharge(entry, Status::kTold);
  const NodeIndex node = entry.task.node.index;
  std::vector<Arrival> arrivals;
  bool fresh = false;
  for (const Child& child : children) {
    const auto [index, created] = arena_->add_child(node, child);
    arrivals.push_back({index, created});
    entry.result.push_back(arena_->handle(index));
    fresh = fresh || created;
    verified_ = verified_ || (arena_->has(index, kTerminal) && at(index).verdict == 1);
  }
  if (fresh) {
    arena_->refresh_priors(node);
    arena_->clear_flags(node, kDead);  // an earlier, empty answer was premature
  }
  // Without this rule a node that yields nothing would be asked for ever: only one task for
  // distinct children of a node is out at a time, so one that brings none means there is none. But
  // children that were there may have come of samples, of which distinct draws know nothing: each
  // may be met once.
  if (entry.task.mode == Mode::kDistinct && !fresh) {
    size_t& met = met_again_[node];
    met += children.size();
    if (children.empty() || met > at(node).child_count) exhausted = true;
  }
  if (children.empty() && at(node).child_count == 0) exhausted = true;
  if (exhausted) {
    const bool childless = at(node).child_count == 0;
    arena_->set_flags(node, static_cast<uint8_t>(kExhausted | (childless ? kDead : 0)));
  }
  received(entry.task, arrivals);
  return entry.result;
}

void Machine::cancel(uint64_t task_id) {
  Record& entry = record(task_id);
  if (entry.status != Status::kOut) return;
  discharge(entry, Status::kCancelled);
  arena_->return_draws(entry.task.node.index, entry.task.first_draw, entry.task.count);
  cancelled(entry.task);
}

bool Machine::done() const {
  arena_->resolve(root_);
  if (verified_ && stop_when_verified_) return true;
  return outstanding_ == 0 && !has_work();
}

NodeIndex Machine::favourite() const { return best_node(*arena_, root_.index, selection_); }

std::optional<NodeHandle> Machine::best() const {
  arena_->resolve(root_);
  NodeIndex node = verified_ ? verified_node(*arena_, root_.index) : kNoNode;
  if (node == kNoNode) node = favourite();
  if (node == kNoNode || node == root_.index) return std::nullopt;
  return arena_->handle(node);
}

std::vector<Vote> Machine::selection() const {
  arena_->resolve(root_);
  return rank_answers(*arena_, root_.index, selection_);
}

std::vector<NodeHandle> Machine::terminals() const {
  std::vector<NodeHandle> result;
  for (const NodeIndex node : arena_->tree_of(arena_->resolve(root_)).nodes) {
    if (arena_->has(node, kTerminal)) result.push_back(arena_->handle(node));
  }
  return result;
}

Selection read_selection(OptionReader& reader, bool with_visits) {
  std::vector<std::string> words = {"best", "majority", "weighted", "posterior"};
  if (with_visits) words.push_back("visited");
  return static_cast<Selection>(reader.choice("selection", words));
}

}  // namespace treeward
