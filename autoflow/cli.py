"""The command line: parse, call one function, print. Heavy imports happen inside the commands."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from autoflow.errors import AutoFlowError, RunInterrupted, shortened
from autoflow.report.plain import plain
from autoflow.report.terminal import show_model, show_next, show_scores, show_table, show_warnings, terminal

_WRONG_COMMAND_LINE: Any = typer.BadParameter.__bases__
"""What the parser raises: typer's own class or that of click, by its version."""


class _Commands(TyperGroup):
    """The commands; a wrong command line is one line in our own style, and no arguments ask for help."""

    def main(self, args: Sequence[str] | None = None, *others: Any, **options: Any) -> Any:
        """Parses and runs, and ends the process with the exit code."""
        given = list(sys.argv[1:] if args is None else args)
        try:
            code = super().main(given or ["--help"], *others, **options | {"standalone_mode": False})
        except _WRONG_COMMAND_LINE as error:
            code = 2
            command = error.ctx.command_path if error.ctx else "autoflow"
            message = error.format_message().strip().rstrip(".")
            _complain(f"{message[:1].lower()}{message[1:]}; see {command} --help", debug=False)
        sys.exit(code)


app = typer.Typer(
    name="autoflow",
    cls=_Commands,
    help="Builds a classifier from a labelled table and exports it as a TensorFlow SavedModel for raw rows.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Data = Annotated[Path, typer.Argument(help="CSV, TSV, JSON lines or Parquet, also .gz", metavar="DATA")]
Model = Annotated[Path, typer.Argument(help="run folder or exported version folder", metavar="MODEL")]
Label = Annotated[
    str | None, typer.Option(help="label column [found by its name, else the last]", metavar="COLUMN")
]
Encoding = Annotated[str | None, typer.Option(help="of text files, such as latin-1 [UTF-8]", metavar="NAME")]
ImageFolder = Annotated[
    Path | None, typer.Option(help="where the paths of pictures start [the table's folder]", metavar="DIR")
]
Group = Annotated[
    str | None,
    typer.Option(help="rows with equal values here are never parted; no feature", metavar="COLUMN"),
]
TimeColumn = Annotated[
    str | None, typer.Option(help="check models of earlier rows on later ones", metavar="COLUMN")
]
Ignore = Annotated[
    list[str] | None, typer.Option(help="leave this column out, again for more", metavar="COLUMN")
]
Debug = Annotated[bool, typer.Option("--debug", help="show the traceback of an error")]


def main() -> None:
    """Entry point of the `autoflow` command."""
    logging.getLogger("autoflow").propagate = False  # the commands print what matters
    logging.getLogger("autoflow").addHandler(logging.NullHandler())
    code = 0
    try:
        app()
    except SystemExit as done:
        code = done.code if isinstance(done.code, int) else int(done.code is not None)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # the reader may have gone
            stream.flush()
    # Arrow's threads, ended with the interpreter, abort the process now and then; all of ours is closed here
    os._exit(code)


def _reporting(command: Callable[..., int]) -> Callable[..., None]:
    """Turns what a command raises into a line and an exit code."""

    @functools.wraps(command)
    def wrapped(*args: Any, **options: Any) -> None:
        try:
            code = command(*args, **options)
        except AutoFlowError as error:
            code = 128 + error.signal_number if isinstance(error, RunInterrupted) else error.exit_code
            _complain(str(error), debug=options.get("debug", False))
        except KeyboardInterrupt:
            code = 130
            _complain("interrupted; repeat the same command", debug=False)
        except BrokenPipeError:  # the reader of our output has seen enough
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115
            code = 0
        except MemoryError:
            code = 5
            _complain("this machine has too little memory for that table", debug=options.get("debug", False))
        except Exception as error:
            code = 70
            debug = options.get("debug", False)
            hint = "" if debug else "; repeat it with --debug and send us what it prints"
            _complain(f"a bug in AutoFlow: {type(error).__name__}: {error}{hint}", debug=debug)
        raise typer.Exit(code)

    return wrapped


def _complain(message: str, *, debug: bool) -> None:
    if debug:
        traceback.print_exc()
    terminal(stderr=True).print(f"[red]error:[/red] {plain(message)}", soft_wrap=True)


@app.command()
@_reporting
def fit(
    data: Data,
    label: Label = None,
    time_budget: Annotated[str, typer.Option(help="for everything, such as 90s, 5m, 1h30m")] = "5m",
    max_trials: Annotated[int | None, typer.Option(min=1, help="trials in all", metavar="N")] = None,
    metric: Annotated[
        str, typer.Option(help="log_loss, accuracy, balanced_accuracy, roc_auc or f1 (the mean over classes)")
    ] = "log_loss",
    output: Annotated[Path | None, typer.Option(help="run folder [<table>-autoflow]", metavar="DIR")] = None,
    seed: Annotated[int, typer.Option(help="with --workers 1 and --max-trials a run repeats")] = 0,
    workers: Annotated[
        int | None, typer.Option(min=1, help="trials side by side [one a core]", metavar="N")
    ] = None,
    ray_address: Annotated[str | None, typer.Option(help="Ray cluster to join", metavar="ADDRESS")] = None,
    components: Annotated[
        list[Path] | None, typer.Option(help="components of your own", metavar="FILE.py")
    ] = None,
    test: Annotated[
        Path | None, typer.Option(help="labelled table to score the model on", metavar="DATA")
    ] = None,
    group: Group = None,
    time_column: TimeColumn = None,
    ignore: Ignore = None,
    max_latency_ms: Annotated[
        float,
        typer.Option(help="that one row may take when the model serves", metavar="MS", show_default=False),
    ] = float("inf"),
    max_size_mb: Annotated[
        float,
        typer.Option(help="size of the exported model at most", metavar="MB", show_default=False),
    ] = float("inf"),
    embedding: Annotated[
        list[Path] | None,
        typer.Option(
            help="model of other rows whose embeddings are features, again for more", metavar="FOLDER"
        ),
    ] = None,
    image_weights: Annotated[
        list[str] | None,
        typer.Option(help="pretrained network for pictures, again for more", metavar="ARCHITECTURE=FILE"),
    ] = None,
    text_embeddings: Annotated[
        list[Path] | None,
        typer.Option(help="pretrained Model2Vec embeddings of texts, again for more", metavar="FOLDER"),
    ] = None,
    encoding: Encoding = None,
    image_folder: ImageFolder = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="print the model folder only")] = False,
    debug: Debug = False,
) -> int:
    """Search for the best model of a labelled table and export it."""
    from autoflow.budget import Budget, parse_duration
    from autoflow.components.discovery import ComponentFile
    from autoflow.export.saved_model import Limits
    from autoflow.report.live import LiveView
    from autoflow.run import execute
    from autoflow.serving.predictor import find_version, load
    from autoflow.settings import RunSettings, default_output

    settings = RunSettings(
        output=output or default_output(str(data)),
        label=label,
        seconds=parse_duration(time_budget),
        max_trials=max_trials,
        metric=metric,
        seed=seed,
        workers=workers,
        ray_address=ray_address,
        component_files=tuple(ComponentFile.read(path) for path in components or []),
        encoding=encoding,
        image_folder=image_folder,
        source=str(data),
        test=test,
        embeddings=tuple(find_version(folder) for folder in embedding or []),
        image_weights=tuple(image_weights or []),
        group=group,
        time_column=time_column,
        ignored=tuple(ignore or []),
        limits=Limits(max_latency_ms, max_size_mb),
        text_embeddings=tuple(text_embeddings or []),
    )
    budget = Budget.since_process_start(settings.seconds)
    console = terminal()
    view = LiveView(console, terminal(stderr=True), budget=budget, metric=metric, quiet=quiet)
    with view:
        report = execute(data, settings, view, budget)
    if quiet:
        typer.echo(str(report.model.folder))
    else:
        show_model(console, report)
    if test is not None:
        predictor = load(report.model.folder)
        scores = predictor.evaluate(test, encoding=encoding, image_folder=image_folder)
        show_warnings(predictor)
        show_scores(console, scores.to_json(), f"on {test}")
    if not quiet:
        show_next(console, report)
    return 128 + report.signal_number if report.signal_number else 0


