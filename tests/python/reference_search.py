"""Monte Carlo tree search written for reading: the oracle for the native machine.

Same definition as csrc/search/mcts.cc and csrc/tree/select.h, with plain Python objects. Numbers
that the native side keeps in single precision are np.float32 here, in the same order.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

F = np.float32
ZERO = F(0)
DEFAULTS = {
    "formula": "puct", "c_init": 1.25, "c_base": 19652.0, "exploration": 2**0.5,
    "fpu": "reduction", "fpu_value": 0.0, "fpu_reduction": 0.2, "virtual_loss": "visits",
    "virtual_loss_weight": 1.0, "virtual_loss_value": 0.0, "normalise": False, "backup": "mean",
    "evaluation": "reward", "rollouts": 1, "widen_initial": 4, "widen_factor": 1.0,
    "widen_power": 0.5, "widen_batch": 4, "widen_below": -1e9, "widen_most": 8, "mass_left": 0.0,
    "missing_value": 0.0, "max_in_flight": 16, "max_collisions": 0,
}  # fmt: skip


@dataclass(eq=False)
class Node:
    parent: Node | None = None
    tokens: tuple[int, ...] = ()
    logprob: float = 0.0
    reward: float | None = None
    verdict: int = -1
    terminal: bool = False
    children: list[Node] = field(default_factory=list)
    prior: np.float32 = ZERO
    visits: int = 0
    ended: int = 0
    total: float = 0.0
    best: float = -math.inf
    in_flight: int = 0
    exhausted: bool = False
    met_again: int = 0
    dead: bool = False
    expanding: bool = False
    closed: bool = False
    busy: bool = False

    def up(self):
        node = self
        while node is not None:
            yield node
            node = node.parent


class ReferenceMcts:
    def __init__(self, **options):
        self.o = {**DEFAULTS, **options}
        self.root = Node()
        self.nodes = [self.root]
        self.walkers: list[Node] = []
        self.tasks: dict[int, tuple[Node, str, int]] = {}
        self.out: set[int] = set()
        self.low, self.high = math.inf, -math.inf
        self.collisions = 0

    def q(self, node):
        return node.best if self.o["backup"] == "max" else node.total / node.visits

    def backup(self, leaf, value):
        if self.o["backup"] == "min_path":
            value = min([value, *(n.reward for n in leaf.up() if n.reward is not None)])
        leaf.ended += 1
        for node in leaf.up():
            node.visits += 1
            node.total += value
            node.best = max(node.best, value)
            if node.parent:
                self.low, self.high = min(self.low, self.q(node)), max(self.high, self.q(node))

    def select(self, node):
        o = self.o
        first = o["fpu_value"]
        if o["fpu"] == "reduction" and node.visits:
            seen = sum(float(c.prior) for c in node.children if c.visits)
            first = self.q(node) - o["fpu_reduction"] * math.sqrt(seen)
        low, scale = F(0), F(1)
        first = F(first)
        if o["normalise"]:
            spread = self.high > self.low
            low = F(self.low) if spread else F(0)
            scale = F(1 / (self.high - self.low)) if spread else F(0)
            first = min(max((first - low) * scale, F(0)), F(1))
        below = node.visits - node.ended
        if o["formula"] == "muzero":
            known = [F(self.q(n)) for n in [node, *node.children] if n.visits] or [F(0)]
            low, first, below = min(known), F(0), node.visits
            scale = F(1) / max(max(known) - low, F(1e-8))
        c = o["c_init"] + math.log((node.visits + o["c_base"] + 1) / o["c_base"])
        best, best_score = None, None
        for child in node.children:
            if child.closed or child.busy:
                continue
            value = (F(self.q(child)) - low) * scale if child.visits else first
            n, pending = F(child.visits), F(child.in_flight)
            if o["virtual_loss"] == "weighted":
                pending = pending * F(o["virtual_loss_weight"])
                pull = pending / (pending + max(n, F(0.25)))
                value = value + (F(o["virtual_loss_value"]) - value) * pull
            if o["formula"] != "uct":
                weight = F(c * math.sqrt(max(below, 1)))
                score = value + weight * child.prior / (F(1) + n + pending)
            else:
                share = F(math.log(node.visits + 1)) / max(n + pending, F(1))
                score = value + F(o["exploration"]) * np.sqrt(share)
            if best is None or score > best_score:
                best, best_score = child, score
        return best

    def descend(self):
        o, node = self.o, self.root
        while True:
            untouched = not node.children and node.visits == 0 and node.in_flight == 0
            if o["evaluation"] == "rollout" and node is not self.root and untouched:
                return node, "sample", o["rollouts"]
            if not node.exhausted and not node.expanding:
                limit = math.ceil(o["widen_factor"] * math.pow(node.visits, o["widen_power"]))
                wanted = max(o["widen_initial"], limit) - len(node.children)
                good = [float(F(self.q(c))) for c in node.children if c.visits and not c.closed]
                few = o["widen_below"] > -1e9 and len(node.children) < o["widen_most"]
                if (
                    wanted <= 0
                    and few
                    and max(good, default=-math.inf) < float(F(o["widen_below"]))
                ):
                    wanted = 1
                if wanted <= 0 and all(c.closed for c in node.children):
                    wanted = o["widen_batch"]
                if wanted > 0:
                    node.expanding = True
                    return node, "distinct", min(wanted, o["widen_batch"])
            child = self.select(node)
            if child is not None:
                node = child
            elif node is self.root:
                return None
            else:
                self.collisions += 1
                if self.collisions == self.o["max_collisions"]:
                    return None
                node.busy = True
                node = node.parent

    def ask(self, most):
        asked = []
        while len(asked) < most and len(self.out) < self.o["max_in_flight"]:
            if self.walkers:
                task = (self.walkers.pop(0), "sample", 1)
            elif (
                0 < self.o["max_collisions"] <= self.collisions
                or self.root.closed
                or (task := self.descend()) is None
            ):
                break
            identity = len(self.tasks) + 1
            self.tasks[identity] = task
            self.out.add(identity)
            for node in task[0].up():
                node.in_flight += task[2]
            asked.append((identity, *task))
        return asked

    def outcome(self, node):
        judged = node.verdict >= 0 and (self.o["evaluation"] == "rollout" or node.reward is None)
        if judged:
            return float(node.verdict)
        return self.o["missing_value"] if node.reward is None else node.reward

    def tell(self, identity, children, exhausted):
        parent, mode, count = self.tasks[identity]
        self.out.discard(identity)
        for node in parent.up():
            node.in_flight -= count
        self.collisions = 0
        for node in self.nodes:
            node.busy = False
        arrivals = []
        for child in children:
            tokens = tuple(child.tokens)
            known = next((c for c in parent.children if c.tokens == tokens), None)
            reward = None if child.value is None else float(F(child.value))
            node = known or Node(
                parent, tokens, float(F(child.logprob)), reward, child.verdict, child.terminal
            )
            if known is None:
                parent.children.append(node)
                self.nodes.append(node)
            arrivals.append((node, known is None))
        if any(created for _, created in arrivals):
            largest = max(c.logprob for c in parent.children)
            weights = [math.exp(c.logprob - largest) for c in parent.children]
            total = 0.0
            for weight in weights:
                total += weight
            for child, weight in zip(parent.children, weights, strict=True):
                child.prior = F(weight / total)
        elif mode == "distinct":
            parent.met_again += len(children)
            exhausted |= not children or parent.met_again > len(parent.children)
        if not parent.children:
            exhausted = parent.dead = True
        parent.exhausted |= exhausted
        visited = False
        if mode == "distinct":
            parent.expanding = False
            known = sum(math.exp(F(c.logprob)) for c in parent.children)
            parent.exhausted |= self.o["mass_left"] > 0 and known >= 1 - self.o["mass_left"]
            reward_mode = self.o["evaluation"] == "reward"
            for node, created in arrivals:
                if created and (node.terminal or (reward_mode and node.reward is not None)):
                    self.backup(node, self.outcome(node))
                    visited = True
            if any(created for _, created in arrivals) and not visited and reward_mode:
                self.backup(parent, self.o["missing_value"])
        else:
            for node, _ in arrivals:
                if node.terminal:
                    self.backup(node, self.outcome(node))
                else:
                    self.walkers.append(node)
            for _ in range(count - len(arrivals)):
                self.backup(parent, self.outcome(parent))
        for node, _ in arrivals:
            node.closed |= node.terminal
        for node in parent.up():
            if not (node.exhausted and all(c.closed for c in node.children)):
                break
            node.closed = True
