"""What the commands print at their end: reports, scores and tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from autoflow.budget import format_duration
from autoflow.report.contributions import contribution_line

if TYPE_CHECKING:
    from autoflow.run import RunReport
    from autoflow.serving.predictor import Predictor


def show_warnings(predictor: Predictor) -> None:
    """Prints what was wrong with the table that a model read last, on standard error."""
    console = Console(stderr=True, highlight=False)
    for warning in predictor.warnings_:
        console.print(f"[yellow]warning:[/yellow] {escape(warning)}", soft_wrap=True)


def show_report(console: Console, report: RunReport) -> None:
    """Prints how a run ended: the best trials, the model, how to use it, warnings."""
    model = report.model
    console.print(
        f"\n[bold]Leaderboard[/bold] (best of {len(report.rows)} trials, {report.metric} on held-out rows)"
    )
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
                f"{r.classifier} on {r.features}",
            )
            for r in ranked
        ],
    )
    how = (
        "fitted on all rows"
        if model.refitted
        else "fitted on the training part of the rows, as it was scored"
    )
    console.print(f"\n[bold]Model[/bold] {escape(str(model.folder))}", soft_wrap=True)
    console.print(f"  {escape(str(model))}, {how}, {model.num_bytes / 1e6:.1f} MB", soft_wrap=True)
    speed = f"; one row takes {model.verification.row_ms:.2f} ms" if model.verification.ok else ""
    console.print(f"  {escape(model.verification.message)}{speed}", soft_wrap=True)
    show_scores(console, model.scores["validation"], "on held-out rows that chose the model")
    if model.contributions:
        console.print(f"  {escape(contribution_line(model.contributions))}", soft_wrap=True)
    folder = escape(str(model.folder))
    console.print("\n[bold]Next[/bold]")
    console.print(f"  autoflow predict {folder} NEW.csv --output predictions.csv", soft_wrap=True)
    served = escape(str(model.folder.parent.resolve()))
    console.print(
        f"  tensorflow_model_server --rest_api_port=8501 --model_name=autoflow --model_base_path={served}",
        soft_wrap=True,
    )
    if report.signal_number:
        console.print("  interrupted: repeat the same command to go on with the search")
    for warning in report.warnings:
        console.print(f"[yellow]warning:[/yellow] {escape(warning)}", soft_wrap=True)
    console.print(
        f"finished in {format_duration(report.seconds)}; everything is in {escape(str(report.folder))}",
        soft_wrap=True,
    )


def show_scores(console: Console, scores: Any, where: str) -> None:
    """Prints figures in a line, and the confusion of few classes as a table.

    Args:
        console: where to.
        scores: JSON form of `autoflow.metrics.Scores`.
        where: what rows they are of, in plain words.
    """
    figures = {name: value for name, value in scores.items() if isinstance(value, float)}
    text = ", ".join(f"{name} {value:.4f}" for name, value in figures.items())
    console.print(f"  {text} ({escape(where)}, {scores['num_rows']} rows)", soft_wrap=True)
    classes, confusion = scores.get("classes"), scores.get("confusion")
    widths = sum(max(4, len(name)) + 4 for name in classes or ())
    if confusion and widths + 4 + max(len("true \\ predicted"), *map(len, classes)) <= console.width:
        rows = [(name, *(str(count) for count in row)) for name, row in zip(classes, confusion, strict=True)]
        show_table(console, ("true \\ predicted", *classes), rows)


def show_table(console: Console, header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """Prints a table; long cells are folded."""
    table = Table(box=None, padding=(0, 2), header_style="bold")
    for name in header:
        table.add_column(escape(name), overflow="fold")
    for row in rows:
        table.add_row(*(escape(cell) for cell in row))
    console.print(table)
