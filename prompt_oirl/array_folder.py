"""A fitted thing on disk: a folder with two files, neither of which can hold code.

selector.json     format, version, facts, checksum of these and of the arrays
arrays.npz        numbers and strings, as NumPy arrays without objects
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prompt_oirl.errors import BadArtefact
from search.json_text import parse_json

HEAD, ARRAYS = "selector.json", "arrays.npz"
Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class FolderFormat:
    """What a folder holds.

    Attributes:
        name: of the format, written into the head.
        version: that this code writes, and the only one that it reads.
        what: in words, for messages, e.g. ``selector of responses``.
        fields: that a head must have beside format, version and checksum.
        others: in words, what folders of other formats are.
    """

    name: str
    version: int
    what: str
    fields: frozenset[str]
    others: Mapping[str, str]


def write_folder(
    folder: str | Path, kind: FolderFormat, head: Mapping[str, Any], arrays: Arrays
) -> None:
    """Writes a head and arrays into a folder, which is made where needed.

    Raises:
        BadArtefact: the folder cannot be written.
    """
    folder = Path(folder)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    content = buffer.getvalue()
    full = {"format": kind.name, "version": kind.version, **head}
    full["sha256"] = checksum(full, content)
    # The head has the checksum of both files and is written last: a folder whose writing was
    # interrupted is not taken for a whole one.
    try:
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f"{ARRAYS}.part"
        temporary.write_bytes(content)
        temporary.replace(folder / ARRAYS)
        (folder / HEAD).write_text(json.dumps(full, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise BadArtefact(f"cannot write {folder}: {error.strerror or error}") from error


def read_folder(folder: str | Path, kind: FolderFormat) -> tuple[dict[str, Any], Arrays]:
    """The head and the arrays of a folder.

    Raises:
        BadArtefact: files are missing, damaged, of another kind or of another version.
    """
    folder = Path(folder)
    head = _head(folder, kind)
    try:
        content = (folder / ARRAYS).read_bytes()
        if checksum(head, content) != head["sha256"]:
            raise BadArtefact(
                f"{folder}: {HEAD} or {ARRAYS} was changed after the {kind.what} was saved (the "
                "checksum does not fit)"
            )
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            return head, {key: file[key] for key in file.files}
    except (OSError, ValueError, LookupError, EOFError, zipfile.BadZipFile) as error:
        raise damaged(folder, kind, error) from error


def checksum(head: Mapping[str, Any], arrays: bytes) -> str:
    """Of the content of both files; in a head that has a checksum, that one is left out."""
    facts = {key: value for key, value in head.items() if key != "sha256"}
    canonical = json.dumps(facts, sort_keys=True, separators=(",", ":")).encode()
    return hashlib.sha256(hashlib.sha256(canonical).digest() + arrays).hexdigest()


def damaged(folder: str | Path, kind: FolderFormat, error: Exception) -> BadArtefact:
    """The error for a folder whose parts do not make what it says it is."""
    return BadArtefact(f"{folder}: the {kind.what} is incomplete or damaged ({error})")


def under(arrays: Arrays, prefix: str) -> Arrays:
    """The arrays whose names begin so, by the rest of their names."""
    return {key[len(prefix) :]: arrays[key] for key in arrays if key.startswith(prefix)}


def _head(folder: Path, kind: FolderFormat) -> dict[str, Any]:
    path = folder / HEAD
    try:
        head = parse_json(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise BadArtefact(f"{folder} is no {kind.what}: there is no {HEAD}") from None
    except (OSError, ValueError) as error:
        raise BadArtefact(f"{path}: cannot be read ({error})") from error
    if not isinstance(head, dict) or head.get("format") != kind.name:
        found = kind.others.get(str(head.get("format"))) if isinstance(head, dict) else None
        raise BadArtefact(f"{path}: this is no {kind.what}" + (f" but {found}" if found else ""))
    if head.get("version") != kind.version:
        raise BadArtefact(
            f"{path}: version {head.get('version')} of the format; this treeward reads "
            f"{kind.version}, fit it again"
        )
    missing = {*kind.fields, "sha256"} - head.keys()
    if missing:
        raise BadArtefact(f"{path}: the {kind.what} is incomplete (no '{min(missing)}')")
    return head
