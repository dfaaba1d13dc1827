"""``treeward prompt``: prompts chosen per query from logs. One file a command."""

from __future__ import annotations

import typer

from search.cli.prompt import (
    audit,
    drift,
    evaluate,
    explain,
    fit,
    grade,
    import_log,
    next_cells,
    ope,
    report,
    responses,
    select,
)

HELP = """Choose a prompt for each query from a log of prompts that were tried.

Example:  treeward prompt audit
"""

app = typer.Typer(no_args_is_help=True, rich_markup_mode="rich")
app.command("audit", help=audit.HELP)(audit.audit)
app.command("ope", help=ope.HELP)(ope.ope)
app.command("import", help=import_log.HELP)(import_log.import_log)
app.command("fit", help=fit.HELP)(fit.fit)
app.command("evaluate", help=evaluate.HELP)(evaluate.evaluate)
app.command("select", help=select.HELP)(select.select)
app.command("grade", help=grade.HELP)(grade.grade)
app.command("next", help=next_cells.HELP)(next_cells.next_cells)
app.command("explain", help=explain.HELP)(explain.explain)
app.command("drift", help=drift.HELP)(drift.drift)
app.command("report", help=report.HELP)(report.report)
app.add_typer(responses.app, name="responses", help=responses.HELP)
