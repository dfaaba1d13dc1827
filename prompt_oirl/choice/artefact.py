"""A selector on disk: a folder with two files, neither of which can hold code.

selector.json     format, version, arms, settings, rule, facts of the log, checksum of the arrays
arrays.npz        numbers and strings of features and members, as NumPy arrays without objects
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

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

FORMAT = "treeward-prompt-selector"
VERSION = 1
ENCODER = "encoder:"
HEAD, ARRAYS = "selector.json", "arrays.npz"


def save_selector(selector: Selector, folder: str | Path) -> None:
    """Writes a selector into a folder, which is made where needed."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
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
    # The head names the arrays by their checksum and is written last: a folder whose writing was
    # interrupted is not taken for a whole one.
    temporary = folder / f"{ARRAYS}.part"
    with temporary.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
    head = {
        "format": FORMAT,
        "version": VERSION,
        "arms": [asdict(arm) for arm in selector.arms],
        "settings": asdict(selector.settings),
        "rule": rule | {"margin": None if np.isinf(rule["margin"]) else rule["margin"]},
        "vectors": getattr(selector.features.vectors, "source", "given")
        if selector.features.vectors
        else "",
        "members": len(selector.members),
        "about": selector.about,
        **({"unseen": selector.unseen.facts()} if selector.unseen is not None else {}),
        "sha256": _checksum(temporary),
    }
    temporary.replace(folder / ARRAYS)
    (folder / HEAD).write_text(json.dumps(head, indent=1) + "\n", encoding="utf-8")


def load_selector(folder: str | Path, vectors: Vectors | None = None) -> Selector:
    """Reads a selector.

    Args:
        folder: written by :func:`save_selector`.
        vectors: what gave it vectors of texts when it was fitted, if anything did.

    Raises:
        BadArtefact: files are missing, damaged, or of another version.
    """
    from prompt_oirl.choice.selector import Selector, Settings

    folder = Path(folder)
    head = _head(folder)
    source = str(head["vectors"])
    if source.startswith(ENCODER) and vectors is None:
        from prompt_oirl.features.encoder import Encoder

        vectors = Encoder(source.removeprefix(ENCODER))
    if source and vectors is None:
        raise BadArtefact(f"{folder}: the selector was fitted with vectors of texts; give them")
    try:
        if _checksum(folder / ARRAYS) != head["sha256"]:
            raise BadArtefact(f"{folder / ARRAYS}: its checksum is not the one in {HEAD}")
        with np.load(folder / ARRAYS, allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files}
        settings = Settings(**{k: _tuple(v) for k, v in head["settings"].items()})
        unknown = set(settings.models) - set(MODELS)
        if unknown:
            raise BadArtefact(f"{folder}: unknown model '{min(unknown)}'")
        rule = head["rule"] | {"spread": arrays["rule/spread"]}
        rule["margin"] = np.inf if rule["margin"] is None else rule["margin"]
        members = tuple(
            Blend.from_arrays(settings.models, _under(arrays, f"member{number}/"))
            for number in range(head["members"])
        )
        selector = Selector(
            tuple(Arm(**arm) for arm in head["arms"]),
            QueryFeatures.from_arrays(_under(arrays, "features/"), vectors),
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
            UnseenPrompts.from_arrays(_under(arrays, "unseen/"), head["unseen"])
            if "unseen" in head
            else None,
        )
        _check(selector)
        return selector
    except (
        OSError,
        LookupError,
        TypeError,
        ValueError,
        AttributeError,
        EOFError,
        zipfile.BadZipFile,
    ) as error:
        if isinstance(error, BadArtefact):
            raise
        raise BadArtefact(f"{folder}: the selector is incomplete or damaged ({error})") from error


def _head(folder: Path) -> dict[str, Any]:
    path = folder / HEAD
    try:
        head = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadArtefact(f"{folder} is not a selector: there is no {HEAD}") from None
    except (OSError, ValueError) as error:
        raise BadArtefact(f"{path}: cannot be read ({error})") from error
    if not isinstance(head, dict) or head.get("format") != FORMAT:
        raise BadArtefact(f"{path}: this is not a selector")
    if head.get("version") != VERSION:
        raise BadArtefact(
            f"{path}: version {head.get('version')} of the format; this treeward reads {VERSION}, "
            "fit the selector again"
        )
    missing = {"arms", "settings", "rule", "vectors", "members", "about", "sha256"} - head.keys()
    if missing:
        raise BadArtefact(f"{path}: the selector is incomplete or damaged (no '{min(missing)}')")
    return head


def _check(selector: Selector) -> None:
    size = len(selector.arms)
    vectors = (selector.rule.spread, selector.means, selector.costs)
    if any(array.shape != (size,) for array in vectors) or not selector.members:
        raise ValueError(f"parts do not fit {size} prompts")
    if selector.rule.default not in range(size) or selector.rule.kind not in KINDS:
        raise ValueError("the rule names what does not exist")
    if selector.unseen is not None and len(selector.unseen.logged) != size:
        raise ValueError(f"what is known of new prompts does not fit {size} prompts")


def _checksum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _under(arrays: dict[str, NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    return {key[len(prefix) :]: arrays[key] for key in arrays if key.startswith(prefix)}
