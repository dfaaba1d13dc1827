"""Models of outcomes: a planted interaction is learned, gaps do no harm, arrays say everything."""

from __future__ import annotations

import numpy as np
import pytest
from planted_logs import planted_outcomes
from scipy.optimize import approx_fprime

from prompt_oirl.errors import BadLog, NotIdentified
from prompt_oirl.models import MODELS, model_class
from prompt_oirl.models.blend import Blend, as_probabilities
from prompt_oirl.models.linear import Interaction
from prompt_oirl.models.low_rank import LowRank
from prompt_oirl.models.neighbours import Neighbours
from prompt_oirl.models.outcomes import Floats, Outcomes, averaged
from prompt_oirl.models.published import ROUNDS, SETTINGS, PublishedModel, published_choice

TRAIN = planted_outcomes(400, seed=1)
TEST = planted_outcomes(300, seed=2)
NEW = TEST.x[:50]
every_model = pytest.mark.parametrize("name", list(MODELS))


def value(outcomes: Outcomes, chosen: np.ndarray) -> float:
    return float(np.nanmean(outcomes.value[np.arange(len(outcomes)), chosen]))


def with_value(outcomes: Outcomes, change: Floats, weight: Floats | None = None) -> Outcomes:
    weight = outcomes.weight if weight is None else weight
    return Outcomes(outcomes.x, change, weight, outcomes.group)


@every_model
class TestEveryModel:
    @pytest.mark.parametrize("missing", [0.0, 0.3])
    def test_learns_which_arm_is_better_where(self, name: str, missing: float) -> None:
        train = planted_outcomes(400, seed=1, missing=missing)
        predicted = model_class(name)().fit(train, 0).predict(TEST.x)
        single = TEST.arm_means.max()
        assert value(TEST, predicted.argmax(axis=1)) > single + 0.2
        base = ((train.arm_means - TEST.value) ** 2).mean()
        assert ((predicted - TEST.value) ** 2).mean() < 0.95 * base

    def test_cells_of_no_weight_are_ignored(self, name: str) -> None:
        gone = np.random.default_rng(5).random(TRAIN.value.shape) < 0.3
        weight = np.where(gone, 0.0, TRAIN.weight)
        unknown = with_value(TRAIN, np.where(gone, np.nan, TRAIN.value), weight)
        wrong = with_value(TRAIN, np.where(gone, 1 - TRAIN.value, TRAIN.value), weight)
        first, second = (model_class(name)().fit(part, 0) for part in (unknown, wrong))
        if name == "neighbours":  # it keeps what it is given
            assert first.predict(NEW) == pytest.approx(second.predict(NEW), abs=1e-12)
        else:
            assert np.array_equal(first.predict(NEW), second.predict(NEW))

    @pytest.mark.parametrize("rows", [1, 3, 90, 200])
    def test_arms_never_run_and_constant_ones(self, name: str, rows: int) -> None:
        some = planted_outcomes(rows, arms=4, seed=3)
        values, weight = some.value.copy(), some.weight.copy()
        values[:, 0], values[:, 1] = 1.0, 0.0
        values[:, 3], weight[:, 3] = np.nan, 0.0
        predicted = model_class(name)().fit(with_value(some, values, weight), 0).predict(NEW)
        assert predicted.shape == (len(NEW), 4)
        assert np.isfinite(predicted).all()
        assert (predicted[:, 0] > predicted[:, 1] + 0.2).all()
        assert (predicted[:, 0] > predicted[:, 3]).all()

    def test_queries_of_one_arm_each(self, name: str) -> None:
        some = planted_outcomes(200, seed=4)
        weight = np.eye(3)[np.arange(200) % 3]
        partial = with_value(some, np.where(weight > 0, some.value, np.nan), weight)
        predicted = model_class(name)().fit(partial, 0).predict(NEW)
        assert np.isfinite(predicted).all()
        assert as_probabilities(predicted).mean(axis=0) == pytest.approx(partial.arm_means, abs=0.2)

    def test_arrays_give_the_same_model(self, name: str) -> None:
        fitted = model_class(name)().fit(planted_outcomes(150, seed=1, missing=0.1), 0)
        arrays = fitted.arrays()
        assert all(array.dtype != object for array in arrays.values())
        again = model_class(name).from_arrays(arrays)
        assert np.array_equal(again.predict(NEW), fitted.predict(NEW))
        assert again.arrays().keys() == arrays.keys()

    def test_same_seed_same_model(self, name: str) -> None:
        first, second = (model_class(name)().fit(TRAIN, 7).predict(NEW) for _ in range(2))
        assert np.array_equal(first, second)

    def test_fitting_changes_nothing_given(self, name: str) -> None:
        some = planted_outcomes(120, seed=6, missing=0.2)
        kept = [part.copy() for part in (some.x, some.value, some.weight)]
        model_class(name)().fit(some, 0).predict(some.x)
        for part, before in zip((some.x, some.value, some.weight), kept):
            assert np.array_equal(part, before, equal_nan=True)

    def test_no_queries(self, name: str) -> None:
        assert model_class(name)().fit(TRAIN, 0).predict(np.zeros((0, 5))).shape == (0, 3)


