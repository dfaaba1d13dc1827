"""A policy written down as a CSV file.

    query,arm,probability          query,arm
    q-17,CoT,0.8                   q-17,CoT
    q-17,direct,0.2                q-18,direct
    q-18,direct,1

Without the third column each line is a certain choice. Queries that the log does not have are
passed over, so that one file can serve several logs.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from prompt_oirl.errors import BadLog
from prompt_oirl.logs.csv_records import csv_records
from prompt_oirl.logs.log import Floats, PromptLog


@dataclass(frozen=True)
class PolicyFile:
    """The policy in a CSV file.

    Attributes:
        path: of the file.
    """

    path: Path

    @property
    def name(self) -> str:
        """The file's name."""
        return self.path.name

    def probabilities(self, log: PromptLog) -> Floats:
        """Of every arm for every query, ``[Q, K]``.

        Raises:
            BadLog: a column is missing, a line names an unknown arm or no number, a pair appears
                twice, or a query of the log has no line.
        """
        place = {query.id: row for row, query in enumerate(log.queries)}
        table = np.full((len(log.queries), len(log.arms)), np.nan)
        records = csv_records(self.path, io.StringIO(self._text(), newline=""))
        _, columns = next(records, (1, []))
        if "query" not in columns or "arm" not in columns:
            raise BadLog(f"{self.path}: a policy needs the columns 'query' and 'arm'")
        certain = "probability" not in columns
        for number, record in records:
            line = dict(zip(columns, record))
            row = place.get(line.get("query", ""))
            if row is None:
                continue
            where = f"{self.path}, line {number}"
            name = line.get("arm")
            if not name:
                raise BadLog(f"{where}: the line has no arm")
            if name not in log.arm_names:
                raise BadLog(f"{where}: the log has no arm '{name}'")
            arm = log.arm_index(name)
            if not np.isnan(table[row, arm]):
                raise BadLog(f"{where}: the query '{line['query']}' has the arm '{name}' twice")
            table[row, arm] = 1 if certain else self._probability(line.get("probability"), where)
        empty = np.isnan(table).all(axis=1)
        if empty.any():
            raise BadLog(
                f"{self.path}: {int(empty.sum())} of the log's {len(empty)} queries have no line, "
                f"first '{log.queries[int(np.argmax(empty))].id}'"
            )
        return np.nan_to_num(table)

    def _text(self) -> str:
        try:
            content = self.path.read_bytes()
        except OSError as error:
            raise BadLog(f"cannot read {self.path}: {error.strerror or error}") from error
        try:
            return content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = 1 + content.count(b"\n", 0, error.start)
            raise BadLog(f"{self.path}, line {line}: not UTF-8 text") from error

    def _probability(self, text: str | None, where: str) -> float:
        try:
            value = float(text or "")
        except ValueError:
            value = -1.0
        if not 0 <= value <= 1:
            raise BadLog(f"{where}: the probability {text!r} is not a number in 0..1")
        return value
