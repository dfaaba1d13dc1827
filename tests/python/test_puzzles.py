"""The puzzle suite: arithmetic, text format, puzzle sets and the training data."""

from __future__ import annotations

import os
import random
from fractions import Fraction
from itertools import chain, combinations
from pathlib import Path

import pytest

from search.evaluation.suites import load_suite
from search.puzzles.arithmetic import (
    Puzzle,
    Step,
    apply_step,
    check_solution,
    compute,
    parse_number,
    parse_step,
    partial_ok,
    puzzle_solvable,
    solvable,
    starting_values,
    successors,
    valid_steps,
)
from search.puzzles.countdown import (
    SolutionTable,
    is_game24,
    is_held_out,
    may_train_on,
    multisets,
)
from search.puzzles.format import (
    ALLOWED_VALUES,
    is_writable,
    parse_prompt,
    prompt_text,
    solution_lines,
    solution_text,
    step_text,
    words,
)
from search.puzzles.game24 import all_game24, read_24_csv

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("TREEWARD_DATA") or ROOT.parent / "shared/data")
CSV_PLACES = [DATA / "game24/24.csv"]

EXAMPLE = Puzzle((10, 4, 6, 5), 24)
EXAMPLE_LINES = ["10 - 4 = 6 left 5 6 6", "5 * 6 = 30 left 6 30", "30 - 6 = 24 left 24"]


@pytest.fixture(scope="module")
def table() -> SolutionTable:
    return SolutionTable(ALLOWED_VALUES)


@pytest.fixture(scope="module")
def game24() -> list[Puzzle]:
    return all_game24()


def reachable_by_expressions(numbers: list[Fraction]) -> set[Fraction]:
    """Every value of every expression over all the numbers, negatives allowed inside."""
    if len(numbers) == 1:
        return set(numbers)
    found = set()
    for size in range(1, len(numbers) // 2 + 1):
        for chosen in combinations(range(len(numbers)), size):
            one = [numbers[i] for i in chosen]
            other = [numbers[i] for i in range(len(numbers)) if i not in chosen]
            for a in reachable_by_expressions(one):
                for b in reachable_by_expressions(other):
                    found |= {a + b, a - b, b - a, a * b}
                    if b:
                        found.add(a / b)
                    if a:
                        found.add(b / a)
    return found


def random_solution(puzzle: Puzzle, generator: random.Random) -> list[Step]:
    values, target, steps = starting_values(puzzle.numbers), (puzzle.target, 1), []
    while len(values) > 1:
        step = generator.choice(valid_steps(values, target, ALLOWED_VALUES))
        steps.append(step)
        values = step.left
    return steps


def test_example_is_right() -> None:
    assert check_solution(EXAMPLE, EXAMPLE_LINES)
    for count in range(4):
        assert partial_ok(EXAMPLE, EXAMPLE_LINES[:count])
        assert check_solution(EXAMPLE, EXAMPLE_LINES[:count]) == (count == 3)


def test_puzzle_sorts_its_numbers_and_rejects_negatives() -> None:
    assert EXAMPLE.numbers == (4, 5, 6, 10)
    assert Puzzle((2, 1), 3) == Puzzle((1, 2), 3)
    for numbers, target in (((), 1), ((-1, 2), 1), ((1, 2), -3)):
        with pytest.raises(ValueError, match=r"puzzle needs|negative"):
            Puzzle(numbers, target)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("10 - 4 = 7 left 5 6 7", "a wrong result"),
        ("10 - 4 = 6 left 5 6", "a number lost"),
        ("10 - 4 = 6 left 5 6 6 6", "a number too many"),
        ("10 - 4 = 6 left 5 5 6", "a wrong number left"),
        ("4 - 10 = 6 left 5 6 6", "a negative result"),
        ("10 - 3 = 7 left 5 6 7", "a number that is not there"),
        ("5 + 5 = 10 left 4 6 10", "a number used twice"),
        ("10 - 4 = 6", "no left list"),
        ("10 - 4 = 6 left", "an empty left list"),
        (" 10 - 4 = 6 left 5 6 6", "a space in front"),
        ("10 - 4 = 6 left 5 6 6\n", "a line end"),
        ("10  - 4 = 6 left 5 6 6", "two spaces"),
        ("10-4 = 6 left 5 6 6", "no spaces"),
        ("10 - 04 = 6 left 5 6 6", "a leading zero"),
        ("10 - 4 = 6/1 left 5 6 6", "a denominator of one"),
        ("10 - 4 = 12/2 left 5 6 6", "not lowest terms"),
        ("10 - 4 = 6 left 5 6 ٦", "a digit that is not ASCII"),
        ("10 ^ 4 = 6 left 5 6 6", "an unknown operator"),
        ("", "an empty line"),
    ],
)
def test_wrong_steps_are_rejected(line: str, why: str) -> None:
    assert not partial_ok(EXAMPLE, [line]), why
    assert not check_solution(EXAMPLE, [line, *EXAMPLE_LINES[1:]]), why