def test_unknown_model() -> None:
    with pytest.raises(BadLog, match="unknown model 'oracle'; known: logistic"):
        model_class("oracle")


class TestReruns:
    """A mean of reruns weighs as much as its runs."""

    @pytest.mark.parametrize("name", ["logistic", "interaction", "low_rank"])
    def test_two_runs_are_two_rows(self, name: str) -> None:
        rng = np.random.default_rng(0)
        x = rng.normal(size=(60, 4))
        runs = (rng.random((2, 60, 3)) < 0.5).astype(float)
        groups = np.arange(60)
        mean = Outcomes(x, runs.mean(axis=0), np.full((60, 3), 2.0), groups)
        rows = Outcomes(np.vstack([x, x]), np.vstack(runs), np.ones((120, 3)), np.tile(groups, 2))
        first, second = (
            model_class(name)().fit(part, 0).predict(NEW[:, :4]) for part in (mean, rows)
        )
        tolerance = 1e-9 if name == "interaction" else 2e-3
        if name == "interaction":
            # Its levels are those of rows, so that noise of single runs stays in them: only the
            # level's own fit agrees.
            first, second = first.mean(axis=1), second.mean(axis=1)
        assert first == pytest.approx(second, abs=tolerance)


class TestNeighbours:
    @pytest.mark.parametrize("missing", [0.0, 0.4])
    def test_against_a_reference(self, missing: float) -> None:
        train = planted_outcomes(120, seed=8, missing=missing)
        predicted = Neighbours(count=11, prior=3.0).fit(train).predict(NEW)
        means = train.arm_means
        for query, found in zip(NEW, predicted):
            square = ((train.x - query) ** 2).sum(axis=1)
            near = np.argsort(square)[:11]
            vote = np.exp(-square[near] / square[near].max())[:, None] * train.weight[near]
            total = vote * np.nan_to_num(train.value[near])
            assert found == pytest.approx((total.sum(axis=0) + 3 * means) / (vote.sum(axis=0) + 3))

    def test_blocks_and_few_rows(self) -> None:
        train = planted_outcomes(7, seed=8)
        model = Neighbours().fit(train)
        many = np.tile(NEW, (30, 1))
        assert model.predict(many)[:50] == pytest.approx(model.predict(NEW), abs=1e-12)
        assert model.predict(many)[-50:] == pytest.approx(model.predict(NEW), abs=1e-12)

    def test_equal_queries(self) -> None:
        same = Outcomes(np.ones((50, 5)), np.ones((50, 2)), np.ones((50, 2)), np.arange(50))
        assert Neighbours().fit(same).predict(np.ones((1, 5))) == pytest.approx(1.0)


