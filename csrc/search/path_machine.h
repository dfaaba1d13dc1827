// What the algorithms that follow a single path have in common.
#pragma once

#include "search/machine.h"

namespace treeward {

// The path grows at its head, one task at a time; the best node is the head itself, so candidates
// that were looked at and passed over are never the result.
class PathMachine : public Machine {
 protected:
  PathMachine(std::shared_ptr<Arena> arena, OptionReader& reader, uint64_t seed)
      : Machine(std::move(arena), reader, seed), head_(root_index()) {}

  NodeIndex head() const { return head_; }
  void advance(NodeIndex node) { head_ = node; }
  /// Nothing can follow the head.
  void end() { ended_ = true; }

  virtual void fill(Request& request) const = 0;

  bool has_work() const final { return !ended_ && can_grow(head_); }
  NodeIndex favourite() const override { return head_; }
  bool next(Request& request) final {
    if (outstanding() > 0 || !has_work()) return false;
    request.node = head_;
    fill(request);
    return true;
  }
  void cancelled(const Task&) final {}

 private:
  NodeIndex head_;
  bool ended_ = false;
};

}  // namespace treeward
