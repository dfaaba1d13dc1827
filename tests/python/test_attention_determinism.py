"""Bit-identical results, whatever the threads, the grouping of rows and the company of a row."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from reference_attention import attend, make_plan, make_tree, random_tree
from test_attention import level, make_tensors, quiet_torch, threads  # noqa: F401

from search._native import attention

NO_OPENMP = "this torch brings no OpenMP runtime with GNU's entry point"
SHAPES = [(14, 2, 64), (16, 8, 128), (3, 3, 7)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_threads_grouping_and_runs(level, threads, shape, dtype):  # noqa: F811
    for seed in (1, 2):
        tree = random_tree(seed, n_spans=20, most_new=12)
        keys, values, query = make_tensors(tree, shape, dtype, seed)
        args = keys, values, query, shape[2] ** -0.5
        expected = attend(make_plan(tree), *args, window=150, softcap=20.0)
        for n in (1, 2, 8):
            threads(n)
            for split in (0, 0, 1, 7):
                plan = make_plan(tree, split_rows=split, seed=n * 10 + split)
                assert torch.equal(attend(plan, *args, window=150, softcap=20.0), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    "shape",
    [
        (6, 2, 40),
        *((n, 1, 64) for n in range(1, 10)),
        *((n, 1, 96 + 64 * (n % 3)) for n in range(1, 9)),  # tails of every width
        (4, 2, 128),
    ],
)
def test_a_row_alone_equals_the_row_in_company(level, shape, dtype):  # noqa: F811
    """A row of few heads reads keys and values directly when it is alone, packed in company."""
    tree = make_tree([(-1, 100, 30), (0, 20, 20), (0, 70, 70), (2, 3, 3)])
    keys, values, query = make_tensors(tree, shape, dtype)
    together = attend(make_plan(tree), keys, values, query, 0.2, window=90)
    for row, (span, index) in enumerate(tree.rows()):
        # The same path up to this token, and this token as the only row.
        chain = tree.path(span)
        lengths = [len(tree.spans[i].slots) for i in chain[:-1]] + [index + 1]
        alone = make_tree([(i - 1, n, 0) for i, n in enumerate(lengths)], tree.page_size)
        for mine, i in zip(alone.spans, chain, strict=True):
            mine.slots[:] = tree.spans[i].slots[: len(mine.slots)]
        alone.spans[-1].n_new = 1
        out = attend(make_plan(alone), keys, values, query[row : row + 1], 0.2, window=90)
        assert torch.equal(out[0], together[row])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_some_rows_of_a_plan_keep_their_bits(level, dtype):  # noqa: F811
    generator = torch.Generator().manual_seed(3)
    for seed in range(4):
        tree = random_tree(seed, n_spans=20, most_new=12)
        keys, values, query = make_tensors(tree, (14, 2, 64), dtype, seed)
        plan = make_plan(tree, n_padding=3)
        query = torch.cat([query, query[:3]])
        whole = attend(plan, keys, values, query, 0.125, window=150)
        for share in (0.0, 0.1, 0.5, 1.0):
            rows = (torch.rand(plan.n_rows, generator=generator) < share).nonzero()[:, 0]
            part = plan.of_rows(rows.int().numpy())
            assert part.n_rows == len(rows)
            out = attend(part, keys, values, query[rows], 0.125, window=150)
            assert torch.equal(out, whole[rows])
            assert (part.append_slots == -1).all()


def test_slots_may_lie_anywhere(level):  # noqa: F811
    tree = random_tree(4, n_spans=10)
    keys, values, query = make_tensors(tree, (4, 2, 33))
    expected = attend(make_plan(tree), keys, values, query, 0.2)
    moved = make_tree([(s.parent, len(s.slots), s.n_new) for s in tree.spans], page_size=8, seed=99)
    k = torch.randn(moved.pages, 2, 8, 33)
    v = torch.randn_like(k)
    for old, new in zip(tree.spans, moved.spans, strict=True):
        for a, b in zip(old.slots, new.slots, strict=True):
            k[b // 8, :, b % 8] = keys[a // tree.page_size, :, a % tree.page_size]
            v[b // 8, :, b % 8] = values[a // tree.page_size, :, a % tree.page_size]
    assert torch.equal(attend(make_plan(moved), k, v, query, 0.2), expected)


def test_caller_that_flushes_denormals(level, threads):  # noqa: F811
    """Workers take over the caller's floating point mode."""
    tree = random_tree(6, n_spans=30, most_new=30)
    keys, values, query = make_tensors(tree, (8, 4, 64))
    values *= 1e-38
    plan = make_plan(tree)
    outs = []
    try:
        if not torch.set_flush_denormal(True):
            pytest.skip("this processor cannot flush denormals")
        for n in (1, 4):
            threads(n)
            outs += [attend(plan, keys, values, query, 0.2) for _ in range(5)]
    finally:
        torch.set_flush_denormal(False)
    assert all(torch.equal(outs[0], out) for out in outs)


