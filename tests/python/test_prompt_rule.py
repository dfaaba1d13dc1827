"""When the default prompt is left: cautious figures by hand, margins, and how often noise fools."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prompt_oirl.choice.rule import PRIOR_MEMBERS, Rule, calibrated_rule, gain_over_default
from prompt_oirl.errors import BadLog
from prompt_oirl.models.outcomes import Outcomes

# Three members, one query, three arms; the default is arm 1.
MEMBERS = np.array([[[0.5, 0.4, 0.2]], [[0.9, 0.5, 0.3]], [[0.4, 0.6, 0.7]]])
ADVANTAGES = np.array([[0.1, 0, -0.2], [0.4, 0, -0.2], [-0.2, 0, 0.1]])
SPREAD = np.array([0.3, 0.0, 0.1])


def log_of(value: np.ndarray, group: np.ndarray | None = None) -> Outcomes:
    weight = np.where(np.isnan(value), 0.0, 1.0)
    group = np.arange(len(value)) if group is None else group
    return Outcomes(np.zeros((len(value), 1)), value, weight, group)


class TestCautious:
    def test_mean_and_worst(self) -> None:
        mean = Rule(1, "mean", 1.0, SPREAD).cautious(MEMBERS)
        worst = Rule(1, "worst", 1.0, SPREAD).cautious(MEMBERS)
        assert mean == pytest.approx(np.array([[0.1, 0, -0.1]]))
        assert worst == pytest.approx(np.array([[-0.2, 0, -0.2]]))

    def test_lower_with_the_usual_spread(self) -> None:
        found = Rule(1, "lower", 2.0, SPREAD).cautious(MEMBERS)
        assert found == pytest.approx(np.array([[0.1 - 0.6, 0, -0.1 - 0.2]]))

    def test_lower_with_the_query_s_own_spread(self) -> None:
        found = Rule(1, "lower", 2.0, SPREAD, own_spread=True).cautious(MEMBERS)
        own = ADVANTAGES.var(axis=0, ddof=1)
        drawn = (3 * own + PRIOR_MEMBERS * SPREAD**2) / (3 + PRIOR_MEMBERS)
        assert found[0] == pytest.approx(ADVANTAGES.mean(axis=0) - 2 * np.sqrt(drawn))
        assert found[0, 1] == 0

    def test_choice_is_above_the_margin_only(self) -> None:
        cautious = np.array([[0.2, 0, 0.1], [0.05, 0, 0.1], [-0.1, 0, -0.2], [0.0, 0, 0.11]])
        assert Rule(1, "mean", 0, SPREAD, margin=0.1).choose(cautious).tolist() == [0, 1, 1, 2]
        assert Rule(1, "mean", 0, SPREAD, margin=0.0).choose(cautious).tolist() == [0, 2, 1, 2]
        assert Rule(1, "mean", 0, SPREAD).choose(cautious + 9.0).tolist() == [1] * 4

    @settings(max_examples=50, deadline=None)
    @given(st.integers(0, 10**6), st.sampled_from(["mean", "worst", "lower"]), st.booleans())
    def test_levels_of_queries_do_not_matter(self, seed: int, kind: str, own: bool) -> None:
        rng = np.random.default_rng(seed)
        predictions, level = rng.random((4, 6, 3)), rng.random((4, 6, 1))
        rule = Rule(2, kind, 1.0, np.array([0.1, 0.2, 0.0]), own)
        first, second = rule.cautious(predictions), rule.cautious(predictions + level)
        assert first == pytest.approx(second, abs=1e-12)
        assert first[:, 2] == pytest.approx(0)
        assert (Rule(2, "worst", 0, rule.spread).cautious(predictions) <= first + 1).all()

    def reference(self, log: Outcomes, chosen: np.ndarray, default: int) -> tuple[float, float]:
        """The same by loops: known rows that leave stand for all that do."""
        rows = range(len(chosen))
        size = log.weight.max(axis=1)
        leaves = [r for r in rows if chosen[r] != default]
        known = [r for r in leaves if log.weight[r, chosen[r]] * log.weight[r, default] > 0]
        apart = {r: log.value[r, chosen[r]] - log.value[r, default] for r in known}
        mean = sum(size[r] * apart[r] for r in known) / sum(size[r] for r in known)
        scale = sum(size[r] for r in leaves) / sum(size[r] for r in known)
        gain = mean * sum(size[r] for r in leaves) / sum(size)
        sums: dict[int, float] = {}
        for r in rows:
            told = (r in leaves) * mean + (scale * (apart[r] - mean) if r in known else 0)
            group = int(log.group[r])
            sums[group] = sums.get(group, 0) + size[r] * (told - gain)
        squares = sum(value**2 for value in sums.values())
        return gain, float(np.sqrt(squares * len(sums) / (len(sums) - 1))) / sum(size)

    @pytest.mark.parametrize("seed", range(4))
    def test_against_a_loop(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        value = rng.random((60, 3))
        value[rng.random((60, 3)) < 0.2] = np.nan
        weight = np.where(np.isnan(value), 0, rng.integers(1, 4, (60, 3))).astype(float)
        some = Outcomes(np.zeros((60, 1)), value, weight, rng.integers(0, 17, 60))
        chosen = rng.integers(0, 3, 60)
        assert gain_over_default(some, chosen, 1) == pytest.approx(self.reference(some, chosen, 1))

    def test_groups_of_one_give_the_usual_standard_error(self) -> None:
        rng = np.random.default_rng(0)
        value = rng.random((50, 2))
        gain, error = gain_over_default(log_of(value), np.ones(50, dtype=np.int64), 0)
        difference = value[:, 1] - value[:, 0]
        assert gain == pytest.approx(difference.mean())
        assert error == pytest.approx(difference.std(ddof=1) / np.sqrt(50))

    def test_one_group_or_no_pair_is_no_evidence(self) -> None:
        better = np.tile([0.0, 1.0], (30, 1))
        ones = np.ones(30, dtype=np.int64)
        _, error = gain_over_default(log_of(better, np.zeros(30, dtype=np.int64)), ones, 0)
        assert error == np.inf
        apart = np.where(np.arange(30)[:, None] % 2 == [0, 1], better, np.nan)
        assert gain_over_default(log_of(apart), ones, 0) == (0, np.inf)
        assert gain_over_default(log_of(better), 0 * ones, 0) == (0, 0)

    def test_few_that_agree_by_luck_are_no_evidence(self) -> None:
        value = np.full((200, 2), 0.5)
        value[:9] = [0.0, 1.0]
        chosen = (np.arange(200) < 9).astype(np.int64)
        assert gain_over_default(log_of(value), chosen, 0) == (0, np.inf)
        value[9], chosen[9] = [0.0, 1.0], 1
        gain, error = gain_over_default(log_of(value), chosen, 0)
        assert gain == pytest.approx(10 / 200)
        assert 0 < error < gain / 2.5

    def test_rows_without_both_outcomes_count_as_those_that_have_them(self) -> None:
        """Otherwise rows that stay, of which more are known, would make the gain small."""
        rng = np.random.default_rng(0)
        value = np.tile([0.2, 0.9], (2000, 1))
        value[rng.random((2000, 2)) < 0.5] = np.nan
        chosen = (np.arange(2000) < 1000).astype(np.int64)
        gain, _ = gain_over_default(log_of(value), chosen, 0)
        # A few rows of either kind have no outcome at all.
        assert gain == pytest.approx(0.35, abs=0.02)


def noise(seed: int, rows: int = 200, arms: int = 3) -> tuple[Outcomes, np.ndarray]:
    """Outcomes, and predictions of them that know nothing."""
    rng = np.random.default_rng(seed)
    value = (rng.random((rows, arms)) < 0.5).astype(float)
    return log_of(value), 0.5 + rng.normal(0, 0.08, (2, rows, arms))


class TestCalibration:
    def test_noise_seldom_moves_it(self) -> None:
        """Seven margins, one of which may be lucky: a few percent of false deployments."""
        left = sum(
            np.isfinite(calibrated_rule(*noise(seed), kind="mean").margin) for seed in range(300)
        )
        assert left / 300 < 0.05

    def test_a_laxer_rule_is_fooled_more_often(self) -> None:
        lax = [calibrated_rule(*noise(s), kind="mean", clear_of_noise=0.0) for s in range(60)]
        assert sum(np.isfinite(rule.margin) for rule in lax) > 20

    def test_a_planted_gain_is_found(self) -> None:
        rng = np.random.default_rng(0)
        chance = np.where(rng.random((300, 1)) < 0.5, [[0.9, 0.2, 0.5]], [[0.2, 0.9, 0.5]])
        some = log_of((rng.random((300, 3)) < chance).astype(float))
        unseen = chance + rng.normal(0, 0.05, (2, 300, 3))
        for kind in ("mean", "worst", "lower"):
            rule = calibrated_rule(some, unseen, kind)
            assert np.isfinite(rule.margin)
            assert rule.default == some.best_single
            chosen = rule.choose(rule.cautious(unseen))
            found = gain_over_default(some, chosen, rule.default)
            assert (rule.gain, rule.gain_error) == pytest.approx(found)
            assert rule.gain > 0.2

    def test_the_margin_is_that_of_the_best_lower_bound(self) -> None:
        """Small claims are wrong and large ones right: the margin lies between."""
        rng = np.random.default_rng(1)
        claim = rng.choice([0.025, 0.2], 600)
        value = np.stack([np.full(600, 0.5), np.where(claim > 0.1, 0.9, 0.3)], axis=1)
        value = (rng.random((600, 2)) < value).astype(float)
        unseen = np.stack([np.zeros(600), claim], axis=1)[None]
        rule = calibrated_rule(log_of(value), unseen, "mean", default=0)
        assert rule.margin == 0.03
        assert rule.spread.tolist() == [0, 0]
        assert np.isinf(calibrated_rule(log_of(value), -unseen, "mean", default=0).margin)

    def test_spread_and_default(self) -> None:
        some, unseen = noise(0)
        rule = calibrated_rule(some, unseen, default=2, z=1.5)
        advantage = unseen - unseen[:, :, [2]]
        usual = np.sqrt(((advantage[0] - advantage[1]) ** 2 / 2).mean(axis=0))
        assert rule.spread == pytest.approx(usual)
        assert (rule.default, rule.z) == (2, 1.5)

    @pytest.mark.parametrize(
        ("kind", "message"), [("lower", "has no spread"), ("worst", "has no worst case")]
    )
    def test_one_prediction_a_row_has_neither_spread_nor_worst_case(
        self, kind: str, message: str
    ) -> None:
        some, unseen = noise(0)
        with pytest.raises(BadLog, match=f"{message}: '{kind}' needs two repeats or more"):
            calibrated_rule(some, unseen[:1], kind)
        calibrated_rule(some, unseen, kind)
        calibrated_rule(some, unseen[:1], "lower", z=0.0)

    def test_unknown_kind(self) -> None:
        with pytest.raises(
            BadLog, match="unknown kind of choice 'best'; known: mean, worst, lower"
        ):
            calibrated_rule(*noise(0), kind="best")
