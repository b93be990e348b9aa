"""What the commands print at their end: reports, scores and tables."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.table import Table
from rich.text import Text

from autoflow.budget import format_duration
from autoflow.errors import shortened
from autoflow.report.contributions import contribution_line
from autoflow.report.figures import told_figures
from autoflow.report.leaderboard import part_of_rows
from autoflow.report.plain import plain, visible

_CLASS_CHARACTERS = 24
_UNFOLDED_CHARACTERS = 8
_STANDARD_ERROR = "log_loss_standard_error"

if TYPE_CHECKING:
    from autoflow.finished import FrontPoint
    from autoflow.run import RunReport
    from autoflow.serving.predictor import Predictor


def terminal(*, stderr: bool = False) -> Console:
    """Returns a console that adds nothing to what it prints: neither colours of numbers nor pictures."""
    return Console(stderr=stderr, highlight=False, emoji=False)


def show_warnings(predictor: Predictor) -> None:
    """Prints what was wrong with the table that a model read last, on standard error."""
    console = terminal(stderr=True)
    for warning in predictor.warnings_:
        console.print(f"[yellow]warning:[/yellow] {plain(warning)}", soft_wrap=True)


def show_model(console: Console, report: RunReport) -> None:
    """Prints what came out of a run: the best trials and the model."""
    model = report.model
    console.print(f"\n[bold]Leaderboard[/bold] ({len(report.rows)} tried, {report.metric} on held-out rows)")
    ranked = [row for row in report.rows if row.rank][:8]
    show_table(
        console,
        ("rank", "trial", report.metric, "seconds", "made of"),
        [
            (
                str(r.rank),
                str(r.trial),
                f"{r.score:.4f}",
                f"{r.seconds:.1f}",
                f"{r.classifier} on {r.features.replace(' ', ' + ') or 'nothing'}{part_of_rows(r.share)}",
            )
            for r in ranked
        ],
    )
    how = (
        "fitted on all rows"
        if model.refitted
        else "fitted on the training part of the rows, as it was scored"
    )
    console.print(f"\n[bold]Model[/bold] {plain(str(model.folder))}", soft_wrap=True)
    console.print(f"  {plain(str(model))}, {how}, {model.num_bytes / 1e6:.1f} MB", soft_wrap=True)
    speed = f"; one row takes {model.verification.row_ms:.2f} ms" if model.verification.ok else ""
    console.print(f"  {plain(model.verification.message)}{speed}", soft_wrap=True)
    for scores, where in told_figures(model.scores):
        show_scores(console, scores, where)
    if len(model.front) > 1:
        _show_front(console, model.front, report.metric)
    if model.contributions:
        console.print(f"  {plain(contribution_line(model.contributions))}", soft_wrap=True)


def _show_front(console: Console, front: Sequence[FrontPoint], metric: str) -> None:
    """Prints the model and those that answer faster, so that one sees what --max-latency-ms would cost."""
    console.print("  faster ones, which --max-latency-ms would choose:")
    rows = [
        (f"{point.row_ms:.2f}", f"{point.megabytes:.1f}", f"{point.score:.4f}", made_of)
        for point, made_of in zip(front, ("this model", *(p.made_of for p in front[1:])), strict=True)
    ]
    show_table(console, ("ms a row", "MB", metric, "made of"), rows)


def show_next(console: Console, report: RunReport) -> None:
    """Prints how a run ends: how to use the model, and warnings."""
    model = report.model
    folder = plain(shlex.quote(str(model.folder)))
    console.print("\n[bold]Next[/bold]")
    console.print(f"  autoflow predict {folder} NEW.csv --output predictions.csv", soft_wrap=True)
    served = plain(shlex.quote(str(model.folder.parent.resolve())))
    console.print(
        f"  tensorflow_model_server --rest_api_port=8501 --model_name=autoflow --model_base_path={served}",
        soft_wrap=True,
    )
    if report.signal_number:
        console.print("  interrupted: repeat the same command to go on with the search")
    for warning in report.warnings:
        console.print(f"[yellow]warning:[/yellow] {plain(warning)}", soft_wrap=True)
    console.print(
        f"finished in {format_duration(report.seconds)}; everything is in {plain(str(report.folder))}",
        soft_wrap=True,
    )


def show_scores(console: Console, scores: Any, where: str) -> None:
    """Prints figures in a line, and the confusion of few classes as a table.

    Args:
        console: where to.
        scores: JSON form of `autoflow.metrics.Scores`.
        where: what rows they are of, in plain words.
    """
    figures = {name: f"{value:.4f}" for name, value in scores.items() if isinstance(value, float)}
    if _STANDARD_ERROR in figures:
        figures["log_loss"] += f" ± {figures.pop(_STANDARD_ERROR)}"
    text = ", ".join(f"{name} {value}" for name, value in figures.items())
    console.print(f"  {text} ({plain(where)}, {scores['num_rows']:,} rows)", soft_wrap=True)
    classes, confusion = scores.get("classes"), scores.get("confusion")
    names = [shortened(name, _CLASS_CHARACTERS) for name in classes or ()]
    widths = sum(max(4, len(name)) + 4 for name in names)
    if confusion and widths + 4 + max(len("true \\ predicted"), *map(len, names)) <= console.width:
        rows = [(name, *(str(count) for count in row)) for name, row in zip(names, confusion, strict=True)]
        show_table(console, ("true \\ predicted", *names), rows)


def show_table(console: Console, header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """Prints a table; a terminal folds long cells, a log gets one line for each row."""
    if not console.is_terminal:
        header, rows = tuple(map(visible, header)), [tuple(map(visible, row)) for row in rows]
        widths = [max(map(cell_len, cells)) for cells in zip(header, *rows, strict=True)]
        for row in (header, *rows):
            cells = (set_cell_size(cell, width) for cell, width in zip(row, widths, strict=True))
            console.print(Text("  " + "    ".join(cells).rstrip()), soft_wrap=True)
        return
    table = Table(box=None, padding=(0, 2), header_style="bold")
    for position, name in enumerate(header):
        longest = max(len(cell) for cell in (name, *(row[position] for row in rows)))
        table.add_column(plain(name), overflow="fold", min_width=min(longest, _UNFOLDED_CHARACTERS))
    for row in rows:
        table.add_row(*(plain(cell) for cell in row))
    console.print(table)