@app.command()
@_reporting
def predict(
    model: Model,
    data: Data,
    output: Annotated[
        Path | None, typer.Option(help=".csv, .csv.gz or .parquet [standard output]", metavar="FILE")
    ] = None,
    encoding: Encoding = None,
    image_folder: ImageFolder = None,
    debug: Debug = False,
) -> int:
    """Write the label and the score of every class for each row."""
    from autoflow.serving.predictor import load
    from autoflow.serving.tables import check_output, write_table

    if output is not None:
        check_output(output, keep=(data, model))
    predictor = load(model)
    table = predictor.predict_table(data, encoding=encoding, image_folder=image_folder)
    show_warnings(predictor)
    write_table(table, output)
    if output is not None:
        terminal().print(f"{len(table)} rows written to {plain(str(output))}", soft_wrap=True)
    return 0


@app.command()
@_reporting
def evaluate(
    model: Model,
    data: Data,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
    encoding: Encoding = None,
    image_folder: ImageFolder = None,
    debug: Debug = False,
) -> int:
    """Score an exported model on a labelled table."""
    import json

    from autoflow.serving.predictor import load

    predictor = load(model)
    scores = predictor.evaluate(data, encoding=encoding, image_folder=image_folder).to_json()
    show_warnings(predictor)
    if as_json:
        typer.echo(json.dumps(scores, ensure_ascii=False))
    else:
        show_scores(terminal(), scores, f"on {data}")
    return 0


