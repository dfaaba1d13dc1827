"""An audit as a table for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prompt_oirl.audit.finding import Finding
from prompt_oirl.audit.report import AuditReport

if TYPE_CHECKING:
    from rich.table import Table

STYLES = {"error": "bold red", "warning": "yellow", "note": "dim"}


def audit_table(report: AuditReport) -> Table:
    """One row a finding, errors first; examples below the sentence of errors and warnings."""
    from rich.table import Table
    from rich.text import Text

    title = (
        f"{report.log}: {report.queries:,} queries, {report.arms} arms, {report.cells:,} outcomes"
    )
    table = Table(title=Text(title), title_justify="left", show_lines=False)
    table.add_column("severity")
    table.add_column("check", no_wrap=True)
    table.add_column("found", overflow="fold")
    for found in report.findings:
        words = Text(found.sentence)
        if found.severity != "note":
            for example in found.examples:
                words.append(f"\n  {example}", style="dim")
        style = STYLES[found.severity]
        table.add_row(Text(found.severity, style=style), found.check, words)
    return table


def verdict(report: AuditReport, allow_leakage: bool) -> str:
    """The last line of a report: what follows from the findings."""
    errors, warnings = report.of("error"), report.of("warning")
    if report.fails(allow_leakage):
        leaks = any(found.leakage for found in errors)
        ending = ""
        if leaks:
            ending = (
                "; split by group, or pass --allow-leakage to go on with results that do not hold "
                "for new questions"
            )
        return f"Failed: {_counted(errors, 'error')}, {_counted(warnings, 'warning')}{ending}."
    allowed = ", leakage allowed" if errors else ""
    return f"Passed with {_counted(warnings, 'warning')}{allowed}."


def _counted(found: tuple[Finding, ...], word: str) -> str:
    return f"{len(found)} {word}" if len(found) == 1 else f"{len(found)} {word}s"
