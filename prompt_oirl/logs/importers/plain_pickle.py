"""Reads pickles of plain data without unpickling: nothing that a file names is ever called.

A pickle is a program for a stack machine; the module ``pickle`` runs whatever it names. Here its
opcodes (as listed by ``pickletools.genops``) are followed one by one, and only those are known that
make numbers, texts, bytes, tuples, lists, dicts and NumPy arrays of numbers or texts. Everything
else is refused.
"""

from __future__ import annotations

import pickletools
import re
from typing import Any

import numpy as np

MARK = object()
NUMPY = re.compile(r"numpy\.(?:core|_core)\.multiarray")
NUMBER_TYPE = re.compile(r"[biufSU]\d+")
MOST_ITEMS = 100_000_000


class RefusedPickle(ValueError):
    """A pickle that holds something else than plain data, or is broken."""


class _Named:
    """A function or class that the pickle names: only a label, compared by name."""

    def __init__(self, name: str) -> None:
        self.name = name


class _Array:
    """An array that is not filled yet, or a scalar type."""

    def __init__(self) -> None:
        self.value: Any = None


class _Type:
    """A NumPy type, from the texts in the pickle."""

    def __init__(self, code: str) -> None:
        self.code = code
        self.order = ""

    def dtype(self) -> np.dtype[Any]:
        order = self.order if self.order in ("<", ">") else ""
        return np.dtype(order + self.code)


def read_plain_pickle(data: bytes) -> Any:
    """The value in a pickle of plain data.

    Arrays of objects are given as lists, or as their one object where they have no dimension.

    Raises:
        RefusedPickle: the pickle names anything but the parts of a NumPy array, or is broken.
    """
    machine = _Machine()
    try:
        for opcode, argument, _ in pickletools.genops(data):
            if opcode.name == "STOP":
                return _finished(machine.stack.pop())
            machine.step(opcode.name, argument)
    except RefusedPickle:
        raise
    except (ValueError, IndexError, KeyError, TypeError, RecursionError, MemoryError) as error:
        raise RefusedPickle(f"the pickle is broken ({type(error).__name__})") from error
    raise RefusedPickle("the pickle has no end")


class _Machine:
    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def step(self, name: str, argument: Any) -> None:
        """Follows one opcode."""
        stack = self.stack
        if name in ("PROTO", "FRAME"):
            return
        if name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in _VALUES:
            stack.append(argument)
        elif name in ("EMPTY_LIST", "EMPTY_DICT"):
            stack.append([] if name == "EMPTY_LIST" else {})
        elif name == "MARK":
            stack.append(MARK)
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            self.memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(self.memo[argument])
        elif name == "POP":
            stack.pop()
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            count = int(name[-1])
            stack[-count:] = [tuple(stack[-count:])]
        elif name in ("TUPLE", "LIST"):
            items = self._items()
            stack.append(tuple(items) if name == "TUPLE" else items)
        elif name == "DICT":
            items = self._items()
            stack.append(dict(zip(items[::2], items[1::2], strict=True)))
        elif name in ("APPEND", "APPENDS"):
            items = [stack.pop()] if name == "APPEND" else self._items()
            self._container(list).extend(items)
        elif name in ("SETITEM", "SETITEMS"):
            items = [stack.pop(-2), stack.pop()] if name == "SETITEM" else self._items()
            keys = [_finished(key) for key in items[::2]]
            self._container(dict).update(zip(keys, items[1::2], strict=True))
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            if name == "STACK_GLOBAL":
                module = stack.pop(-2)
                argument = f"{module} {stack.pop()}"
            stack.append(_named(str(argument)))
        elif name == "REDUCE":
            arguments = stack.pop()
            stack.append(_made(stack.pop(), arguments))
        elif name == "BUILD":
            state = stack.pop()
            _fill(stack[-1], state)
        else:
            raise RefusedPickle(f"the pickle uses {name}, which plain data does not need")

    def _items(self) -> list[Any]:
        place = len(self.stack) - 1
        while self.stack[place] is not MARK:
            place -= 1
            if place < 0:
                raise RefusedPickle("the pickle is broken (no mark)")
        items = self.stack[place + 1 :]
        del self.stack[place:]
        return items

    def _container(self, kind: type) -> Any:
        if not isinstance(self.stack[-1], kind):
            raise RefusedPickle("the pickle is broken (items without a list or dict)")
        return self.stack[-1]


