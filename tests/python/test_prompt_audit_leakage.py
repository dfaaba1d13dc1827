"""Audit of a log: repeated, nearly repeated and grouped queries across splits."""

from __future__ import annotations

import resource
import time
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prompt_oirl.audit import AuditReport, audit, merged_groups
from prompt_oirl.audit.near_duplicates import nearest
from prompt_oirl.audit.normalise import normalised, template
from prompt_oirl.audit.similarity import similar_pairs
from prompt_oirl.audit.splits import later_splits, ordered_splits
from prompt_oirl.logs import Arm, PromptLog, Query

LONG = "A train travels {} miles in {} hours and stops for lunch. How far does it go in a day?"


def log_of(
    texts: Sequence[str], splits: Sequence[str], groups: Sequence[str] | None = None
) -> PromptLog:
    """Two arms with alternating outcomes; each query in a group of its own unless told."""
    groups = groups or [f"g{i}" for i in range(len(texts))]
    queries = [Query(f"q{i}", *row) for i, row in enumerate(zip(texts, groups, splits))]
    outcomes = np.indices((len(texts), 2)).sum(axis=0) % 2
    return PromptLog.from_grid("made", queries, [Arm("a", "x"), Arm("b", "y")], outcomes * 1.0)


def leaking(report: AuditReport, check: str) -> int:
    return sum(found.counts["leaking"] for found in report.named(check))


class TestTexts:
    """What makes two texts the same."""

    @pytest.mark.parametrize(
        ("first", "second"),
        [
            ("Tom has 3 apples.", "  tom HAS 3\tapples ."),
            ("Tom’s “best”", 'Tom\'s "best"'),
            ("ﬁve", "five"),
        ],
    )
    def test_same(self, first: str, second: str) -> None:
        assert normalised(first) == normalised(second)

    @pytest.mark.parametrize(
        ("first", "second"), [("5 - 3", "5 + 3"), ("x = 3.0", "x = 30"), ("-5", "5")]
    )
    def test_different(self, first: str, second: str) -> None:
        assert normalised(first) != normalised(second)

    def test_template(self) -> None:
        assert template("pay $1,200.50 for 3 or 3.0") == ("pay $# for # or #", (1200.5, 3.0, 3.0))
        assert template("no numbers") == ("no numbers", ())

    def test_numbers_at_the_end_of_a_sentence(self) -> None:
        assert template("it has 5. and 6,7") == ("it has #. and #,#", (5.0, 6.0, 7.0))


class TestSplits:
    """The order of splits by name and size."""

    def test_order(self) -> None:
        splits = ["test", "a", "b", "b", "dev", "Train", ""]
        log = log_of([str(i) for i in range(7)], splits)
        assert ordered_splits(log) == ["Train", "dev", "b", "a", "test"]
        found = later_splits(log)
        assert [name for name, _, _ in found] == ["dev", "b", "a", "test"]
        assert found[-1] == ("test", [0], [5, 4, 2, 3, 1])


class TestExact:
    """Texts and groups on both sides."""

    def test_counts(self) -> None:
        log = log_of(
            ["One apple?", "Two pears?", "one APPLE ?", "Three plums?", "Four figs?"],
            ["train", "train", "test", "test", "test"],
            ["g0", "g1", "g2", "g1", "g3"],
        )
        report = audit(log)
        assert leaking(report, "exact-duplicates") == 1
        assert leaking(report, "shared-groups") == 1
        assert [(leak.split, leak.leaking, leak.queries) for leak in report.leaks] == [
            ("test", 2, 3)
        ]
        assert report.fails()
        assert not report.fails(allow_leakage=True)

    def test_validation_leaks_into_test(self) -> None:
        report = audit(log_of(["alpha", "beta", "beta"], ["train", "validation", "test"]))
        assert [leak.leaking for leak in report.leaks] == [0, 1]

    def test_clean(self) -> None:
        report = audit(log_of(["alpha", "beta", "gamma", "delta"], ["train", "train", "test", ""]))
        assert not report.fails()
        assert report.leaks[0].share == 0

    def test_repeats_inside_a_split_are_no_leak(self) -> None:
        report = audit(log_of(["alpha", "alpha", "beta"], ["train", "train", "test"]))
        assert not report.fails()
        assert report.named("repeated-queries")[0].counts["repeated"] == 2
        assert report.named("ungrouped-duplicates")[0].counts["concerned"] == 2

    def test_missing_texts_do_not_match(self) -> None:
        report = audit(log_of(["", "", "beta"], ["train", "test", "test"]))
        assert leaking(report, "exact-duplicates") == 0

    @given(
        st.lists(
            st.tuples(st.sampled_from("abcdefgh"), st.sampled_from(["train", "test"])),
            min_size=2,
            max_size=20,
        )
    )
    @settings(max_examples=50, deadline=None)
    def test_agrees_with_a_double_loop(self, rows: list[tuple[str, str]]) -> None:
        report = audit(log_of([text for text, _ in rows], [split for _, split in rows]))
        expected = sum(
            split == "test" and any(other == (text, "train") for other in rows)
            for text, split in rows
        )
        if {split for _, split in rows} == {"train", "test"}:
            assert leaking(report, "exact-duplicates") == expected
        assert report.fails() == (expected > 0)


