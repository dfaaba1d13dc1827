"""Aggregators against values worked out by hand."""

from __future__ import annotations

import math

import pytest

from reward_bridge.aggregation import AGGREGATORS, aggregator, discounted, soft_minimum

HALVES = (0.5, None, 0.25, 1.0)

TABLE = [
    ("last", HALVES, 1.0),
    ("last", (0.5, None), 0.5),
    ("min", HALVES, 0.25),
    ("max", HALVES, 1.0),
    ("mean", HALVES, 1.75 / 3),
    ("product", HALVES, 0.125),
    ("geometric_mean", HALVES, 0.5),
    ("delta", HALVES, 0.75),
    ("delta", (0.5,), 0.5),
    ("delta", (None, 0.9, None, 0.3, None), -0.6),
    ("discounted", (0.0, 1.0), 1 / 1.9),
    ("discounted", (1.0, None, 0.0), 0.9 / 1.9),
    ("soft_min", (0.0, 1.0), math.exp(-10) / (1 + math.exp(-10))),
    ("soft_min", (0.3, 0.3, 0.3), 0.3),
    ("product", (0.0, 0.5), 0.0),
    ("product", (0.5, 0.0), 0.0),
    ("geometric_mean", (0.0, 0.5), 0.0),
    ("mean", (0.0, 0.5), 0.25),
    ("min", (0.0, 0.5), 0.0),
    ("last", (0.5, 0.0), 0.0),
    ("max", (0.0,), 0.0),
]


@pytest.mark.parametrize(("name", "scores", "value"), TABLE)
def test_values_by_hand(name: str, scores: tuple[float | None, ...], value: float) -> None:
    assert aggregator(name)(scores) == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize("name", AGGREGATORS)
def test_no_score_is_no_value(name: str) -> None:
    assert aggregator(name)(()) is None
    assert aggregator(name)((None, None)) is None


@pytest.mark.parametrize("name", AGGREGATORS)
def test_abstentions_are_as_if_they_were_not_there(name: str) -> None:
    scores = (0.9, 0.2, 0.6)
    assert aggregator(name)((None, 0.9, None, 0.2, 0.6, None)) == aggregator(name)(scores)


@pytest.mark.parametrize("name", AGGREGATORS)
def test_one_score_is_its_own_value(name: str) -> None:
    assert aggregator(name)((0.375,)) == pytest.approx(0.375, abs=1e-12)


def test_the_table_covers_every_name() -> None:
    assert {name for name, *_ in TABLE} == set(AGGREGATORS)
    assert set(AGGREGATORS) == {
        *("last", "min", "max", "mean", "product", "geometric_mean"),
        *("soft_min", "discounted", "delta"),
    }


def test_a_long_product_does_not_underflow_on_the_way() -> None:
    scores = [1e-3] * 200
    assert aggregator("geometric_mean")(scores) == pytest.approx(1e-3)
    assert aggregator("product")(scores) == 0.0


def test_a_product_of_negative_scores_is_an_error() -> None:
    for name in ("product", "geometric_mean"):
        with pytest.raises(ValueError, match="at least 0"):
            aggregator(name)((0.5, -0.1))


def test_sharpness_and_discount_have_their_limits() -> None:
    scores = (0.9, 0.2, 0.6)
    assert soft_minimum(scores, sharpness=0.0) == pytest.approx(sum(scores) / 3)
    assert soft_minimum(scores, sharpness=1e3) == pytest.approx(0.2)
    assert soft_minimum(scores, sharpness=-1e3) == pytest.approx(0.9)
    assert discounted(scores, discount=1.0) == pytest.approx(sum(scores) / 3)
    assert discounted(scores, discount=1e-9) == pytest.approx(0.6)


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"unknown aggregator 'median'; known: last, min"):
        aggregator("median")
