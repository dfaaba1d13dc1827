"""The puzzle models that come with the package."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent / "bundled"
POLICY = "countdown-policy"
REWARD = "countdown-reward"


def resolve(name: str) -> str:
    """The folder of a bundled model, or the name itself when it is none."""
    if name in (POLICY, REWARD):
        return str(FOLDER / name)
    return name


def available() -> list[str]:
    """Names of the bundled models that are there."""
    return [name for name in (POLICY, REWARD) if (FOLDER / name / "config.json").is_file()]
