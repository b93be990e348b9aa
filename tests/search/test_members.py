"""The members as they stand are chosen from what the run folder keeps; damaged files are passed over."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from autoflow import metrics
from autoflow.components.classification.logistic_regression import LogisticRegression
from autoflow.components.classification.majority import Majority
from autoflow.components.concatenation.plain_concat import PlainConcat
from autoflow.data.split import make_choice_folds
from autoflow.pipeline.spec import PipelineSpec
from autoflow.search import members as members_module
from autoflow.search.ensemble import Selection
from autoflow.search.evaluate import STOPPED
from autoflow.search.ledger import DamagedTrialError
from autoflow.search.members import Member, MemberChooser
from autoflow.search.trial import Outcome, TrialResult

PIPELINE = PipelineSpec((), PlainConcat(), Majority())
LABELS = np.random.default_rng(0).integers(0, 2, 400).astype(np.int32)


class FakeLedger:
    def __init__(self, probabilities, damaged=()):
        self.kept, self.damaged, self.reads = probabilities, damaged, []

    def probabilities(self, number):
        self.reads.append(number)
        if number in self.damaged:
            raise DamagedTrialError(f"trial {number} is damaged")
        return self.kept[number]


def trial(number, *, recipe=None, share=1.0, message=""):
    """A trial of a pipeline of its own, or of a named one."""
    pipeline = SimpleNamespace(classifier=PIPELINE.classifier, fingerprint=recipe or f"recipe {number}")
    return TrialResult(number, pipeline, Outcome.FINISHED, 0.5, 0.5, 1.0, share=share, message=message)


def guesses(seed, strength=1.0):
    noise = np.random.default_rng(seed).normal(0, 1.5, len(LABELS))
    positive = 1 / (1 + np.exp(-(strength * (2 * LABELS - 1) + noise)))
    return np.stack([1 - positive, positive], axis=1).astype(np.float32)


def chooser(ledger, metric="log_loss"):
    return MemberChooser(ledger, LABELS, 2, metric, 0)


def test_different_good_trials_are_averaged_and_read_once():
    ledger = FakeLedger([guesses(seed) for seed in range(4)])
    choosing = chooser(ledger)
    members = choosing.choose([trial(number) for number in range(4)], 5)
    assert len(members) > 1
    assert abs(sum(member.weight for member in members) - 1) < 1e-9
    assert [member.weight for member in members] == sorted((m.weight for m in members), reverse=True)
    choosing.choose([trial(number) for number in range(4)], 5)
    assert sorted(ledger.reads) == [0, 1, 2, 3]


def test_a_trial_that_is_certain_of_few_rows_does_not_stand_alone():
    certain = np.eye(2, dtype=np.float32)[LABELS]
    fair = np.float32(0.99 * certain + 0.005)
    kept = [certain, fair]
    choosing = chooser(FakeLedger(kept))
    (best,) = choosing.choose([trial(1), trial(0)], 1)
    assert best.trial.number == 1
    weights = {each.trial.number: each.weight for each in choosing.choose([trial(1), trial(0)], 5)}
    assert weights.get(0, 0.0) < 0.9
    worth = choosing.cross_chosen((best,), [trial(1), trial(0)], FOLDS)
    assert loss_of(worth) == pytest.approx(-np.log(0.995), abs=5e-3)


def test_a_pipeline_that_was_tried_on_more_rows_later_is_one_member():
    ledger = FakeLedger([guesses(seed) for seed in range(3)])
    trials = [trial(0, recipe="a", share=0.25), trial(1, recipe="a"), trial(2, recipe="b")]
    chosen = {member.trial.number for member in chooser(ledger).choose(trials, 5)}
    assert chosen == {1, 2}
    assert 0 not in ledger.reads


def test_what_the_clock_stopped_on_more_rows_does_not_stand_for_a_better_trial():
    ledger = FakeLedger([guesses(seed) for seed in range(3)])
    stopped = trial(1, recipe="a", message=STOPPED)
    others = [trial(0, recipe="a", share=0.25), trial(2, recipe="b")]
    worse, better = [*others, stopped], [stopped, *others]
    assert {member.trial.number for member in chooser(ledger).choose(worse, 5)} == {0, 2}
    assert {member.trial.number for member in chooser(ledger).choose(better, 5)} == {1, 2}


def test_many_of_one_kind_leave_room_for_another():
    lucky = guesses(0)
    noise = np.random.default_rng(1).normal(0, 1e-3, (30, *lucky.shape))
    alike = [np.float32(lucky * np.exp(each)) for each in noise]
    other = guesses(31)
    choosing = chooser(FakeLedger([*alike, other]))
    ranking = [trial(number) for number in range(30)]
    ranking.append(replace(trial(30), spec=replace(PIPELINE, classifier=LogisticRegression())))
    members = choosing.choose(ranking, 5)
    assert 30 in {member.trial.number for member in members}
    assert 30 in {member.trial.number for member in choosing.choose(ranking, 5, quickly=True)}


def test_of_very_many_probabilities_log_loss_still_chooses_among_all_candidates(monkeypatch):
    monkeypatch.setattr("autoflow.search.members._CANDIDATE_CELLS", 1)
    ledger = FakeLedger([guesses(seed) for seed in range(6)])
    members = chooser(ledger).choose([trial(number) for number in range(6)], 5)
    assert len(members) > 2
    assert sorted(ledger.reads) == [0, 1, 2, 3, 4, 5]


def test_a_damaged_trial_is_passed_over_and_named():
    ledger = FakeLedger([guesses(seed) for seed in range(3)], damaged={0})
    choosing = chooser(ledger)
    members = choosing.choose([trial(number) for number in range(3)], 5)
    assert 0 not in {member.trial.number for member in members}
    assert "trial 0" in choosing.damaged[0]
    assert chooser(FakeLedger([None], damaged={0})).choose([trial(0)], 5) == ()


def test_a_quick_choice_is_by_log_loss_whatever_the_metric(monkeypatch):
    asked = []

    def noted(candidates, labels, *, metric, **others):
        asked.append(metric)
        return Selection({candidates[0].number: 1.0}, 0.0)

    monkeypatch.setattr("autoflow.search.members.select", noted)
    choosing = chooser(FakeLedger([guesses(0)]), metric="roc_auc")
    assert choosing.choose([trial(0)], 1, quickly=True) == (Member(trial(0), 1.0),)
    choosing.choose([trial(0)], 1)
    assert asked == ["log_loss", "roc_auc"]


FOLDS = make_choice_folds(LABELS, feature_keys=np.arange(len(LABELS)), groups=None, moments=None, seed=1)


@pytest.mark.parametrize("metric", ["log_loss", "roc_auc"])
def test_what_trials_gain_is_told_of_each_readable_pipeline_once(metric):
    same = guesses(0)
    kept = [same, guesses(1), (same + 0.001) / 1.002, guesses(2, strength=0.1), guesses(3), same]
    ledger = FakeLedger(kept, damaged={4})
    ranking = [trial(0), trial(1), trial(2), trial(3), trial(4), trial(5, recipe="recipe 0")]
    choosing = chooser(ledger, metric)
    members = [Member(ranking[0], 0.5), Member(ranking[4], 0.5)]
    found = choosing.gains(ranking, members)
    assert found.keys() == {0, 1, 2, 3}
    assert found[1] > found[3]
    assert found[1] > 50 * abs(found[2])
    assert "4" in choosing.damaged[4]
    assert choosing.gains(ranking, members) == found
    assert sorted(ledger.reads) == [0, 1, 2, 3, 4]
    assert choosing.gains(ranking, []) == {}


def test_of_many_rows_a_part_tells_what_trials_gain(monkeypatch):
    ranking = [trial(number) for number in range(4)]
    kept = FakeLedger([guesses(0), guesses(1), guesses(2, strength=0.6), guesses(3, strength=-1)])
    members = [Member(ranking[0], 1.0)]
    exact = chooser(kept).gains(ranking, members)
    monkeypatch.setattr(members_module, "_JUDGING_ROWS", 200)
    some = chooser(kept).gains(ranking, members)
    assert exact != some
    for found in (some, exact):
        assert max(found, key=found.__getitem__) == 1
        assert min(found, key=found.__getitem__) == 3
    assert some[1] == pytest.approx(exact[1], rel=0.5)


def test_of_very_many_probabilities_only_the_best_are_read_for_their_gains(monkeypatch):
    monkeypatch.setattr(members_module, "_CANDIDATE_CELLS", 3 * LABELS.size)
    monkeypatch.setattr(members_module, "_READ_TIMES", 2)
    ranking = [trial(number) for number in range(8)]
    ledger = FakeLedger([guesses(seed) for seed in range(8)])
    assert chooser(ledger).gains(ranking, [Member(ranking[0], 1.0)]).keys() == {0, 1, 2, 3}


def loss_of(predicted):
    rows = np.concatenate([fold.validation for fold in FOLDS])
    return metrics.score("log_loss", LABELS[rows], predicted)


def test_choices_are_made_again_among_all_trials():
    ledger = FakeLedger([guesses(seed, 0.1) for seed in range(30)] + [guesses(30, 2.0), guesses(31, 4.0)])
    choosing = chooser(ledger)
    ranking = [
        trial(number) for number in (30, *range(30), 31)
    ]  # the best of all is too low to be a candidate
    members = choosing.choose(ranking, 1)
    assert [member.trial.number for member in members] == [30]
    assert choosing.cross_chosen(members, ranking, ()) is None
    ledger.reads.clear()
    predicted = choosing.cross_chosen(members, ranking, FOLDS)
    assert predicted.shape == (400, 2)
    assert loss_of(predicted) < 0.1
    assert sorted(ledger.reads) == [*range(32)]


def test_what_was_refused_at_the_end_is_no_choice():
    kept = [guesses(seed, strength) for seed, strength in enumerate([4.0, 2.0, 0.3, 4.0])]
    choosing = chooser(FakeLedger(kept, damaged={3}))
    ranking = [trial(number) for number in range(4)]
    chosen = choosing.choose(ranking, 1)
    assert chosen == (Member(trial(0), 1.0),)
    losses = [
        loss_of(choosing.cross_chosen((Member(trial(number), 1.0),), ranking, FOLDS)) for number in range(3)
    ]
    assert losses[0] < 0.1 < losses[1] < 0.3 < 0.5 < losses[2]
    assert "trial 3" in choosing.damaged[3]
    assert chooser(FakeLedger(kept, damaged=range(4))).cross_chosen(chosen, ranking, FOLDS) is None


def test_members_that_were_left_out_of_an_ensemble_are_no_choice():
    kept = [guesses(7, 1.0), guesses(8, 1.0), guesses(9, 1.6)]
    choosing = chooser(FakeLedger(kept))
    ranking = [trial(number) for number in (0, 1, 2)]
    members = choosing.choose(ranking, 3)
    assert {member.trial.number for member in members} == {0, 1, 2}
    together = loss_of(choosing.cross_chosen(members, ranking, FOLDS))
    left = tuple(Member(member.trial, 0.5) for member in members if member.trial.number != 2)
    without = loss_of(choosing.cross_chosen(left, ranking, FOLDS))
    assert together < metrics.score("log_loss", LABELS, kept[2]) < without
    assert without < metrics.score("log_loss", LABELS, kept[0])