_CONSTANTS: dict[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_VALUES = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "STRING", "BINSTRING", "SHORT_BINSTRING"),
}


def _named(text: str) -> _Named:
    module, _, name = text.partition(" ")
    if NUMPY.fullmatch(module) and name in ("_reconstruct", "scalar"):
        return _Named(name)
    if text in ("numpy ndarray", "numpy dtype"):
        return _Named(text)
    if text in ("_codecs encode", "__builtin__ bytes"):
        return _Named(text)  # how protocols up to 2 write bytes
    raise RefusedPickle(f"the pickle names '{text.replace(' ', '.')}', which is no plain data")


def _made(maker: Any, arguments: Any) -> Any:
    """What a pickle makes by calling one of the few known names."""
    if not isinstance(maker, _Named) or not isinstance(arguments, tuple):
        raise RefusedPickle("the pickle calls something that is no part of an array")
    if maker.name == "_reconstruct":
        if not isinstance(arguments[0], _Named) or arguments[0].name != "numpy ndarray":
            raise RefusedPickle("the pickle makes an array of an unknown class")
        return _Array()
    if maker.name == "numpy dtype":
        code = arguments[0]
        if not isinstance(code, str) or not (NUMBER_TYPE.fullmatch(code) or code == "O8"):
            raise RefusedPickle(f"the pickle holds an array of type {code!r}")
        return _Type(code)
    if maker.name == "scalar":
        kind, data = arguments
        if not isinstance(kind, _Type) or kind.code == "O8" or not isinstance(data, bytes):
            raise RefusedPickle("the pickle holds a scalar of an unknown type")
        return np.frombuffer(data, dtype=kind.dtype(), count=1)[0].item()
    if maker.name == "_codecs encode" and len(arguments) == 2 and arguments[1] == "latin1":
        return str(arguments[0]).encode("latin1")
    if maker.name == "__builtin__ bytes" and not arguments:
        return b""
    raise RefusedPickle(f"the pickle calls '{maker.name}'")


def _fill(made: Any, state: Any) -> None:
    """Sets the byte order of a type, or the shape and the values of an array."""
    if isinstance(made, _Type):
        made.order = str(state[1])
        return
    if not isinstance(made, _Array):
        raise RefusedPickle("the pickle sets the state of something that is no array")
    _, shape, kind, fortran, values = state
    size = int(np.prod(shape, dtype=np.int64)) if shape else 1
    if not isinstance(kind, _Type) or not 0 <= size <= MOST_ITEMS:
        raise RefusedPickle("the pickle holds an array of an unknown type or size")
    if kind.code == "O8":
        if not isinstance(values, list) or len(values) != size or len(shape) > 1:
            raise RefusedPickle("the pickle holds an array of objects of an unknown form")
        made.value = values if shape else values[0]
        return
    if not isinstance(values, bytes):
        raise RefusedPickle("the pickle holds an array without its bytes")
    array = np.frombuffer(values, dtype=kind.dtype())
    made.value = array.reshape(shape, order="F" if fortran else "C").copy()


def _finished(value: Any, depth: int = 0) -> Any:
    """The value with arrays in place; refuses what is left of names and types."""
    if depth > 100:
        raise RefusedPickle("the pickle is nested too deep")
    if isinstance(value, _Array):
        return _finished(value.value, depth + 1)
    if isinstance(value, dict):
        return {_finished(k, depth + 1): _finished(v, depth + 1) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_finished(item, depth + 1) for item in value)
    if isinstance(value, _Named | _Type) or value is MARK:
        raise RefusedPickle("the pickle holds a name instead of a value")
    return value
