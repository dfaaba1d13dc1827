"""The type stubs of the native module name everything that it has."""

from __future__ import annotations

import ast
from pathlib import Path
from types import ModuleType

import pytest

import search
from search import _native

STUBS = Path(search.__file__).parent / "_native"
SUBMODULES = ["attention", "decoder", "kv", "linear", "sampling", "search", "tree"]


def stubbed(path: Path) -> dict[str, set[str]]:
    """Names at the top level of a stub, with the members of those that are classes."""
    found: dict[str, set[str]] = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef):
            found[node.name] = member_names(node)
        elif isinstance(node, ast.FunctionDef):
            found[node.name] = set()
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found[node.target.id] = set()
        elif isinstance(node, ast.ImportFrom):
            found.update((alias.asname or alias.name, set()) for alias in node.names)
    return found


def member_names(node: ast.ClassDef) -> set[str]:
    members = {item.name for item in node.body if isinstance(item, ast.FunctionDef | ast.ClassDef)}
    for item in node.body:
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
            members.add(item.target.id)
    return members


def public(thing: object) -> set[str]:
    return {name for name in vars(thing) if not name.startswith("_")}


def missing(module: ModuleType, path: Path) -> list[str]:
    stubs = stubbed(path)
    lost = sorted(public(module) - stubs.keys())
    for name in sorted(public(module) & stubs.keys()):
        value = getattr(module, name)
        if isinstance(value, type):
            lost += [f"{name}.{member}" for member in sorted(public(value) - stubs[name])]
    return lost


def test_every_submodule_is_listed() -> None:
    modules = {name for name, value in vars(_native).items() if isinstance(value, ModuleType)}
    assert modules == set(SUBMODULES)
    assert {path.stem for path in STUBS.glob("*.pyi")} == {"__init__", *SUBMODULES}


@pytest.mark.parametrize("name", SUBMODULES)
def test_stubs_name_all_of_a_submodule(name: str) -> None:
    lost = missing(getattr(_native, name), STUBS / f"{name}.pyi")
    assert not lost, f"missing from the stubs ({', '.join(lost)}); run `make stubs`"


def test_stubs_name_all_of_the_module() -> None:
    lost = missing(_native, STUBS / "__init__.pyi")
    assert not lost, f"missing from the stubs ({', '.join(lost)}); run `make stubs`"


def test_the_extension_wins_over_the_folder_of_stubs() -> None:
    assert Path(_native.__file__).suffix in {".so", ".pyd"}
