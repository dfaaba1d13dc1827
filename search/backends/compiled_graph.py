"""What the compiler makes of a model, called as it is.

``torch.compile`` looks at its arguments in every call and passes them through layers of wrappers,
which takes a tenth of a step of a small model. Ours differ in their sizes only, and those that are
compiled first stand for all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch


class CompiledGraph:
    """A compiled graph and its inputs, of which a few change from call to call.

    Args:
        call: the graph; gives a list of one tensor.
        inputs: of some call.
        places: which of them are the arguments, in their order.
        sizes: which of them are the last size of which argument.
    """

    def __init__(
        self,
        call: Callable[..., Any],
        inputs: list[Any],
        places: list[int],
        sizes: list[tuple[int, int]],
    ) -> None:
        self._call = call
        self._places = places
        self._sizes = sizes
        changing = {*places, *(place for place, _ in sizes)}
        self._inputs = [None if i in changing else known for i, known in enumerate(inputs)]

    def __call__(self, *given: torch.Tensor) -> torch.Tensor:
        """The output for some arguments."""
        inputs = self._inputs.copy()
        for place, tensor in zip(self._places, given):
            inputs[place] = tensor
        for place, argument in self._sizes:
            inputs[place] = given[argument].shape[-1]
        out: torch.Tensor = self._call(*inputs)[0]
        return out


class Compiler:
    """A backend of ``torch.compile``: inductor, and a note of what it made and what that was given.

    Args:
        options: settings of inductor.
    """

    def __init__(self, options: dict[str, Any]) -> None:
        self._options = options
        self._made: tuple[Callable[..., Any], list[Any]] | None = None

    def __call__(
        self, graph: torch.fx.GraphModule, examples: list[Any], **others: Any
    ) -> Callable[..., Any]:
        from torch._inductor.compile_fx import compile_fx

        made: Any = compile_fx(graph, examples, config_patches=self._options)

        def call(*inputs: Any) -> Any:
            self._made = made, list(inputs)
            return made(*inputs)

        return call

    def graph(
        self, given: tuple[torch.Tensor, ...], constants: Iterable[torch.Tensor]
    ) -> CompiledGraph | None:
        """The graph that was called last.

        Args:
            given: the arguments of that call, of different sizes.
            constants: what is the same in every call: parameters and buffers of the model.

        Returns:
            ``None`` if it was given anything but these, and sizes.
        """
        if self._made is None:
            return None
        call, inputs = self._made
        known = {id(tensor) for tensor in constants}
        argument_of = {id(tensor): argument for argument, tensor in enumerate(given)}
        sized = {tensor.shape[-1]: argument for argument, tensor in enumerate(given)}
        places, sizes = [-1] * len(given), []
        for place, value in enumerate(inputs):
            if id(value) in argument_of:
                places[argument_of[id(value)]] = place
            elif isinstance(value, int) and value in sized:
                sizes.append((place, sized[value]))
            elif id(value) not in known:
                return None
        return None if -1 in places else CompiledGraph(call, inputs, places, sizes)
