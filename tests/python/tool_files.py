"""Logs as files: of rows in any format that is read, and as other tools write them."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def lines(path: Path, records: list[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def write_rows(path: Path, rows: Iterable[dict[str, Any]]) -> Path:
    """Writes rows in the format that the name of the file says."""
    rows = list(rows)
    kind = path.name.split(".", 1)[1]
    columns = list(dict.fromkeys(key for row in rows for key in row))
    if kind.startswith("jsonl"):
        opened: Any = gzip.open if kind.endswith("gz") else open
        with opened(path, "wt", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
    elif kind == "parquet":
        import pyarrow as pa
        from pyarrow import parquet

        parquet.write_table(pa.Table.from_pylist(rows), path)
    else:
        opened = gzip.open if kind.endswith("gz") else open
        with opened(path, "wt", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, columns, delimiter="\t" if kind == "tsv" else ",")
            writer.writeheader()
            writer.writerows(rows)
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


def lm_eval_sample(i: int, value: float, prefix: str = "Q: ", **more: Any) -> dict[str, Any]:
    """A line of lm-evaluation-harness: one document under one filter."""
    question = f"what is {i}?"
    return {
        "doc_id": i,
        "doc": {"question": question, "answer": "#### 1"},
        "target": "1",
        "arguments": {"gen_args_0": {"arg_0": f"{prefix}{question}\nA:", "arg_1": {}}},
        "resps": [["12345678"]],
        "filtered_resps": ["1"],
        "filter": "strict-match",
        "metrics": ["exact_match"],
        "exact_match": value,
        **more,
    }
