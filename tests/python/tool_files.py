"""Files as other tools write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def lines(path: Path, records: list[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def document(path: Path, record: Any) -> Path:
    path.write_text(json.dumps(record))
    return path


def inspect_log(template: str, values: list[Any], **more: Any) -> dict[str, Any]:
    """A log of Inspect: one solver with a template, one sample a value."""
    samples = [
        {
            "id": i,
            "epoch": 1,
            "input": f"what is {i}?",
            "target": "1",
            "scores": {"match": {"value": value}},
            "output": {
                "completion": "abcd",
                "usage": {"output_tokens": 9, "total_cost": 0.5},
            },
            "total_time": 3.0,
            "working_time": 2.0,
        }
        for i, value in enumerate(values)
    ]
    return {
        "version": 2,
        "status": "success",
        "eval": {"task": "gsm8k", "task_args": {}, "model": "m"},
        "plan": {"steps": [{"solver": "prompt_template", "params": {"template": template}}]},
        "samples": samples,
        **more,
    }
