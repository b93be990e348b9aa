"""The process that runs trials, one after the other.

It imports TensorFlow only when a trial needs it, says nothing, and cleans up after each trial.
"""

from __future__ import annotations

import contextlib
import ctypes
import os

import psutil
import threadpoolctl

from autoflow.components.discovery import ComponentFile, discover
from autoflow.search.evaluate import Evaluator, Experiment
from autoflow.search.leftovers import scratch_folder
from autoflow.search.trial import PartResult, Refit, RefitResult, TrialJob, TrialResult

_LARGE_BYTES = 1.2e9
"""Of a worker's own memory: more than Python, TensorFlow and the trials of a small table take."""


class RayWorker:
    """One long-lived worker process; Ray makes it an actor.

    Args:
        component_files: the user's own components.
        num_threads: threads that a fit may use.
        session: names the folder of prepared features, which the workers of a machine share.
    """

    def __init__(self, component_files: tuple[ComponentFile, ...], num_threads: int, session: str) -> None:
        set_thread_environment(num_threads)
        # NumPy's was read before, perhaps from what the user has set for himself
        threadpoolctl.threadpool_limits(num_threads)
        _say_nothing()
        discover(component_files)
        # the first trials need these; their import overlaps with that of TensorFlow in the driver
        import lightgbm  # noqa: F401
        import sklearn.ensemble
        import sklearn.linear_model  # noqa: F401

        self._num_threads = num_threads
        self._cache_folder = scratch_folder(session) / "prepared"
        self._evaluator: Evaluator | None = None

    def begin(self, experiment: Experiment) -> int:
        """Takes the data; returns the process id."""
        from autoflow.pipeline.cache import PreparedCache

        self._evaluator = Evaluator(experiment, PreparedCache(self._cache_folder), self._num_threads)
        return os.getpid()

    def evaluate(self, job: TrialJob) -> TrialResult | PartResult:
        """Runs one trial or its part of one, and ends the processes that it left behind."""
        assert self._evaluator is not None
        before = set(psutil.Process().children(recursive=True))
        try:
            if job.folds is None:
                return self._evaluator.evaluate(job)
            return self._evaluator.evaluate_part(job)
        finally:
            for process in set(psutil.Process().children(recursive=True)) - before:
                with contextlib.suppress(psutil.Error):  # it went by itself
                    process.kill()
            _give_memory_back()

    def refit(self, refit: Refit) -> RefitResult:
        """Fits a pipeline on all rows."""
        assert self._evaluator is not None
        try:
            return RefitResult(refit.number, self._evaluator.refit(refit.trial, refit.iterations))
        finally:
            _give_memory_back()


def _give_memory_back() -> None:
    """Lets the C library return what trials freed: it keeps gigabytes for itself (glibc only)."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    memory = psutil.Process().memory_info()
    if trim is not None and memory.rss - memory.shared > _LARGE_BYTES:
        trim(0)


def _say_nothing() -> None:
    """Drops what trials print: Ray would keep a gigabyte of it in files that nobody reads."""
    sink = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(sink, stream)
    os.close(sink)


def set_thread_environment(num_threads: int) -> None:
    """Limits the threads of libraries that are not imported yet, and keeps them from spinning."""
    os.environ["OMP_NUM_THREADS"] = str(num_threads)
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    os.environ["TF_NUM_INTRAOP_THREADS"] = str(num_threads)
    os.environ["TF_NUM_INTEROP_THREADS"] = "1"
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    os.environ["KERAS_BACKEND"] = "tensorflow"
