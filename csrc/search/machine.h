// A search as a state machine: `ask` hands out work, `tell` takes results, in any order.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "search/options.h"
#include "search/ranking.h"
#include "search/task.h"
#include "tree/arena.h"

namespace treeward {

// One machine searches one tree and knows no model. The base keeps the books (tasks, draw numbers,
// virtual visits, verdicts, idempotence); an algorithm says what to ask next and what an answer
// means. The caller holds the arena's lock around every call.
class Machine {
 public:
  virtual ~Machine();
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;

  /// Up to `max_tasks` tasks that may run at the same time.
  std::vector<Task> ask(int max_tasks);
  /// Takes the children of a task, fewer than asked or none included. `exhausted`: the node has no
  /// further distinct child. A second tell of a task changes nothing and returns the same nodes;
  /// a tell of a cancelled task returns none.
  std::vector<NodeHandle> tell(uint64_t task_id, const std::vector<Child>& children,
                               bool exhausted);
  /// Takes a task back; it may be handed out again. No effect on a task that is not out.
  void cancel(uint64_t task_id);
  /// No further task will come, or a verified answer ended the search.
  bool done() const;

  NodeHandle root() const { return root_; }
  std::optional<NodeHandle> best() const;
  std::vector<Vote> selection() const;
  std::vector<NodeHandle> terminals() const;
  int outstanding() const { return outstanding_; }
  /// Every option of the algorithm with its default.
  const Options& defaults() const { return defaults_; }
  void set_defaults(const Options& defaults) { defaults_ = defaults; }
  const std::shared_ptr<Arena>& arena() const { return arena_; }
  virtual Backup backup_mode() const { return Backup::kMean; }

 protected:
  struct Request {
    NodeIndex node;
    int32_t count = 1;
    Mode mode = Mode::kSample;
    Unit unit = Unit::kStep;
  };
  struct Arrival {
    NodeIndex node;
    bool created;
  };

  Machine(std::shared_ptr<Arena> arena, OptionReader& reader, uint64_t seed);

  /// Called at the start of every ask: the tree may have changed since the last one.
  virtual void ask_begins() {}
  /// Fills in the next piece of work and counts it as handed out; false when there is none now.
  virtual bool next(Request& request) = 0;
  virtual void received(const Task& task, const std::vector<Arrival>& arrivals) = 0;
  virtual void cancelled(const Task& task) = 0;
  /// Whether something is left to hand out once the outstanding tasks are told.
  virtual bool has_work() const = 0;
  /// The algorithm's own idea of the best node when no answer is verified.
  virtual NodeIndex favourite() const;

  int max_depth() const { return max_depth_; }
  bool at_max_depth(NodeIndex node) const {
    return max_depth_ > 0 && static_cast<int>(at(node).depth) >= max_depth_;
  }
  bool can_grow(NodeIndex node) const {
    return (at(node).flags & (kTerminal | kDead)) == 0 && !at_max_depth(node);
  }
  const Node& at(NodeIndex node) const { return arena_->at(node); }
  Arena& tree() const { return *arena_; }
  NodeIndex root_index() const { return root_.index; }
  uint64_t seed() const { return seed_; }
  int max_in_flight() const { return max_in_flight_; }
  bool stop_when_verified() const { return stop_when_verified_; }
  void set_whole_path_in_flight() { whole_path_ = true; }
  void set_selection(Selection selection) { selection_ = selection; }

 private:
  enum class Status : uint8_t { kOut, kTold, kCancelled };
  struct Record {
    Task task;
    Status status = Status::kOut;
    std::vector<NodeHandle> result;
  };

  Record& record(uint64_t task_id);
  void discharge(Record& record, Status status);
  void validate(const Task& task, const std::vector<Child>& children) const;

  std::shared_ptr<Arena> arena_;
  // Children that distinct draws brought though they were there, where all that came were such.
  std::unordered_map<NodeIndex, size_t> met_again_;
  Options defaults_;
  uint64_t seed_;
  NodeHandle root_;
  int max_in_flight_;
  int max_depth_;
  bool stop_when_verified_;
  Selection selection_ = Selection::kBest;
  bool whole_path_ = false;
  bool verified_ = false;
  int outstanding_ = 0;
  std::vector<Record> records_;  // task id - 1
};

/// Words of `Selection`, in its order; "visited" is for the tree search only.
Selection read_selection(OptionReader& reader, bool with_visits = false);

}  // namespace treeward
