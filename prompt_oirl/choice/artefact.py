"""A selector of prompts on disk (:mod:`prompt_oirl.array_folder`).

selector.json     arms, settings, rule, facts of the log
arrays.npz        numbers and strings of features and members
"""

from __future__ import annotations

import warnings
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from prompt_oirl.array_folder import (
    Arrays,
    FolderFormat,
    damaged,
    read_folder,
    under,
    write_folder,
)
from prompt_oirl.choice.baseline import Baseline
from prompt_oirl.choice.memory import Memory
from prompt_oirl.choice.rule import KINDS, Rule
from prompt_oirl.choice.unseen_prompts import UnseenPrompts
from prompt_oirl.errors import BadArtefact
from prompt_oirl.features import QueryFeatures
from prompt_oirl.features.query_features import Vectors
from prompt_oirl.logs.log import Arm
from prompt_oirl.models import MODELS
from prompt_oirl.models.blend import Blend

if TYPE_CHECKING:
    from prompt_oirl.choice.selector import Selector

KIND = FolderFormat(
    name="treeward-prompt-selector",
    version=3,
    what="selector of prompts",
    fields=frozenset({"arms", "settings", "rule", "vectors", "members", "about"}),
    others={
        "treeward-response-selector": "a selector of responses, "
        "which 'treeward prompt responses select' reads"
    },
)
ENCODER = "encoder:"


def save_selector(selector: Selector, folder: str | Path) -> None:
    """Writes a selector into a folder, which is made where needed.

    Raises:
        BadArtefact: the folder cannot be written.
    """
    arrays = {f"features/{key}": array for key, array in selector.features.arrays().items()}
    for number, member in enumerate(selector.members):
        arrays |= {f"member{number}/{key}": array for key, array in member.arrays().items()}
    rule = asdict(selector.rule)
    arrays["rule/spread"] = rule.pop("spread")
    memory = selector.memory
    arrays |= {"memory/key": memory.key, "memory/total": memory.total, "memory/count": memory.count}
    arrays |= {"memory/prior": np.array(memory.prior)}
    arrays |= {"means": selector.means, "costs": selector.costs}
    arrays |= {"trust": np.array(selector.trust)}
    if selector.unseen is not None:
        arrays |= {f"unseen/{key}": array for key, array in selector.unseen.arrays().items()}
    if selector.baseline is not None:
        arrays |= {f"baseline/{key}": a for key, a in selector.baseline.arrays().items()}
    head = {
        "arms": [asdict(arm) for arm in selector.arms],
        "settings": asdict(selector.settings),
        "rule": rule | {"margin": None if np.isinf(rule["margin"]) else rule["margin"]},
        "vectors": source_of(selector.features.vectors),
        "members": len(selector.members),
        "about": selector.about,
        **({"unseen": selector.unseen.facts()} if selector.unseen is not None else {}),
    }
    write_folder(folder, KIND, head, arrays)


def load_selector(folder: str | Path, vectors: Vectors | None = None) -> Selector:
    """Reads a selector.

    Args:
        folder: written by :func:`save_selector`.
        vectors: what gave it vectors of texts when it was fitted, if anything did. Where their
            source has another name, a warning says so: it may be a file of new queries, or another
            encoder.

    Raises:
        BadArtefact: files are missing, damaged, or of another version.
    """
    from prompt_oirl.choice.selector import Selector, Settings

    head, arrays = read_folder(folder, KIND)
    source = str(head["vectors"])
    if source.startswith(ENCODER) and vectors is None:
        from prompt_oirl.features.encoder import Encoder

        vectors = Encoder(source.removeprefix(ENCODER))
    if source and vectors is None:
        raise BadArtefact(f"{folder}: the selector was fitted with vectors of texts; give them")
    given = source_of(vectors)
    if source and source != given:
        warnings.warn(
            f"{folder}: the selector was fitted with vectors of '{source}', and those given are of "
            f"'{given}'; they must be made in the same way",
            stacklevel=3,
        )
    try:
        settings = Settings(**{k: _tuple(v) for k, v in head["settings"].items()})
        unknown = set(settings.models) - set(MODELS)
        if unknown:
            raise BadArtefact(f"{folder}: unknown model '{min(unknown)}'")
        rule = head["rule"] | {"spread": arrays["rule/spread"]}
        rule["margin"] = np.inf if rule["margin"] is None else rule["margin"]
        members = tuple(
            Blend.from_arrays(settings.models, under(arrays, f"member{number}/"))
            for number in range(head["members"])
        )
        selector = Selector(
            tuple(Arm(**arm) for arm in head["arms"]),
            QueryFeatures.from_arrays(under(arrays, "features/"), vectors),
            members,
            Rule(**rule),
            settings,
            Memory(
                arrays["memory/key"],
                arrays["memory/total"],
                arrays["memory/count"],
                float(arrays["memory/prior"]),
            ),
            arrays["means"],
            float(arrays["trust"]),
            arrays["costs"],
            head["about"],
            UnseenPrompts.from_arrays(under(arrays, "unseen/"), head["unseen"])
            if "unseen" in head
            else None,
            _baseline(under(arrays, "baseline/")),
        )
        _check(selector)
        return selector
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, BadArtefact):
            raise
        raise damaged(folder, KIND, error) from error


def source_of(vectors: Vectors | None) -> str:
    """The name of what gives vectors of texts: ``file:…``, ``encoder:…`` or ``given``; or empty."""
    return "" if vectors is None else getattr(vectors, "source", "given")


def _baseline(arrays: Arrays) -> Baseline | None:
    return Baseline.from_arrays(arrays) if arrays else None  # older selectors have none


def _check(selector: Selector) -> None:
    size = len(selector.arms)
    vectors = (selector.rule.spread, selector.means, selector.costs)
    if any(array.shape != (size,) for array in vectors) or not selector.members:
        raise ValueError(f"parts do not fit {size} prompts")
    if selector.rule.default not in range(size) or selector.rule.kind not in KINDS:
        raise ValueError("the rule names what does not exist")
    if not (selector.rule.margin >= 0 and 0 <= selector.rule.z < np.inf):
        raise ValueError("the margin or z of the rule is not a number from 0")
    names = {arm.name for arm in selector.arms if isinstance(arm.name, str)}
    if len(names) != size or not isinstance(selector.about, dict):
        raise ValueError("arms do not have names of their own, or there are no facts of the log")
    if selector.baseline is not None and selector.baseline.errors.mean.shape != (size,):
        raise ValueError(f"the errors of its predictions do not fit {size} prompts")
    if selector.unseen is not None and len(selector.unseen.logged) != size:
        raise ValueError(f"what is known of new prompts does not fit {size} prompts")


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
