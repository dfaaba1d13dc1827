"""The frame of the benchmarks, and the end-to-end one on its small workloads."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import in_turn
from benchmarks.e2e import bench, vllm_engine
from benchmarks.e2e.workloads import Expansion, shape_of
from benchmarks.in_turn import Spread, time_in_turn
from search.errors import TreewardError


def test_alternatives_run_in_turn_and_are_compared_pair_by_pair() -> None:
    order: list[str] = []

    def runner(name: str, seconds: list[float]):
        def run() -> float:
            order.append(name)
            return seconds.pop(0)

        return run

    timing = time_in_turn(
        runner("ours", [99.0, 8.0, 1.0, 2.0, 4.0]),
        {"fast": runner("fast", [9.0, 2.0, 2.0, 2.0]), "slow": runner("slow", [40.0]), "no": None},
        pairs=3,
        slow=20.0,
    )
    assert order[:7] == ["ours", "ours", "fast", "slow", "ours", "fast", "ours"]
    assert timing.ours == Spread(2.0, 1.0, 4.0)
    assert timing.ratios["fast"] == Spread(1.0, 0.5, 2.0)
    assert timing.ratio_spread("fast") == [1.0, 0.5, 2.0]
    assert timing.ratio("no") is None
    assert timing.ratio_spread("no") is None
    assert timing.rounds == {"fast": 3, "slow": 1, "no": 0}
    # One run is compared with ours of its own round, and one round has no spread.
    assert timing.ratio("slow") == 40.0 / 8.0
    assert timing.ratio_spread("slow") is None


def test_an_alternative_that_has_every_round_is_never_cut_short() -> None:
    seconds = {name: iter([50.0, 30.0, 60.0]) for name in ("kept", "cut")}
    timing = time_in_turn(
        lambda: 10.0,
        {name: seconds[name].__next__ for name in seconds},
        pairs=2,
        slow=20.0,
        every_round=["kept"],
    )
    assert timing.rounds == {"kept": 2, "cut": 1}
    assert timing.ratios["kept"] == Spread(4.5, 3.0, 6.0)
    assert timing.ratio("cut") == 5.0


def test_the_shape_of_a_tree_groups_siblings_and_respects_parents() -> None:
    #     0 -> 1 2 3, 1 -> 4 5, 3 -> 6, 4 -> 7
    shape = shape_of([-1, 0, 0, 0, 1, 1, 3, 4], step_tokens=5, at_once=9)
    assert shape.waves == [
        [Expansion(0, 3)],
        [Expansion(1, 2), Expansion(3, 1)],
        [Expansion(4, 1)],
    ]
    assert shape.tokens == 35
    assert len(shape_of([-1, 0, 0, 0, 1, 1, 3, 4], 5, at_once=1).waves) == 4


def test_small_workloads_run_and_report(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(vllm_engine.VARIABLE, raising=False)
    monkeypatch.setattr(in_turn, "_told", set())
    rows = list(bench.run(pairs=1, quick=True, seed=0))
    assert "vLLM is not installed" in capsys.readouterr().err
    workloads = ["flat", "tree", "mcts", "tree_reward"]
    assert [(row["workload"], row["prompt"]) for row in rows] == [
        (workload, prompt) for workload in workloads for prompt in (32, 33)
    ]
    for row in rows:
        assert row["model"] == "bundled"
        assert row["tokens"] > 0
        assert row["tokens_per_second"] > 0
        for name in ("generate", "dynamic_cache"):
            if row["prompt"] == 32:
                assert row[f"ratio_{name}"] > 0
                assert row[f"{name}_rounds"] == 1
            else:
                assert row[f"ratio_{name}"] is None
                assert row[f"{name}_rounds"] == 0
            assert row[f"ratio_{name}_spread"] is None
        assert row["ratio_vllm"] is None
        assert row["vllm_rounds"] == 0
        assert row["vllm_computed_tokens"] is None
        assert row["ratio_vllm_last_token"] is None
        assert row["vllm_last_token_tokens_per_second"] is None
        assert 0 <= row["overhead_share"] < 1
        assert bench.line(row)
    pytest.importorskip("matplotlib")
    bench.plot(rows, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("python", "message"), [("/no/python", "cannot run /no/python"), ("/bin/false", "with code 1")]
)
def test_an_interpreter_without_vllm_is_named(
    monkeypatch: pytest.MonkeyPatch, python: str, message: str
) -> None:
    monkeypatch.setenv(vllm_engine.VARIABLE, python)
    with pytest.raises(TreewardError, match=message) as caught:
        vllm_engine.VllmEngine(
            Path("model"), Path("reward"), Path("last"), "bfloat16", 1, 64, compiled=False
        )
    assert vllm_engine.VARIABLE in str(caught.value)
