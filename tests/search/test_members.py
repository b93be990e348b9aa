"""The members as they stand are chosen from what the run folder keeps; damaged files are passed over."""

import numpy as np

from autoflow.search.ensemble import Selection
from autoflow.search.ledger import DamagedTrialError
from autoflow.search.members import MAX_MEMBERS, Member, MemberChooser
from autoflow.search.trial import Outcome, TrialResult

LABELS = np.random.default_rng(0).integers(0, 2, 400).astype(np.int32)


class FakeLedger:
    def __init__(self, probabilities, damaged=()):
        self.kept, self.damaged, self.reads = probabilities, damaged, []

    def probabilities(self, number):
        self.reads.append(number)
        if number in self.damaged:
            raise DamagedTrialError(f"trial {number} is damaged")
        return self.kept[number]


def trial(number):
    return TrialResult(number, None, Outcome.FINISHED, 0.5, 0.5, 1.0)


def guesses(seed, strength=1.0):
    noise = np.random.default_rng(seed).normal(0, 1.5, len(LABELS))
    positive = 1 / (1 + np.exp(-(strength * (2 * LABELS - 1) + noise)))
    return np.stack([1 - positive, positive], axis=1).astype(np.float32)


def chooser(ledger, metric="log_loss"):
    return MemberChooser(ledger, LABELS, 2, metric, 0)


def test_different_good_trials_are_averaged_and_read_once():
    ledger = FakeLedger([guesses(seed) for seed in range(4)])
    choosing = chooser(ledger)
    members = choosing.choose([trial(number) for number in range(4)], MAX_MEMBERS)
    assert len(members) > 1
    assert abs(sum(member.weight for member in members) - 1) < 1e-9
    assert [member.weight for member in members] == sorted((m.weight for m in members), reverse=True)
    choosing.choose([trial(number) for number in range(4)], MAX_MEMBERS)
    assert sorted(ledger.reads) == [0, 1, 2, 3]


def test_a_damaged_trial_is_passed_over_and_named():
    ledger = FakeLedger([guesses(seed) for seed in range(3)], damaged={0})
    choosing = chooser(ledger)
    members = choosing.choose([trial(number) for number in range(3)], MAX_MEMBERS)
    assert 0 not in {member.trial.number for member in members}
    assert "trial 0" in choosing.damaged[0]
    assert chooser(FakeLedger([None], damaged={0})).choose([trial(0)], MAX_MEMBERS) == ()


def test_a_quick_choice_is_by_log_loss_whatever_the_metric(monkeypatch):
    asked = []

    def noted(candidates, labels, *, metric, max_members):
        asked.append(metric)
        return Selection({candidates[0].number: 1.0}, 0.0)

    monkeypatch.setattr("autoflow.search.members.select", noted)
    choosing = chooser(FakeLedger([guesses(0)]), metric="roc_auc")
    assert choosing.choose([trial(0)], 1, quickly=True) == (Member(trial(0), 1.0),)
    choosing.choose([trial(0)], 1)
    assert asked == ["log_loss", "roc_auc"]