class TestInteraction:
    @pytest.mark.parametrize("missing", [0.0, 0.4])
    def test_against_least_squares(self, missing: float) -> None:
        """Ridge regression as least squares with rows added for the penalty."""
        train = planted_outcomes(80, seed=9, missing=missing)
        weight, means = train.weight, train.arm_means
        off = np.nan_to_num(train.value - means)
        runs = weight.sum(axis=1)
        level = (off * weight).sum(axis=1) / np.where(runs > 0, runs, 1)

        def line(y: Floats, weights: Floats, penalty: float) -> Floats:
            root = np.sqrt(weights)[:, None]
            rows = np.hstack([train.x, np.ones((len(y), 1))]) * root
            extra = np.hstack([np.sqrt(penalty) * np.eye(5), np.zeros((5, 1))])
            target = np.concatenate([y * root[:, 0], np.zeros(5)])
            return np.linalg.lstsq(np.vstack([rows, extra]), target, rcond=None)[0]

        shared = line(level, runs, 20.0)
        new = np.hstack([NEW, np.ones((len(NEW), 1))])
        expected = np.stack(
            [
                means[k] + new @ (shared + line(off[:, k] - level, weight[:, k], 100.0))
                for k in range(3)
            ],
            axis=1,
        )
        found = Interaction(20.0, 100.0).fit(train).predict(NEW)
        assert found == pytest.approx(expected, abs=1e-9)


class TestLowRank:
    def test_slope_against_finite_differences(self) -> None:
        train = planted_outcomes(30, seed=10, missing=0.3)
        train = with_value(train, train.value * 0.7 + 0.1, train.weight * 2)
        model = LowRank(rank=2, penalty=5.0)
        theta = np.random.default_rng(0).normal(0, 0.5, 5 * 2 + 3 * 2 + 3)
        _, slope = model.loss(theta, train)
        numeric = approx_fprime(theta, lambda point: model.loss(point, train)[0], 1e-6)
        assert slope == pytest.approx(numeric, rel=1e-4, abs=1e-3)

    def test_loss_by_hand(self) -> None:
        one = Outcomes(np.array([[2.0]]), np.array([[1.0]]), np.array([[3.0]]), np.array([0]))
        found, _ = LowRank(rank=1, penalty=10.0).loss(np.array([0.5, 0.8, 0.1]), one)
        logit = 2 * 0.5 * 0.8 + 0.1
        penalty = 10 / 2 * 0.5**2 + 10 / 200 * 0.8**2
        assert found == pytest.approx(3 * np.log(1 + np.exp(-logit)) + penalty)

    def test_the_minimum_is_found(self) -> None:
        train = planted_outcomes(200, seed=10)
        model = LowRank().fit(train, 0)
        theta = np.concatenate([model.w.ravel(), model.a.ravel(), model.b])
        loss, slope = model.loss(theta, train)
        assert np.abs(slope).max() < 0.05
        assert loss < 0.9 * model.loss(np.zeros(len(theta)), train)[0]


class TestBlend:
    def test_is_the_mean(self) -> None:
        blend = Blend(["interaction", "neighbours"]).fit(TRAIN, 3)
        parts = [model_class(name)().fit(TRAIN, 3).predict(NEW) for name in blend.names]
        assert blend.predict(NEW) == pytest.approx((parts[0] + parts[1]) / 2, abs=1e-15)
        again = Blend.from_arrays(blend.names, blend.arrays())
        assert np.array_equal(again.predict(NEW), blend.predict(NEW))

    def test_the_same_model_twice(self) -> None:
        blend = Blend(["interaction", "interaction"]).fit(TRAIN)
        again = Blend.from_arrays(blend.names, blend.arrays())
        assert np.array_equal(again.predict(NEW), Interaction().fit(TRAIN).predict(NEW))

    def test_probabilities(self) -> None:
        assert as_probabilities(np.array([-0.2, 0.3, 1.4])).tolist() == [0, 0.3, 1]


