"""``<name>.meta.json`` beside ``<name>.jsonl``: the order of the arms and the text of each."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from prompt_oirl.errors import BadLog
from search.json_text import parse_json

SUFFIXES = (".gz", ".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".eval")


@dataclass(frozen=True)
class Metadata:
    """What is known of a log beside its cells: its name, order of arms, and their texts."""

    name: str
    arms: tuple[str, ...] = ()
    prompts: dict[str, str] = field(default_factory=dict)


def log_stem(path: Path) -> str:
    """The name of a file without the endings that say its format."""
    name = path.name
    while (ending := Path(name).suffix.lower()) in SUFFIXES and Path(name).stem:
        name = name[: -len(ending)]
    return name


def metadata_path(path: Path) -> Path:
    """Where the metadata of a log lie."""
    return path.with_name(f"{log_stem(path)}.meta.json")


def read_metadata(path: Path) -> Metadata:
    """Reads the metadata beside a log, if there is any.

    Raises:
        BadLog: it is not a JSON object of the form
            ``{"name": …, "arms": […], "prompts": {arm: text}}``, where every key may be missing.
    """
    stem, beside = log_stem(path), metadata_path(path)
    if not beside.is_file():
        return Metadata(stem)
    try:
        record = parse_json(beside.read_bytes())
    except OSError as error:
        raise BadLog(f"cannot read {beside}: {error.strerror}") from error
    except ValueError as error:
        raise BadLog(f"{beside} is not JSON ({error})") from error
    if not isinstance(record, dict):
        raise BadLog(f"{beside} is not a JSON object")
    arms = record.get("arms", [])
    prompts = record.get("prompts", {})
    if not isinstance(arms, list) or not all(isinstance(arm, str) for arm in arms):
        raise BadLog(f"{beside}: 'arms' is not a list of names")
    if not isinstance(prompts, dict) or not all(isinstance(t, str) for t in prompts.values()):
        raise BadLog(f"{beside}: 'prompts' is not an object with the text of each arm")
    return Metadata(str(record.get("name") or stem), tuple(arms), prompts)
