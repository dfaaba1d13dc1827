"""A selector of responses on disk (:mod:`prompt_oirl.array_folder`).

The head has the model's name and facts of what it was fitted on; the arrays are those of features
and model. Trees are walked as arrays, so scoring does not need the library that grew them.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from prompt_oirl.array_folder import FolderFormat, damaged, read_folder, under, write_folder
from prompt_oirl.choice.artefact import KIND as PROMPTS
from prompt_oirl.errors import BadArtefact
from prompt_oirl.models import model_class
from prompt_oirl.responses.features import ResponseFeatures

if TYPE_CHECKING:
    from prompt_oirl.responses.selector import ResponseSelector

KIND = FolderFormat(
    name="treeward-response-selector",
    version=2,
    what="selector of responses",
    fields=frozenset({"model", "about"}),
    others={PROMPTS.name: "a selector of prompts, which 'treeward prompt select' reads"},
)


def save_response_selector(selector: ResponseSelector, folder: str | Path) -> None:
    """Writes a selector into a folder, which is made where needed.

    Raises:
        BadArtefact: the folder cannot be written.
    """
    arrays = {f"features/{key}": array for key, array in selector.features.arrays().items()}
    arrays |= {f"model/{key}": array for key, array in selector.model.arrays().items()}
    write_folder(folder, KIND, {"model": selector.name, "about": selector.about}, arrays)


def load_response_selector(folder: str | Path) -> ResponseSelector:
    """Reads a selector.

    Raises:
        BadArtefact: files are missing, damaged, of another kind or of another version.
    """
    from prompt_oirl.responses.selector import MODELS, ResponseSelector

    head, arrays = read_folder(folder, KIND)
    name = head["model"]
    if name not in MODELS:
        raise BadArtefact(f"{folder}: unknown model '{name}' of responses")
    try:
        features = ResponseFeatures.from_arrays(under(arrays, "features/"))
        model = model_class(name).from_arrays(under(arrays, "model/"))
        sample = model.predict(np.zeros((1, len(features.mean))))
        if sample.shape != (1, 1) or not np.isfinite(sample).all():
            raise ValueError("the model does not fit the features")
        return ResponseSelector(features, model, name, dict(head["about"]))
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise damaged(folder, KIND, error) from error
