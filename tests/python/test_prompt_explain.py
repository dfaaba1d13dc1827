"""Why a prompt was chosen: exact contributions of linear models, reasons, similar queries."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from test_prompt_drift import asked, fitted

from prompt_oirl.choice.selector import Selector
from prompt_oirl.errors import BadLog
from prompt_oirl.logs.log import PromptLog
from prompt_oirl.operation.explain import contributions, explain, similar_queries


@pytest.fixture(scope="module")
def made() -> tuple[PromptLog, Selector]:
    return fitted()


def test_contributions_of_a_linear_model_are_its_terms(made: tuple[PromptLog, Selector]) -> None:
    _, selector = made
    text = "How many 17 cats and 4 dogs are left?"
    x = selector.features.transform([text])[0]
    coefficients = np.mean([m.models[0].coefficients for m in selector.members], axis=0)
    default = selector.rule.default
    arm = 1 - default
    terms = (coefficients[arm] - coefficients[default]) * x
    found = {one.feature: one.contribution for one in contributions(selector, text, arm)}
    names = selector.features.names
    for column, name in enumerate(names):
        if not name.startswith("text direction"):
            assert found[name] == pytest.approx(terms[column], abs=1e-10)
    wording = [i for i, name in enumerate(names) if name.startswith("text direction")]
    assert found["wording"] == pytest.approx(terms[wording].sum(), abs=1e-10)
    sizes = [abs(one.contribution) for one in contributions(selector, text, arm)]
    assert sizes == sorted(sizes, reverse=True)


def test_the_reason_names_margin_and_rival(made: tuple[PromptLog, Selector]) -> None:
    log, selector = made
    never = replace(selector, rule=replace(selector.rule, margin=np.inf))
    found = explain(never, log.texts[0])
    assert found.fell_back
    assert "always taken" in found.reason
    assert found.margin is None
    always = explain(replace(selector, rule=replace(selector.rule, margin=-1.0)), log.texts[0])
    rarely = explain(replace(selector, rule=replace(selector.rule, margin=0.9)), log.texts[0])
    assert "does not exceed the margin of 90 points" in rarely.reason
    assert rarely.explained != rarely.default
    assert always.margin == -1.0
    with pytest.raises(BadLog, match="empty"):
        explain(selector, " ")


def test_the_nearest_logged_query_is_the_query_itself(made: tuple[PromptLog, Selector]) -> None:
    log, selector = made
    near = similar_queries(selector, log.texts[7], log, 3)
    assert near[0].text == log.texts[7]
    assert near[0].distance == pytest.approx(0, abs=1e-9)
    assert near[0].outcomes == {"long": log.grid()[7, 0], "short": log.grid()[7, 1]}
    assert [one.distance for one in near] == sorted(one.distance for one in near)
    assert len(asked(5, 0)) == 5