class TestNear:
    """Wordings that are nearly the same."""

    def test_kinds(self) -> None:
        texts = [
            LONG.format(60, 2),
            "Something else entirely, with 7 words in it.",
            LONG.format(60, 2).replace("A train", "One train"),  # near, same numbers
            LONG.format(60, 2).replace("60", "60.0"),  # the same number, written otherwise
            LONG.format(90, 4),  # the template
            LONG.format(2, 60),  # the numbers swapped: the template
            "How many oranges are in a box of 12?",  # new
        ]
        near = nearest(texts, [2, 3, 4, 5, 6], [0, 1], 0.9)
        assert near.same_numbers == [(2, 0), (3, 0)]
        assert near.other_numbers == [(4, 0), (5, 0)]

    def test_exact_ones_are_not_told_again(self) -> None:
        near = nearest([LONG.format(1, 2), LONG.format(1, 2)], [1], [0], 0.9)
        assert near.same_numbers == []
        assert near.other_numbers == []

    @pytest.mark.parametrize(("others", "severity"), [(300, "warning"), (20, "error")])
    def test_severity(self, others: int, severity: str) -> None:
        new = [
            "".join(chr(97 + (i * k) % 26) for k in range(1, 30)) + str(i) for i in range(others)
        ]
        texts = [LONG.format(60, 2), LONG.format(60, 2).replace("A train", "One train"), *new]
        report = audit(log_of(texts, ["train"] + ["test"] * (others + 1)))
        found = report.named("near-duplicates")
        assert [(one.severity, one.counts["leaking"]) for one in found] == [(severity, 1)]
        assert report.fails() == (severity == "error")

    def test_templates_do_not_fail(self) -> None:
        texts = [LONG.format(i, i + 1) for i in range(20)]
        report = audit(log_of(texts, ["train"] * 10 + ["test"] * 10))
        assert leaking(report, "same-template") == 10
        assert report.named("same-template")[0].severity == "warning"
        assert not report.fails()
        assert report.leaks[0].leaking == 0

    @pytest.mark.parametrize("threshold", [0.0, -1.0, 1.5, float("nan")])
    def test_bad_threshold(self, threshold: float) -> None:
        with pytest.raises(ValueError, match="threshold"):
            audit(log_of(["a", "b"], ["train", "test"]), near_threshold=threshold)


class TestNearGroups:
    """Near duplicates that a split by group does not keep together."""

    texts = (
        LONG.format(60, 2),
        LONG.format(60, 2).replace("A train", "One train"),  # near
        LONG.format("60.0", 2),  # near: the number is written otherwise
        LONG.format(90, 4),  # only the template
        "How many oranges are in a box of 12?",
        "how many ORANGES are in a box of 12 ?",  # the same text
    )

    def test_counts(self) -> None:
        (found,) = audit(log_of(self.texts, [""] * 6)).named("near-groups")
        assert found.queries == (0, 1, 2)
        assert found.severity == "warning"

    def test_one_group_is_fine(self) -> None:
        log = log_of(self.texts, [""] * 6, ["g", "g", "g", "h", "i", "i"])
        assert audit(log).named("near-groups") == ()

    def test_merged(self) -> None:
        groups = merged_groups(log_of(self.texts, [""] * 6))
        assert groups[0] == groups[1] == groups[2]
        assert groups[4] == groups[5]
        assert len(set(groups.tolist())) == 3

    def test_groups_of_the_log_stay_together(self) -> None:
        groups = merged_groups(log_of(self.texts, [""] * 6, ["g", "h", "i", "j", "j", "k"]))
        assert groups[3] == groups[4] == groups[5] != groups[0]

    def test_no_queries(self) -> None:
        assert len(merged_groups(log_of([], []))) == 0


