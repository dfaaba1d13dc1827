"""Trees as arrays: the same sums as LightGBM, to the last bit that order of summing allows."""

from __future__ import annotations

from typing import Any

import lightgbm
import numpy as np
import pytest

from prompt_oirl.models import forest as module
from prompt_oirl.models.forest import Forest


def booster(x: np.ndarray, y: np.ndarray, seed: int, **settings: Any) -> lightgbm.Booster:
    base = {"verbose": -1, "num_threads": 1, "seed": seed, "min_data_in_leaf": 3, "objective": "l2"}
    return lightgbm.train({**base, **settings}, lightgbm.Dataset(x, y), 25)


def data(seed: int, whole: bool) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.integers(-3, 4, (300, 4)).astype(float) if whole else rng.normal(size=(300, 4))
    return x, x[:, 0] * x[:, 1] + rng.normal(size=300)


def at_thresholds(forest: Forest, size: int, rng: np.random.Generator) -> np.ndarray:
    """Rows of values that are exactly thresholds of their column, or just above or below."""
    arrays = forest.arrays()
    x = rng.normal(size=(size, 4))
    for column in range(4):
        values = arrays["threshold"][arrays["feature"] == column]
        if len(values):
            x[:, column] = rng.choice(values, size)
    x[np.abs(x) < 1e-30] = 0.0  # LightGBM takes so small values for 0 and splits beside it
    nudged = rng.integers(3, size=x.shape)
    x = np.where((nudged == 1) & (x != 0), np.nextafter(x, np.inf), x)
    return np.where((nudged == 2) & (x != 0), np.nextafter(x, -np.inf), x)


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "settings",
    [{"num_leaves": 8}, {"num_leaves": 200, "max_depth": 10, "boost_from_average": False}],
)
def test_same_sums_as_lightgbm(whole: bool, seed: int, settings: dict[str, Any]) -> None:
    x, y = data(seed, whole)
    first, second = booster(x, y, seed, **settings), booster(x, -2 * y, seed + 1, **settings)
    forest = Forest(3)
    forest.add(first, 2)
    forest.add(second, 0)
    forest.offset[:] = [0.0, 0.5, 0.25]
    new = np.vstack([x, at_thresholds(forest, 400, np.random.default_rng(seed))])
    for forest_read in (forest, Forest.from_arrays(forest.arrays())):
        found = forest_read.predict(new)
        assert np.abs(found[:, 2] - 0.25 - first.predict(new, raw_score=True)).max() < 1e-12
        assert np.abs(found[:, 0] - second.predict(new, raw_score=True)).max() < 1e-12
        assert (found[:, 1] == 0.5).all()


def test_a_value_equal_to_a_threshold_goes_left() -> None:
    arrays = {
        "feature": np.array([1, -1, -1], dtype=np.int32),
        "threshold": np.array([2.0, 0, 0]),
        "left": np.array([1, 1, 2], dtype=np.int32),
        "right": np.array([2, 1, 2], dtype=np.int32),
        "leaf": np.array([0.0, 10.0, 20.0]),
        "root": np.array([0], dtype=np.int32),
        "output": np.array([0], dtype=np.int32),
        "offset": np.array([1.0]),
    }
    x = np.array([[9.0, 2.0], [0.0, np.nextafter(2.0, 3.0)]])
    assert Forest.from_arrays(arrays).predict(x).tolist() == [[11], [21]]


def test_blocks_of_rows_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = data(0, False)
    forest = Forest(1)
    forest.add(booster(x, y, 0), 0)
    whole = forest.predict(x)
    monkeypatch.setattr(module, "ROWS_AT_ONCE", 60)
    assert np.array_equal(forest.predict(x), whole)


def test_constant_targets_and_no_trees() -> None:
    x, _ = data(0, False)
    forest = Forest(2)
    forest.offset[1] = -1.5
    assert forest.predict(x[:2]).tolist() == [[0, -1.5]] * 2
    constant = booster(x, np.full(300, 0.7), 0)
    forest.add(constant, 0)
    assert np.abs(forest.predict(x)[:, 0] - constant.predict(x, raw_score=True)).max() < 1e-12
    assert forest.predict(np.zeros((0, 4))).shape == (0, 2)


def test_arrays_after_further_trees() -> None:
    x, y = data(1, False)
    forest = Forest(1)
    forest.add(booster(x, y, 0), 0)
    before = len(forest.arrays()["root"])
    forest.add(booster(x, y, 1), 0)
    assert len(forest.arrays()["root"]) == 2 * before