def test_only_arithmetic_counts_for_the_checker() -> None:
    assert partial_ok(EXAMPLE, ["6 * 5 = 30 left 30 10 4"])
    assert not check_solution(EXAMPLE, [*EXAMPLE_LINES, "24 + 0 = 24 left 24"])
    assert not check_solution(Puzzle((4, 5, 6, 10), 25), EXAMPLE_LINES)


def test_division_by_zero_and_below_zero_are_not_allowed() -> None:
    assert compute((3, 1), "/", (0, 1)) is None
    assert compute((3, 1), "-", (4, 1)) is None
    assert compute((0, 1), "/", (3, 1)) == (0, 1)
    with pytest.raises(ValueError, match="not one of"):
        compute((1, 1), "^", (1, 1))
    assert all(step.operator != "/" for step in successors(((0, 1), (0, 1))))


def test_fraction_solution() -> None:
    lines = ["8 / 3 = 8/3 left 8/3 3 8", "3 - 8/3 = 1/3 left 1/3 8", "8 / 1/3 = 24 left 24"]
    assert check_solution(Puzzle((3, 3, 8, 8), 24), lines)
    assert parse_number("8/3") == (8, 3)
    for text in ("6/4", "8/1", "8/0", "-8", "+8", "08", "", "8/", "/3", "8 /3"):
        with pytest.raises(ValueError, match="is not a"):
            parse_number(text)


def test_solver_agrees_with_all_expressions() -> None:
    generator = random.Random(5)
    for _ in range(60):
        numbers = tuple(generator.randint(1, 13) for _ in range(4))
        reached = reachable_by_expressions([Fraction(number) for number in numbers])
        for target in generator.sample(range(1, 101), 12):
            assert puzzle_solvable(Puzzle(numbers, target)) == (target in reached)


def test_valid_steps_are_distinct_right_and_complete() -> None:
    values, target = starting_values(EXAMPLE.numbers), (24, 1)
    every, valid = successors(values), valid_steps(values, target)
    texts = [step_text(step) for step in every]
    assert len(set(texts)) == len(texts)
    assert EXAMPLE_LINES[0] in [step_text(step) for step in valid]
    for step in every:
        assert apply_step(values, step) == step.left
        assert parse_step(step_text(step)) == step
        assert solvable(step.left, target) == (step in valid)


def test_equal_numbers_do_not_repeat_steps() -> None:
    assert [step_text(step) for step in successors(starting_values((2, 2)))] == [
        "2 + 2 = 4 left 4",
        "2 - 2 = 0 left 0",
        "2 * 2 = 4 left 4",
        "2 / 2 = 1 left 1",
    ]


def test_prompt_round_trip() -> None:
    assert prompt_text(EXAMPLE) == "4 5 6 10 -> 24\n"
    assert parse_prompt("4 5 6 10 -> 24\n") == EXAMPLE
    for text in ("4 5 6 10 -> 24", "4 5 10 6 -> 24\n", "4  5 -> 24\n", "-> 24\n", "4 -> -1\n"):
        with pytest.raises(ValueError, match="prompt"):
            parse_prompt(text)


def test_solution_text_and_lines() -> None:
    text = solution_text(parse_step(line) for line in EXAMPLE_LINES)
    assert text == "\n".join(EXAMPLE_LINES)
    assert solution_lines(text) == EXAMPLE_LINES
    assert solution_lines(EXAMPLE_LINES[0] + "\n") == EXAMPLE_LINES[:1]
    assert solution_lines("") == []