def test_two_python_threads_at_once(level, threads):  # noqa: F811
    threads(3)
    work = []
    for seed in (1, 2, 3):
        tree = random_tree(seed, n_spans=20, most_new=20)
        args = (make_plan(tree), *make_tensors(tree, (8, 4, 64), seed=seed), 0.125)
        work.append((args, attend(*args)))
    failures = []

    def loop(args, expected):
        for _ in range(25):
            if not torch.equal(attend(*args), expected):
                failures.append("differs")

    runners = [threading.Thread(target=loop, args=one) for one in work]
    for runner in runners:
        runner.start()
    for n in (1, 4, 2, 3):
        attention.set_num_threads(n)
    for runner in runners:
        runner.join()
    assert not failures


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_fork_after_the_pool_has_started(threads):  # noqa: F811
    threads(4)
    tree = random_tree(3, n_spans=20, most_new=30)
    args = (make_plan(tree), *make_tensors(tree, (8, 4, 64)), 0.125)
    expected = attend(*args)
    out = torch.empty_like(expected)
    child = os.fork()
    if child == 0:
        # No assertion here: a failing child must not run the rest of the session.
        good = attention.num_threads() == 4
        for _ in range(3):
            attend(*args, out=out)
            good = good and bool((out.numpy() == expected.numpy()).all())
        os._exit(0 if good else 1)
    for _ in range(3):
        assert torch.equal(attend(*args), expected)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_loops_on_the_threads_of_openmp(threads):  # noqa: F811
    """Torch has loaded an OpenMP runtime: the results are the same on its threads."""
    threads(1)
    tree = random_tree(4, n_spans=20, most_new=30)
    args = (make_plan(tree), *make_tensors(tree, (8, 4, 64)), 0.125)
    expected = attend(*args)
    if not attention.use_loaded_openmp():
        pytest.skip(NO_OPENMP)
    for n in (2, 5, 3):
        attention.set_num_threads(n)
        assert torch.equal(attend(*args), expected)


COUNT_THREADS = """
import os, sys
sys.path.insert(0, sys.argv[1])
import torch
from reference_attention import attend, make_plan, random_tree
from test_attention import make_tensors
from search._native import attention

tree = random_tree(4, n_spans=20, most_new=30)
args = (make_plan(tree), *make_tensors(tree, (8, 4, 64)), 0.125)
threads = lambda: len(os.listdir("/proc/self/task"))
torch.set_num_threads(3)
torch.ones(1 << 22).exp_()
attention.set_num_threads(3)
found = attention.use_loaded_openmp() if sys.argv[2] == "openmp" else None
before = threads()
attend(*args)
print(found, threads() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize(("whose", "new_threads"), [("openmp", "0"), ("own", "2")])
def test_torch_s_team_takes_the_place_of_threads_of_our_own(whose, new_threads):
    words = [sys.executable, "-c", COUNT_THREADS, str(Path(__file__).parent), whose]
    found, started = subprocess.run(
        words, capture_output=True, text=True, check=True
    ).stdout.split()
    if found == "False":
        pytest.skip(NO_OPENMP)
    assert started == new_threads