def reference_pairs(left: list[str], right: list[str], threshold: float) -> dict:
    """All cosines by scikit-learn."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    padded = [f" {text} ".ljust(4) for text in [*left, *right]]
    vectors = TfidfVectorizer(
        analyzer=lambda text: [text[i : i + 4] for i in range(len(text) - 3)], sublinear_tf=True
    ).fit_transform(padded)
    cosines = (vectors[: len(left)] @ vectors[len(left) :].T).toarray()
    return {(i, j): cosines[i, j] for i, j in np.argwhere(cosines >= threshold).tolist()}


class TestSimilarity:
    """The filter of pairs loses none."""

    @given(st.integers(0, 10_000), st.sampled_from([0.3, 0.6, 0.9]))
    @settings(max_examples=25, deadline=None)
    def test_agrees_with_all_pairs(self, seed: int, threshold: float) -> None:
        generator = np.random.default_rng(seed)
        words = ["tom", "ann", "has", "eats", "red", "apples", "pears", "and", "é", "many", "日本"]

        def made() -> str:
            return " ".join(generator.choice(words, generator.integers(0, 12)))

        left, right = [made() for _ in range(30)], [made() for _ in range(40)]
        expected = reference_pairs(left, right, threshold)
        found = {
            (int(i), int(j)): float(cosine)
            for rows, columns, cosines in similar_pairs(left, right, threshold)
            for i, j, cosine in zip(rows, columns, cosines)
        }
        unsure = 1e-5
        assert {p for p, c in expected.items() if c > threshold + unsure} <= set(found)
        assert all(
            expected.get(p, 0) > threshold - unsure or c < threshold + unsure
            for p, c in found.items()
        )
        for pair, cosine in found.items():
            assert cosine == pytest.approx(expected.get(pair, cosine), abs=1e-4)

    def test_nothing_to_compare(self) -> None:
        assert list(similar_pairs([], ["a"], 0.9)) == []
        assert list(similar_pairs(["a"], [], 0.9)) == []

    def test_twenty_thousand_by_five_thousand(self) -> None:
        generator = np.random.default_rng(0)
        letters = list("eeeeaaattooiinnsshrdlucmfwypvbgkxjqz")
        words = ["".join(generator.choice(letters, 2 + i % 7)) for i in range(20_000)]
        chance = 1 / np.arange(1, 20_001)
        drawn = generator.choice(20_000, (25_000, 40), p=chance / chance.sum())
        texts = [" ".join(words[k] for k in row) for row in drawn]
        for i in range(100):
            texts[20_000 + i] = f"{texts[i]} {words[0]}"
        start = time.perf_counter()
        near = nearest(texts, list(range(20_000, 25_000)), list(range(20_000)), 0.9)
        assert near.same_numbers == [(20_000 + i, i) for i in range(100)]
        assert time.perf_counter() - start < 20
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 4 * 1024 * 1024  # kB

    def test_few_letters_take_no_longer(self) -> None:
        generator = np.random.default_rng(0)
        texts = ["".join(row) for row in generator.choice(list("acgt "), (12_000, 300))]
        start = time.perf_counter()
        assert nearest(texts, list(range(3000)), list(range(3000, 12_000)), 0.95).same_numbers == []
        assert time.perf_counter() - start < 20

    def test_one_template_for_all(self) -> None:
        names = [f"{a}{b}" for a in "bcdfghjklm" for b in ("ob", "ann", "im", "ella", "oris")]
        texts = [
            LONG.format(i, i + 1).replace("train", names[i % 50] + names[i // 50 % 50])
            for i in range(6000)
        ]
        start = time.perf_counter()
        near = nearest(texts, list(range(5000, 6000)), list(range(5000)), 0.8)
        assert len(near.same_numbers) + len(near.other_numbers) > 900
        assert time.perf_counter() - start < 20
