"""Inspect: an eval log, ``.json`` or the ``.eval`` archive, as the one document that both hold.

    <name>.eval                     a zip archive
      header.json                   all but the samples; missing where the run was killed
      _journal/start.json           what was known of the run as it began
      samples/<id>_epoch_<n>.json   one each, in the order in which they ended

The samples of a document are put in the order of the dataset.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prompt_oirl.errors import BadLog
from prompt_oirl.logs.importers.importing import load_json
from search.json_text import parse_json

HEADER = "header.json"
START = "_journal/start.json"
ZSTANDARD = 93
LOCAL_HEADER = struct.Struct("<4s5H3L2H")
DAMAGED = (
    OSError,
    ValueError,
    EOFError,
    RuntimeError,
    struct.error,
    zlib.error,
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
)
"""What unpacking an archive raises where its bytes are wrong, or a way of packing is unknown."""


def load_document(path: Path) -> dict[str, Any]:
    """A log as one document: ``eval``, ``plan`` and a list of ``samples``.

    Raises:
        BadLog: the file cannot be read or is no log of Inspect.
    """
    try:
        archive = zipfile.is_zipfile(path)
    except OSError as error:
        raise BadLog(f"cannot read {path}: {error.strerror}") from error
    if not archive and path.suffix.lower() == ".eval" and path.is_file():
        raise BadLog(f"{path} is no whole archive: was it cut off when it was written or copied?")
    document = _load_archive(path) if archive else load_json(path)
    if not isinstance(document, dict) or not isinstance(document.get("eval"), dict):
        raise BadLog(f"{path} is no log of Inspect: it has no 'eval'")
    samples = document.get("samples") or []
    return {**document, "samples": _in_order(samples, document["eval"].get("dataset"))}


def _load_archive(path: Path) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            head = next((name for name in (HEADER, START) if name in names), "")
            if not head:
                raise BadLog(f"{path} is no log of Inspect: it has no {HEADER}")
            document = parse_json(_member(archive, head))
            samples = [name for name in names if name.startswith("samples/")]
            loaded = [parse_json(_member(archive, name)) for name in samples]
    except DAMAGED as error:
        if isinstance(error, BadLog):
            raise
        raise BadLog(f"{path} cannot be read as a log of Inspect ({error})") from error
    return {**document, "samples": loaded}


def _in_order(samples: list[Any], dataset: Any) -> list[Any]:
    """Samples by epoch and place in the dataset; those that it does not list come last."""
    listed = dataset.get("sample_ids") if isinstance(dataset, Mapping) else None
    place = {str(name): index for index, name in enumerate(listed or [])}

    def order(sample: Any) -> tuple[int, int]:
        if not isinstance(sample, Mapping):
            return (0, len(place))
        epoch = sample.get("epoch")
        known = place.get(str(sample.get("id")), len(place))
        return (epoch if isinstance(epoch, int) else 1, known)

    return sorted(samples, key=order)


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    """A file of an archive; recent logs are compressed by Zstandard, unknown to old Pythons."""
    entry = archive.getinfo(name)
    if entry.compress_type != ZSTANDARD:
        return archive.read(name)
    import pyarrow

    file = archive.fp
    assert file is not None
    file.seek(entry.header_offset)
    header = LOCAL_HEADER.unpack(file.read(LOCAL_HEADER.size))
    file.seek(header[-2] + header[-1], io.SEEK_CUR)
    packed = file.read(entry.compress_size)
    with pyarrow.input_stream(pyarrow.py_buffer(packed), compression="zstd") as stream:
        return stream.read()