@app.command()
@_reporting
def check(
    data: Data,
    label: Label = None,
    encoding: Encoding = None,
    image_folder: ImageFolder = None,
    group: Group = None,
    time_column: TimeColumn = None,
    ignore: Ignore = None,
    debug: Debug = False,
) -> int:
    """Show what AutoFlow sees in a table and whether it would accept it."""
    from autoflow.budget import format_duration
    from autoflow.data.dataset import load_dataset
    from autoflow.data.plan import plan_rows
    from autoflow.settings import RunSettings

    dataset, notes, warnings = load_dataset(
        data,
        label=label,
        encoding=encoding,
        image_folder=image_folder,
        group=group,
        time_column=time_column,
        ignored=tuple(ignore or []),
    )
    schema = dataset.schema
    console = terminal()
    console.print(f"{dataset.num_rows} rows in {plain(dataset.name)}", soft_wrap=True)
    for note in notes:
        console.print(plain(note), soft_wrap=True)
    rows = [(column.name, column.kind.value, column.reason) for column in schema.columns]
    rows += [(dropped.name, "left out", dropped.reason) for dropped in schema.dropped]
    show_table(console, ("column", "kind", "why"), rows)
    classes = ", ".join(shortened(name, 80) for name in schema.classes[:12])
    more = " ..." if len(schema.classes) > 12 else ""
    console.print(plain(f"{len(schema.classes)} classes: {classes}{more}"), soft_wrap=True)
    plan = plan_rows(dataset, seed=0, seconds=RunSettings.seconds)
    time = f"in {format_duration(RunSettings.seconds)}"
    console.print(f"{time}, models would be scored by {plain(plan.description)}", soft_wrap=True)
    for warning in warnings:
        console.print(f"[yellow]warning:[/yellow] {plain(warning)}", soft_wrap=True)
    console.print("AutoFlow accepts this table.")
    return 0


@app.command()
@_reporting
def components(
    role: Annotated[
        str | None, typer.Argument(help="feature_extraction, concatenation or classification")
    ] = None,
    files: Annotated[
        list[Path] | None, typer.Option("--components", help="components of your own", metavar="FILE.py")
    ] = None,
    debug: Debug = False,
) -> int:
    """List the component repository with hyperparameters, ranges and defaults."""
    from autoflow.components.discovery import ComponentFile
    from autoflow.report.catalogue import catalogue

    console = terminal()
    for entry in catalogue(role, tuple(ComponentFile.read(path) for path in files or [])):
        reads = f" of {entry.reads}" if entry.reads else ""
        console.print(f"\n[bold]{plain(entry.name)}[/bold]  {entry.role}{reads}")
        console.print(f"  {plain(entry.summary)}", soft_wrap=True)
        for parameter in entry.hyperparameters:
            console.print(f"    {plain(parameter)}", soft_wrap=True)
    return 0


if __name__ == "__main__":
    main()
