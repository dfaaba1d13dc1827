"""The page: complete, escaped, and without anything that is loaded."""

from __future__ import annotations

import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from prompt_oirl.errors import BadLog
from prompt_oirl.report.page import read_result, report_page, sha256_of

EVIL = "<script>alert('x')</script>"


class Tags(HTMLParser):
    """Collects the tags of a page and the addresses in them."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        for name, value in attrs:
            if name in ("src", "href", "xlink:href") and not (value or "").startswith("#"):
                self.addresses.append(value or "")


def results() -> tuple[dict, dict]:
    audit = {
        "log": EVIL,
        "queries": 12,
        "arms": 3,
        "cells": 36,
        "findings": [{"severity": "error", "check": "exact-duplicates", "sentence": f"1 {EVIL}"}],
    }
    row = {
        "log": EVIL,
        "protocol": "grouped",
        "value": 0.25,
        "best_single_train": 0.2,
        "gain": 0.05,
        "gain_ci95": [0.01, 0.09],
        "lookup": None,
        "oracle": 0.6,
        "auc": 0.61,
        "reliability": [[0.2, 0.25, 10], [0.7, 0.6, 4]],
        "curve": [{"candidates": n, "predicted": 0.2 + n / 9, "realised": 0.2} for n in (1, 2, 3)],
    }
    return audit, {"rows": [row], "verdict": "hold", "reason": f"because {EVIL}"}


def test_everything_is_there_and_nothing_is_loaded() -> None:
    audit, evaluation = results()
    page = report_page(audit, evaluation, {"default": EVIL}, {"seed": 3}, {EVIL: "ab12"})
    tags = Tags()
    tags.feed(page)
    assert "script" not in tags.seen
    assert tags.addresses == []
    assert not re.search(r"url\((?!#)", page)
    assert page.count("<svg") == 4
    assert "&lt;script&gt;" in page
    assert "+5.00 [+1.00, +9.00]" in page
    for word in ("exact-duplicates", "hold", "sha256 ab12", "0.61", "seed"):
        assert word in page
    assert page == report_page(audit, evaluation, {"default": EVIL}, {"seed": 3}, {EVIL: "ab12"})


def test_numbers_that_cannot_be_drawn_are_left_out() -> None:
    row = {"log": "a\ud83d", "protocol": "grouped", "gain": 0.1, "gain_ci95": [0.0, 0.2]}
    row |= {"value": float("inf"), "oracle": 10**400, "lookup": 1e308}
    row |= {"reliability": [[0.5, 0.5, 0]]}
    page = report_page(None, {"rows": [row]})
    assert "oracle" not in page
    assert "+10.00 [+0.00, +20.00]" in page
    with pytest.raises(BadLog, match="the evaluation: 'reliability' of row 1"):
        report_page(None, {"rows": [row | {"reliability": [[0.5, 0.5, 10**400]]}]})


def test_what_lacks_is_left_out() -> None:
    audit, evaluation = results()
    assert "<h2>Evaluation" not in report_page(audit)
    assert "<h2>Audit" not in report_page(None, evaluation)
    bare = report_page(None, {"rows": [{"log": "a", "gain": 0.1, "gain_ci95": [None, None]}]})
    assert "gain, points" not in bare
    assert "<html" in report_page()


def test_what_is_not_known_is_left_out() -> None:
    nan = float("nan")
    row = {"log": "few", "protocol": "grouped", "rows": 4, "value": nan, "random": 0.5}
    row |= {"gain": nan, "gain_ci95": [nan, nan], "auc": nan}
    page = report_page(evaluation={"rows": [row]})
    text = re.sub("<svg.*?</svg>|<style>.*?</style>", "", page, flags=re.DOTALL)
    assert "nan" not in text
    assert "queries" in text
    assert "0.5" in text


def test_files_are_hashed_and_read(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"rows": []}))
    assert sha256_of(path) == hashlib.sha256(path.read_bytes()).hexdigest()
    assert read_result(path, "evaluation") == {"rows": []}
    path.write_text("[1")
    with pytest.raises(BadLog, match="no JSON of an audit"):
        read_result(path, "audit")
    path.write_text("[1]")
    with pytest.raises(BadLog, match="no JSON object"):
        read_result(path, "audit")
    with pytest.raises(BadLog, match="cannot read"):
        sha256_of(tmp_path / "none")