def test_all_1362_games_are_writable(game24: list[Puzzle], table: SolutionTable) -> None:
    assert len(game24) == 1362
    assert game24 == sorted(set(game24), key=lambda puzzle: puzzle.numbers)
    assert all(is_game24(puzzle) for puzzle in game24)
    assert all(24 in table.targets(puzzle.numbers) for puzzle in game24)
    assert is_writable([(256, 1), (8, 3)])
    assert not is_writable([(257, 1)])


def test_random_solutions_of_games_are_right(game24: list[Puzzle]) -> None:
    generator = random.Random(7)
    known = set(words())
    for puzzle in [Puzzle((3, 3, 8, 8), 24), *generator.sample(game24, 60)]:
        text = solution_text(random_solution(puzzle, generator))
        assert check_solution(puzzle, solution_lines(text))
        assert known.issuperset(text.replace("\n", " ").split(" "))


def test_table_agrees_with_the_exact_solver(table: SolutionTable) -> None:
    generator = random.Random(11)
    for numbers in generator.sample(list(multisets(25)), 15):
        targets = set(table.targets(numbers))
        values, indices = starting_values(numbers), table.indices(numbers)
        for target in generator.sample(range(1, 101), 10):
            assert (target in targets) == solvable(values, (target, 1), ALLOWED_VALUES)
            of_table = {table.step(entry) for entry in table.valid_steps(indices, target)}
            assert of_table == set(valid_steps(values, (target, 1), ALLOWED_VALUES))


def test_held_out_split_is_stable_and_small() -> None:
    puzzles = [Puzzle(numbers, t) for numbers in multisets(8) for t in range(1, 101)]
    share = sum(map(is_held_out, puzzles)) / len(puzzles)
    assert 0.015 < share < 0.025
    assert is_held_out(Puzzle((8, 8, 8, 8), 7))
    assert not is_held_out(EXAMPLE)
    assert not may_train_on(Puzzle((8, 8, 8, 8), 7))
    assert not may_train_on(EXAMPLE)
    assert may_train_on(Puzzle((4, 5, 6, 14), 24)) != is_held_out(Puzzle((4, 5, 6, 14), 24))


def test_csv_ranks(game24: list[Puzzle]) -> None:
    path = next((place for place in CSV_PLACES if place.exists()), None)
    if path is None:
        pytest.skip("the Game of 24 CSV file is not on this machine")
    assert len(read_24_csv(path)) == 100
    assert sorted(read_24_csv(path, (1, 1362)), key=lambda puzzle: puzzle.numbers) == game24
    with pytest.raises(ValueError, match="without the rank 1363"):
        read_24_csv(path, (1362, 1363))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("Rank,Numbers\n1,1 1 4 6\n", "line 1: there is no column 'Puzzles'"),
        ("", "line 1: there is no column 'Rank'"),
        ("Rank,Puzzles\nx,1 1 4 6\n", "line 2: the rank 'x' is not an integer"),
        ("Rank,Puzzles\n1\n", "line 2: '' is not four whole numbers"),
        ("Rank,Puzzles\n1,1 1 4\n", "line 2: '1 1 4' is not four whole numbers"),
        ("Rank,Puzzles\n1,1 1 4 -6\n", "line 2: '1 1 4 -6' is not four whole numbers"),
        ("Rank,Puzzles\n1,1 1 4 14\n", "line 2: '1 1 4 14' has a number outside 1 to 13"),
        ("Rank,Puzzles\n1,1 1 4 6\n1,1 1 4 6\n", "line 3: the rank 1 is there twice"),
        ("Rank,Puzzles\n1,1 1 4 6\n", "line 2: the file ends without the rank 2"),
        ('Rank,Puzzles\n1,1 1 4 6\n2,"1 1 4 8\n3,1 2 3 4\n', "after line 2: not CSV"),
    ],
)
def test_csv_errors_name_file_and_line(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "some.csv"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=r"some\.csv") as caught:
        read_24_csv(path, (1, 2))
    assert message in str(caught.value)


