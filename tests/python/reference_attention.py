"""Tree attention in a few lines of torch, and a planner that shares no code with the real one."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import numpy as np
import torch

from search._native import attention

CHUNK = 64


@dataclass
class Span:
    """Tokens of one edge of the tree, of which the last ``n_new`` are rows of this step."""

    parent: int
    begin: int  # position on the path of the first token
    slots: list[int]
    n_new: int
    children: list[int] = field(default_factory=list)


@dataclass
class Tree:
    """Spans in depth-first order, so that the rows below a span are contiguous."""

    spans: list[Span]
    page_size: int
    pages: int

    def path(self, span: int) -> list[int]:
        chain = []
        while span >= 0:
            chain.append(span)
            span = self.spans[span].parent
        return chain[::-1]

    def rows(self) -> list[tuple[int, int]]:
        """(span, index in span) of each row."""
        return [
            (i, t)
            for i, span in enumerate(self.spans)
            for t in range(len(span.slots) - span.n_new, len(span.slots))
        ]

    def path_slots(self, span: int, index: int) -> list[int]:
        """Slots from the root to a token, that token included."""
        slots = [s for i in self.path(span)[:-1] for s in self.spans[i].slots]
        return slots + self.spans[span].slots[: index + 1]


def make_tree(
    lengths: list[tuple[int, int, int]], page_size: int = 16, spare_pages: int = 2, seed: int = 0
) -> Tree:
    """``lengths`` holds (parent, tokens, new tokens) in depth-first order; slots are shuffled."""
    total = sum(n for _, n, _ in lengths)
    pages = -(-total // page_size) + spare_pages
    free = list(range(pages * page_size))
    random.Random(seed).shuffle(free)
    spans: list[Span] = []
    for i, (parent, n, n_new) in enumerate(lengths):
        begin = 0 if parent < 0 else spans[parent].begin + len(spans[parent].slots)
        spans.append(Span(parent, begin, [free.pop() for _ in range(n)], n_new))
        if parent >= 0:
            spans[parent].children.append(i)
    return Tree(spans, page_size, pages)


def random_tree(seed: int, n_spans: int = 12, most_tokens: int = 90, most_new: int = 5) -> Tree:
    """A forest with branches at random places, new tokens in leaves and in inner spans."""
    rng = random.Random(seed)
    children: list[list[int]] = [[] for _ in range(n_spans)]
    roots = []
    for i in range(n_spans):
        if i == 0 or rng.random() < 0.1:
            roots.append(i)
        else:
            children[rng.randrange(max(0, i - 5), i)].append(i)
    lengths: list[tuple[int, int, int]] = []

    def visit(i: int, parent: int, all_new: bool) -> None:
        n = rng.choice([1, 2, rng.randint(1, most_tokens), 64, 65])
        if all_new and rng.random() < 0.8:
            n = rng.randint(1, 6)  # most new spans are short, as segments of one step are
        n_new = n if all_new else min(n, rng.randint(0, most_new))
        lengths.append((parent, n, n_new))
        here = len(lengths) - 1
        for child in children[i]:
            visit(child, here, all_new or n_new > 0)

    for root in roots:
        visit(root, -1, False)
    return make_tree(lengths, page_size=rng.choice([1, 4, 16, 64]), seed=seed)


def make_plan(tree: Tree, n_padding: int = 0, split_rows: int = 0, seed: int = 0):
    """A plan with one item a chunk, cut into groups of at most ``split_rows`` rows if asked.

    Items come in shuffled order: nothing may depend on it.
    """
    rng = random.Random(seed)
    rows = tree.rows()
    below = [[] for _ in tree.spans]
    for row, (span, _) in enumerate(rows):
        for ancestor in tree.path(span):
            below[ancestor].append(row)
    items, slots, owners = [], [], []
    chunk_partials: dict[tuple[int, int], dict[int, int]] = {}
    order = list(range(len(tree.spans)))
    rng.shuffle(order)
    for i in order:
        span = tree.spans[i]
        if not below[i]:
            continue
        begin, end = below[i][0], below[i][-1] + 1
        assert end - begin == len(below[i])
        for first in range(0, len(span.slots), CHUNK):
            part = span.slots[first : first + CHUNK]
            slot_begin = len(slots)
            slots += part
            places = chunk_partials.setdefault((i, first), {})
            at = begin
            while at < end:
                stop = end if split_rows <= 0 else min(end, at + rng.randint(1, split_rows))
                items.append((at, stop, slot_begin, len(part), span.begin + first, len(owners)))
                for row in range(at, stop):
                    places[row] = len(owners)
                    owners.append(row)
                at = stop
    reduce_begin, reduce_partials = [0], []
    for row, (span, _) in enumerate(rows):
        for i in tree.path(span):
            for first in range(0, len(tree.spans[i].slots), CHUNK):
                reduce_partials.append(chunk_partials[i, first][row])
        reduce_begin.append(len(reduce_partials))
    reduce_begin += [len(reduce_partials)] * n_padding
    positions = [tree.spans[s].begin + t for s, t in rows] + [-1] * n_padding
    append_slots = [tree.spans[s].slots[t] for s, t in rows] + [-1] * n_padding
    return attention.Plan(
        query_position=np.array(positions, np.int32),
        append_slots=np.array(append_slots, np.int32),
        items=np.array(items, np.int32).reshape(-1, 6),
        slots=np.array(slots, np.int32),
        reduce_begin=np.array(reduce_begin, np.int32),
        reduce_partials=np.array(reduce_partials, np.int32),
        n_partials=len(owners),
    )


def reference(tree, keys, values, query, scale, window=0, softcap=0.0, dtype=torch.float64):
    """Attention of each row over the keys of its path, span by span; [rows, heads, dim]."""
    n_pages, kv_heads, page_size, dim = keys.shape
    flat_k, flat_v = (
        t.transpose(1, 2).reshape(n_pages * page_size, kv_heads, dim) for t in (keys, values)
    )
    outputs = [query[:0].to(dtype)]
    done = 0
    for i, span in enumerate(tree.spans):
        q = query[done : done + span.n_new].to(dtype).unflatten(1, (kv_heads, -1))
        done += span.n_new
        path = torch.tensor(tree.path_slots(i, len(span.slots) - 1))
        scores = torch.einsum("rhgd,nhd->hgrn", q, flat_k[path].to(dtype)) * scale
        if softcap:
            scores = softcap * torch.tanh(scores / softcap)
        at = torch.arange(len(path) - span.n_new, len(path))[:, None]
        p = torch.arange(len(path))
        visible = (p <= at) & ((p > at - window) if window > 0 else True)
        weights = torch.softmax(scores.masked_fill(~visible, float("-inf")), -1)
        outputs.append(
            torch.einsum("hgrn,nhd->rhgd", weights, flat_v[path].to(dtype)).flatten(1, 2)
        )
    return torch.cat(outputs)


def layer_of(keys: torch.Tensor, values: torch.Tensor):
    """The native view of a layer's two tensors."""
    return attention.KvLayer(
        keys.data_ptr(), values.data_ptr(), *keys.shape, str(keys.dtype).removeprefix("torch.")
    )


def attend(plan, keys, values, query, scale, window=0, softcap=0.0, out=None):
    """Native attend on torch tensors; returns the output."""
    out = torch.full_like(query, float("nan")) if out is None else out
    attention.attend(
        plan,
        layer_of(keys, values),
        query.data_ptr(),
        query.stride()[:2],
        out.data_ptr(),
        out.stride()[:2],
        query.shape[1],
        scale,
        window,
        softcap,
    )
    return out


def append_and_attend(
    plan, keys, values, query, k_new, v_new, scale, window=0, softcap=0.0, out=None
):
    """Native append_and_attend on torch tensors; returns the output."""
    out = torch.full_like(query, float("nan")) if out is None else out
    attention.append_and_attend(
        plan,
        layer_of(keys, values),
        query.data_ptr(),
        query.stride()[:2],
        k_new.data_ptr(),
        k_new.stride()[:2],
        v_new.data_ptr(),
        v_new.stride()[:2],
        out.data_ptr(),
        out.stride()[:2],
        query.shape[1],
        scale,
        window,
        softcap,
    )
    return out
