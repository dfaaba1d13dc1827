#include "tree/export.h"

#include <unordered_map>

namespace treeward {

TreeExport export_tree(const Arena& arena, NodeIndex root, Backup mode) {
  const Node* c = arena.nodes();
  const Tree& tree = arena.tree_of(root);
  TreeExport out;
  std::unordered_map<NodeIndex, int32_t> row;
  row.reserve(tree.nodes.size());
  out.tokens.reserve(tree.tokens.size());
  out.token_offset.push_back(0);
  for (const NodeIndex node : tree.nodes) {
    row.emplace(node, static_cast<int32_t>(row.size()));
    const bool is_root = c[node].parent == kNoNode;
    out.handle.push_back(arena.handle(node).packed());
    out.parent.push_back(is_root ? -1 : row.at(c[node].parent));
    out.depth.push_back(static_cast<int32_t>(c[node].depth));
    out.visits.push_back(c[node].visits);
    out.draws.push_back(c[node].draws);
    out.answer.push_back(c[node].answer);
    out.value.push_back(c[node].reward);
    out.q.push_back(arena.value_of(node, mode));
    out.logprob.push_back(c[node].logprob);
    out.prior.push_back(is_root ? 1.0f
                                : arena.block(c[node].slot / kLanes).prior[c[node].slot % kLanes]);
    out.flags.push_back(c[node].flags);
    out.finish.push_back(static_cast<uint8_t>(c[node].finish));
    out.verdict.push_back(c[node].verdict);
    const auto segment = arena.tokens(node);
    out.tokens.insert(out.tokens.end(), segment.begin(), segment.end());
    out.token_offset.push_back(static_cast<int64_t>(out.tokens.size()));
  }
  return out;
}

}  // namespace treeward
