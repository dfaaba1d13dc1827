"""Cross-fitting: folds of whole groups, and predictions by members that did not see the group."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from planted_logs import planted_outcomes

from prompt_oirl.choice.cross_fit import cross_fit, group_folds
from prompt_oirl.models.blend import Blend
from prompt_oirl.models.outcomes import Outcomes


@given(st.lists(st.integers(0, 30), min_size=1, max_size=80), st.integers(2, 6), st.integers(0, 99))
def test_folds(group: list[int], folds: int, seed: int) -> None:
    found = group_folds(np.array(group), folds, seed)
    of_group = {name: set(found[np.array(group) == name]) for name in set(group)}
    assert all(len(some) == 1 for some in of_group.values())
    sizes = [sum(some == {number} for some in of_group.values()) for number in range(folds)]
    assert max(sizes) - min(sizes) <= 1
    assert sum(sizes) == len(of_group)


def test_folds_differ_by_seed() -> None:
    groups = np.arange(100)
    assert np.array_equal(group_folds(groups, 4, 0), group_folds(groups, 4, 0))
    assert not np.array_equal(group_folds(groups, 4, 0), group_folds(groups, 4, 1))


def grouped(seed: int = 0) -> Outcomes:
    some = planted_outcomes(60, seed=seed)
    return Outcomes(
        some.x, some.value, some.weight, np.random.default_rng(seed).integers(0, 12, 60)
    )


def test_same_as_fitting_by_hand() -> None:
    some = grouped()
    found = cross_fit(some, ["interaction", "neighbours"], 3, 2, seed=5)
    assert len(found.members) == 6
    assert found.unseen.shape == (2, 60, 3)
    for repeat in range(2):
        fold = group_folds(some.group, 3, 5 + repeat)
        for number in range(3):
            rest = some.rows(fold != number)
            inside = fold == number
            by_hand = Blend(["interaction", "neighbours"]).fit(rest, 5 + number)
            member = found.members[3 * repeat + number]
            assert np.array_equal(member.predict(some.x), by_hand.predict(some.x))
            assert np.array_equal(found.unseen[repeat, inside], by_hand.predict(some.x[inside]))


@pytest.mark.parametrize("models", [["neighbours"], ["interaction"], ["logistic"]])
def test_outcomes_of_a_group_do_not_reach_its_own_predictions(models: list[str]) -> None:
    some = grouped(1)
    before = cross_fit(some, models, 4, 2, seed=0).unseen
    for name in (0, 5):
        mine = some.group == name
        value = some.value.copy()
        value[mine] = 1 - value[mine]
        after = cross_fit(Outcomes(some.x, value, some.weight, some.group), models, 4, 2, 0).unseen
        assert np.array_equal(after[:, mine], before[:, mine])
        assert not np.array_equal(after[:, ~mine], before[:, ~mine])


def test_no_more_folds_than_groups() -> None:
    some = grouped()
    few = Outcomes(some.x, some.value, some.weight, np.arange(60) % 3)
    assert len(cross_fit(few, ["neighbours"], 10, 2, 0).members) == 6