def test_csv_with_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "some.csv"
    path.write_text("Rank,Puzzles\n1,1 1 4 6\n", encoding="utf-8-sig")
    assert [puzzle.numbers for puzzle in read_24_csv(path, (1, 1))] == [(1, 1, 4, 6)]
    assert len(load_suite("game24", path, None, None)) == 1


def test_csv_that_is_not_text_and_wrong_rows(tmp_path: Path) -> None:
    path = tmp_path / "some.csv"
    path.write_bytes(b"Rank,Puzzles\n1,\xff\xfe\n")
    with pytest.raises(ValueError, match="not UTF-8"):
        read_24_csv(path, (1, 1))
    with pytest.raises(ValueError, match="not a range"):
        read_24_csv(path, (2, 1))


def test_tokenizer_round_trip(tmp_path: Path, game24: list[Puzzle]) -> None:
    transformers = pytest.importorskip("transformers")
    from training.puzzles.build_tokenizer import build_tokenizer, token_ids

    build_tokenizer().save_pretrained(tmp_path)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert tokenizer.is_fast
    assert len(tokenizer) == len(token_ids())
    prompt, text = prompt_text(EXAMPLE), "\n".join(EXAMPLE_LINES)
    ids = tokenizer(prompt + text)["input_ids"]
    assert ids[0] == tokenizer.bos_token_id
    assert tokenizer.bos_token_id not in ids[1:]
    assert len(ids) == 34
    assert tokenizer.decode(ids, skip_special_tokens=True) == prompt + text
    pieces = [prompt, *(line + "\n" for line in EXAMPLE_LINES[:2]), EXAMPLE_LINES[2]]
    split = [tokenizer(piece, add_special_tokens=False)["input_ids"] for piece in pieces]
    assert list(chain.from_iterable(split)) == ids[1:]
    assert [tokenizer.decode(some) for some in split] == pieces
    every = list(range(len(tokenizer)))
    generator = random.Random(3)
    for _ in range(20):
        some = generator.sample([i for i in every if i != tokenizer.unk_token_id], 50)
        again = tokenizer(tokenizer.decode(some), add_special_tokens=False)["input_ids"]
        assert again == some
    assert tokenizer.unk_token_id in tokenizer("257")["input_ids"]


def test_training_rows_are_right_and_clean() -> None:
    np = pytest.importorskip("numpy")
    pytest.importorskip("tokenizers")
    from training.puzzles.build_tokenizer import build_tokenizer, token_ids
    from training.puzzles.make_data import STEP_STARTS, RowMaker, check_rows

    tokenizer, maker = build_tokenizer(), RowMaker(seed=1)
    generator = random.Random(2)
    rows = []
    for numbers in generator.sample(list(multisets(25)), 40):
        for target in generator.sample(maker.table.targets(numbers), 5):
            puzzle = Puzzle(numbers, target)
            if not may_train_on(puzzle):
                continue
            tokens, counts = maker.row(puzzle)
            rows.append(tokens)
            text = tokenizer.decode(tokens, skip_special_tokens=True)
            prompt, _, solution = text.partition("\n")
            assert parse_prompt(prompt + "\n") == puzzle
            assert check_solution(puzzle, solution_lines(solution))
            places = [start + word for start in STEP_STARTS for word in range(3)]
            for place, choices in zip(places, counts, strict=True):
                assert tokens[place] in dict(choices)
    check_rows(np.asarray(rows))
    ids = token_ids()
    for text in ("4 5 6 10 -> 24\n", "8 8 8 8 -> 7\n"):
        row = tokenizer(text)["input_ids"] + [ids["</s>"]] * 27
        with pytest.raises(AssertionError):
            check_rows(np.asarray([row]))


def test_bundled_policy_loads() -> None:
    transformers = pytest.importorskip("transformers")
    folder = ROOT / "search/bundled/countdown-policy"
    if not (folder / "model.safetensors").exists():
        pytest.skip("the bundled policy is not in this checkout")
    from training.puzzles.build_tokenizer import token_ids

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    assert tokenizer.get_vocab() == token_ids()
    assert model.config.vocab_size == len(token_ids())
    assert model.config.eos_token_id == tokenizer.eos_token_id
    assert model.num_parameters() <= 6_000_000
