"""Models of what outcome each prompt has on a query; their names are those of the command line."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from prompt_oirl.errors import BadLog

# Name on the command line: module and class. Imported when used, since some need large libraries.
MODELS: dict[str, tuple[str, str]] = {
    "logistic": ("linear", "PerArmLogistic"),
    "interaction": ("linear", "Interaction"),
    "boosting": ("boosting", "PerArmBoosting"),
    "advantage": ("boosting", "AdvantageBoosting"),
    "neighbours": ("neighbours", "Neighbours"),
    "low_rank": ("low_rank", "LowRank"),
    "perceptron": ("perceptron", "Perceptron"),
}
DEFAULT = ("advantage", "interaction", "neighbours")


def model_class(name: str) -> Any:
    """The class of a model.

    Raises:
        BadLog: there is no such model.
    """
    if name not in MODELS:
        raise BadLog(f"unknown model '{name}'; known: {', '.join(MODELS)}")
    module, kind = MODELS[name]
    return getattr(import_module(f"prompt_oirl.models.{module}"), kind)