class TestPublished:
    PROMPTS = ("Think step by step.", "Answer with a number only!", "You are a poet; rhyme.")

    def test_refuses_one_prompt(self) -> None:
        with pytest.raises(
            NotIdentified, match="with one prompt the prompt's features are constant"
        ):
            PublishedModel().fit(TRAIN, ["the same"] * 3)
        one = with_value(TRAIN, TRAIN.value[:, :1], TRAIN.weight[:, :1])
        model = PublishedModel(20, allow_one_prompt=True).fit(one, ["the same"])
        scores = model.predict(NEW, ["the same", "something else", "third"])
        assert (scores == scores[:, :1]).all()

    def test_as_little_is_left_of_the_start_as_in_the_paper(self) -> None:
        left = (1 - float(SETTINGS["learning_rate"])) ** ROUNDS  # type: ignore[arg-type]
        assert left == pytest.approx(0.13, abs=0.005)
        assert left == pytest.approx((1 - 0.001) ** 2000, abs=0.005)
        # Newton steps: seven eighths of the way from even odds to those of the log.
        x = np.repeat([[0.0], [1.0]], 400, axis=0)
        chance = np.repeat([[0.3] * 2, [0.8] * 2], 400, axis=0)
        log = Outcomes(x, chance, np.ones((800, 2)), np.arange(800))
        prompts = list(self.PROMPTS[:2])
        scores = PublishedModel().fit(log, prompts).predict(x[[0, -1]], prompts)
        odds = np.log(scores / (1 - scores))
        assert odds / np.log([[0.3 / 0.7], [0.8 / 0.2]]) == pytest.approx(1 - left, abs=0.05)

    def test_learns_and_scores_new_prompts(self) -> None:
        prompts = list(self.PROMPTS)
        model = PublishedModel().fit(TRAIN, prompts)
        scores = model.predict(TEST.x, [*prompts, "Answer with a number only, please."])
        assert scores.shape == (300, 4)
        assert ((scores > 0) & (scores < 1)).all()
        assert value(TEST, scores[:, :3].argmax(axis=1)) > TEST.arm_means.max() + 0.2
        again = PublishedModel().fit(TRAIN, prompts).predict(TEST.x, prompts)
        assert np.array_equal(again, scores[:, :3])

    def test_decision_rules(self) -> None:
        tried = np.array([[0.7, 0.6], [0.2, 0.4], [0.49, 0.3], [0.5, 0.1]])
        held_out = np.array([[0.9, 0.8], [0.1, 0.3], [0.2, 0.1], [0.9, 0.9]])
        assert published_choice(tried).tolist() == [0, 1, 0, 0]
        assert published_choice(tried, held_out).tolist() == [0, 3, 2, 0]


class TestAveraged:
    def test_reruns_and_repeated_texts(self) -> None:
        from prompt_oirl.logs.log import Arm, PromptLog, Query

        queries = (Query("a", "one", "g2"), Query("b", "two", "g1"), Query("c", "one", "g1"))
        query, arm = np.array([0, 0, 2, 1, 0]), np.array([0, 0, 0, 1, 1])
        outcome = np.array([1.0, 0.5, 0.0, 1.0, 0.25])
        log = PromptLog("log", queries, (Arm("x"), Arm("y")), query, arm, outcome)
        texts, mean, weight, group = averaged(log)
        assert texts == ["one", "two"]
        assert mean == pytest.approx(np.array([[0.5, 0.25], [np.nan, 1.0]]), nan_ok=True)
        assert weight.tolist() == [[3, 1], [0, 1]]
        assert (group == [log.groups[0], log.groups[1]]).all()

    def test_arm_means_weigh_runs(self) -> None:
        some = Outcomes(
            np.zeros((2, 1)),
            np.array([[1.0, np.nan, 0.2], [0.0, np.nan, 0.2]]),
            np.array([[3.0, 0, 1], [1, 0, 1]]),
            np.arange(2),
        )
        assert some.arm_means.tolist() == pytest.approx([0.75, -np.inf, 0.2])
        assert some.best_single == 0
        assert some.rows(np.array([1])).arm_means.tolist() == pytest.approx([0, -np.inf, 0.2])
