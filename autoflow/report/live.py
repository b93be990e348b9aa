"""What a person sees while a search runs: a live view on a terminal, one line a trial in a log."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from autoflow.budget import Budget, format_duration
from autoflow.report.leaderboard import part_of_rows
from autoflow.report.plain import plain, visible
from autoflow.search.events import (
    DataReady,
    Event,
    Notice,
    RefitEnded,
    RefitStarted,
    Resumed,
    Stage,
    TrialEnded,
    TrialStarted,
    Warned,
)

if TYPE_CHECKING:
    from autoflow.search.trial import TrialJob, TrialResult

_SHOWN_IMPROVEMENTS = 5
_SHOWN_NAMES = 8


class LiveView:
    """Draws the events of a run; a context manager and an observer.

    Args:
        console: where to draw; a terminal gets the live view, everything else one line a trial.
        warnings: where warnings go when there is no live view, so that a script reads them apart.
        budget: of the run.
        metric: name of the score.
        quiet: show nothing but warnings.
    """

    def __init__(
        self, console: Console, warnings: Console, *, budget: Budget, metric: str, quiet: bool
    ) -> None:
        self._console = console
        self._warnings = warnings
        self._budget = budget
        self._metric = metric
        self._quiet = quiet
        self._used_before = 0.0
        self._stage = "reading the table"
        self._running: dict[int, tuple[TrialJob, float]] = {}
        self._refits: dict[int, tuple[TrialJob, float]] = {}
        self._num_finished = self._num_failed = 0
        self._improvements: list[tuple[float, TrialResult]] = []
        self._live: Live | None = None
        if console.is_terminal and not quiet:
            self._live = Live(
                get_renderable=self._render, console=console, refresh_per_second=4, transient=True
            )

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def __call__(self, event: Event) -> None:
        """Takes in one event."""
        match event:
            case Stage(text):
                self._stage = text
                self._running.clear()
                self._refits.clear()
                if self._live is None:
                    self._say(text)
            case Notice(text):
                self._say(text)
            case Warned(text):
                self._warn(text)
            case DataReady():
                self._show_data(event)
            case Resumed():
                self._show_resumed(event)
            case TrialStarted(job):
                self._running[job.number] = (job, time.monotonic())
                self._stage = "searching"
            case TrialEnded():
                self._show_trial(event)
            case RefitStarted(job):
                self._refits[job.number] = (job, time.monotonic())
                if self._live is None:
                    clock = format_duration(self._elapsed())
                    self._say(f"[{clock}] fitting trial {job.number} on all rows: {job.spec}")
            case RefitEnded(number):
                self._refits.pop(number, None)

    def _show_resumed(self, event: Resumed) -> None:
        self._used_before = event.seconds_used
        self._num_finished, self._num_failed = event.num_finished, event.num_failed
        if event.best is not None:
            self._improvements.append((event.seconds_used, event.best))
        used = format_duration(event.seconds_used)
        num_trials = event.num_finished + event.num_failed
        trials_are = "1 trial is" if num_trials == 1 else f"{num_trials} trials are"
        self._say(f"going on with an earlier run: {trials_are} done, {used} of the time is used")

    def _show_data(self, event: DataReady) -> None:
        dataset, schema = event.dataset, event.dataset.schema
        self._say(
            f"{dataset.name}: {dataset.num_rows:,} rows, {len(schema.columns)} feature "
            f"{'column' if len(schema.columns) == 1 else 'columns'}, "
            f"label '{schema.label}' with {len(schema.classes)} classes"
        )
        for note in event.notes:
            self._say(note)
        kinds: dict[str, list[str]] = {}
        for column in schema.columns:
            kinds.setdefault(column.kind.value, []).append(column.name)
        for kind, names in kinds.items():
            more = f" and {len(names) - _SHOWN_NAMES} more" if len(names) > _SHOWN_NAMES else ""
            self._say(f"{kind}: {', '.join(names[:_SHOWN_NAMES])}{more}")
        for dropped in schema.dropped[:_SHOWN_NAMES]:
            self._say(f"left out: {dropped.name} ({dropped.reason})")
        if len(schema.dropped) > _SHOWN_NAMES:
            self._say(f"left out: {len(schema.dropped) - _SHOWN_NAMES} more columns, see autoflow check")
        self._say(f"scored by {event.validation}")
        for warning in event.warnings:
            self._warn(warning)

    def _show_trial(self, event: TrialEnded) -> None:
        result = event.result
        self._running.pop(result.number, None)
        self._num_finished, self._num_failed = event.num_finished, event.num_failed
        improved = event.best is not None and event.best.number == result.number
        if improved:
            self._improvements.append((self._elapsed(), result))
        if self._live is None:
            outcome = f"{self._metric} {result.score:.4f}" if result.finished else result.message
            mark = " (best so far)" if improved else ""
            clock = format_duration(self._elapsed())
            took = format_duration(result.seconds)
            spec = f"{result.spec}{part_of_rows(result.share)}"
            self._say(f"[{clock}] trial {result.number}: {outcome}{mark}, {spec}, {took}")

    def _elapsed(self) -> float:
        """Returns the budget used so far, by earlier sessions too."""
        return self._budget.elapsed() + self._used_before

    def _say(self, text: str) -> None:
        if not self._quiet:
            self._console.print(Text(visible(text)), soft_wrap=not self._console.is_terminal)

    def _warn(self, text: str) -> None:
        # above a live view there is one screen only
        console = self._warnings if self._live is None else self._console
        console.print(Text(f"warning: {visible(text)}", style="yellow"), soft_wrap=not console.is_terminal)

    def _render(self) -> RenderableType:
        elapsed, seconds = self._elapsed(), self._budget.seconds
        head = Table.grid(padding=(0, 2))
        head.add_row(
            Text(self._stage, style="bold"),
            ProgressBar(total=seconds, completed=min(elapsed, seconds), width=30),
            Text(f"{format_duration(max(seconds - elapsed, 0))} left", style="cyan"),
        )
        counts = Text(
            f"{self._num_finished} trials done, {len(self._running)} running, "
            f"{self._num_failed} without a score"
        )
        parts: list[RenderableType] = [head, counts]
        now = time.monotonic()
        running = [("trial", *each) for each in list(self._running.values())]
        running += [("on all rows, trial", *each) for each in list(self._refits.values())]
        for what, job, started in running:
            text = f"  {what} {job.number}: {job.spec} ({format_duration(now - started)})"
            parts.append(Text(text, style="dim", overflow="ellipsis", no_wrap=True))
        if self._improvements:
            parts.append(self._improvement_table())
        return Group(*parts)

    def _improvement_table(self) -> Table:
        table = Table(box=None, padding=(0, 2), header_style="bold", expand=True)
        score = f"best {self._metric}"
        table.add_column("at", justify="right", no_wrap=True, width=7)
        table.add_column(score, justify="right", no_wrap=True, width=len(score))
        table.add_column("made of", overflow="ellipsis", no_wrap=True, ratio=1)
        for at, result in self._improvements[-_SHOWN_IMPROVEMENTS:]:
            table.add_row(format_duration(at), f"{result.score:.4f}", plain(str(result.spec)))
        return table
