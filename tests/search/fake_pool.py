"""A pool of workers without processes, and a study that uses it."""

from dataclasses import dataclass, field

import numpy as np

from autoflow.budget import Budget
from autoflow.data.schema import ColumnKind, ColumnProfile, DataProfile
from autoflow.search.costs import FinishCosts
from autoflow.search.ledger import Ledger
from autoflow.search.members import MemberChooser
from autoflow.search.portfolio import recipes
from autoflow.search.sampler import Sampler
from autoflow.search.study import Study
from autoflow.search.trial import Outcome, Refit, RefitResult, TrialJob, TrialResult

PROFILE = DataProfile(
    500,
    (300, 200),
    (
        ColumnProfile("age", ColumnKind.NUMERIC, 60, 0.1),
        ColumnProfile("town", ColumnKind.CATEGORICAL, 12, 0.0, 8.0),
        ColumnProfile("note", ColumnKind.TEXT, 480, 0.0, 90.0),
    ),
)


@dataclass
class FakePool:
    """Answers each trial and fit on all rows at once; `answer` makes the result of a trial."""

    answer: object
    num_workers: int = 2
    jobs: dict[int, TrialJob] = field(default_factory=dict)
    knows: set[int] = field(default_factory=set)
    started: list[TrialJob] = field(default_factory=list)
    refits: list[Refit] = field(default_factory=list)
    forgotten: set[int] = field(default_factory=set)

    def idle(self):
        return [worker for worker in range(self.num_workers) if worker not in self.jobs]

    def knows_tensorflow(self, worker):
        return worker in self.knows

    def start(self, worker, work, *, needs_tensorflow):
        self.jobs[worker] = work
        (self.refits if isinstance(work, Refit) else self.started).append(work)
        if needs_tensorflow:
            self.knows.add(worker)

    def forget(self, number):
        self.forgotten |= {worker for worker, job in self.jobs.items() if job.number == number}

    def wait(self, seconds):
        if not self.jobs:
            return []
        return self.come_back(self.next_worker())

    def come_back(self, worker):
        job = self.jobs.pop(worker)
        if worker in self.forgotten:
            self.forgotten.remove(worker)
            return []
        return [RefitResult(job.number, "pipeline") if isinstance(job, Refit) else self.answer(job)]

    def next_worker(self):
        return next(iter(self.jobs))

    def abandon_trials(self):
        self.jobs = {worker: job for worker, job in self.jobs.items() if isinstance(job, Refit)}
        self.forgotten.clear()

    def abandon_refits(self):
        self.jobs = {worker: job for worker, job in self.jobs.items() if not isinstance(job, Refit)}


def scored(job):
    # a smooth landscape that depends on the recipe only
    score = 0.2 + (int(job.spec.fingerprint, 16) % 1000) / 1000
    return TrialResult(
        job.number,
        job.spec,
        Outcome.FINISHED,
        score,
        score,
        0.01,
        7,
        probabilities=np.ones((4, 2), np.float32) / 2,
        artifact=b"x",
        share=job.share,
    )


def study_in(
    folder,
    pool,
    *,
    max_trials=20,
    seconds=60.0,
    observer=lambda event: None,
    should_stop=lambda: False,
    rungs=(1.0,),
    num_folds=1,
    costs=None,
    started=None,
):
    ledger = Ledger(folder, {"data": "d"})
    study = Study(
        pool=pool,
        sampler=Sampler(PROFILE, 0),
        ledger=ledger,
        chooser=MemberChooser(ledger, np.array([0, 1, 0, 1], np.int32), 2, "log_loss", 0),
        budget=Budget(seconds) if started is None else Budget(seconds, started),
        costs=costs or FinishCosts(1.0, 0.0, 0.3, num_folds),
        metric="log_loss",
        seed=0,
        max_trials=max_trials,
        recipes=recipes(PROFILE),
        observer=observer,
        should_stop=should_stop,
        rungs=rungs,
    )
    study.restore()
    return study
