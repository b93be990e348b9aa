"""The end of a run: what is noted about the model and survives a repeated command."""

import io
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from autoflow.components.classification.boosted_trees import BoostedTrees
from autoflow.components.classification.majority import Majority
from autoflow.data.dataset import load_dataset
from autoflow.data.plan import plan_rows
from autoflow.errors import NoModelError
from autoflow.export import verify
from autoflow.export.saved_model import Limits
from autoflow.export.verify import VerificationResult
from autoflow.figures import (
    cross_chosen_figures,
    held_out_figures,
    set_aside_figures,
    told_contributions,
)
from autoflow.finish import Finisher, NotFittedError
from autoflow.finished import FinishedModel, remember, remembered
from autoflow.manifest import Manifest, ManifestDetails, hash_files, write_manifest
from autoflow.pipeline.temperature import tempered
from autoflow.report.leaderboard import LeaderboardRow
from autoflow.report.terminal import show_model, show_next, show_scores
from autoflow.run import RunReport, _has_no_time
from autoflow.search.evaluate import Experiment
from autoflow.search.events import Warned
from autoflow.search.ledger import Ledger
from autoflow.search.members import Member, MemberChooser
from autoflow.search.trial import Outcome, TrialResult
from autoflow.settings import RunSettings

SHARES = {"[title]": 0.75, "price": 0.25}


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "run" / "model" / "1"
    scores = {"validation": {"log_loss": 0.5, "num_rows": 12}}
    verification = VerificationResult(verify.Outcome.PASSED, row_ms=0.5)
    return FinishedModel(folder, (), True, scores, verification, 1000, SHARES)


@pytest.mark.parametrize("shares", [SHARES, {}])
def test_a_repeated_command_knows_the_model_of_the_first(model, tmp_path, shares):
    ledger = Ledger(tmp_path / "run", {})
    remember(ledger, replace(model, contributions=shares, doubts=("odd",)), None)
    assert remembered(ledger, []) is None
    model.folder.mkdir(parents=True)
    (model.folder / "saved_model.pb").touch()
    schema = load_dataset(pd.DataFrame({"x": [0.5, 1.5] * 20, "label": ["a", "b"] * 20}))[0].schema
    files = hash_files(model.folder)
    write_manifest(Manifest(schema, ManifestDetails(), "", {}, files=files), model.folder)
    found = remembered(ledger, [])
    assert found is not None
    assert (found.folder, found.scores, found.contributions) == (model.folder, model.scores, shares)
    assert found.doubts == ("odd",)
    (model.folder / "saved_model.pb").write_text("flipped")
    assert remembered(ledger, []) is None


@pytest.mark.parametrize("shares", [SHARES, {}])
def test_the_report_names_the_columns_that_contributed(model, shares):
    dataset = load_dataset(pd.DataFrame({"x": [0.5, 1.5] * 20, "label": ["a", "b"] * 20}))[0]
    shown = replace(model, contributions=shares)
    report = RunReport(model.folder.parents[1], shown, dataset.schema, (), "log_loss", (), 1.0)
    console = Console(width=100, record=True, file=io.StringIO())
    show_model(console, report)
    assert ("listens to each column: [title] 75%, price 25%" in console.export_text()) == bool(shares)


def test_a_merge_that_fails_to_tell_costs_a_warning_and_no_model():
    class Broken:
        @property
        def members(self):
            raise RuntimeError("no gates")

        weights = (1.0,)

    dataset = load_dataset(pd.DataFrame({"x": [0.5, 1.5] * 20, "label": ["a", "b"] * 20}))[0]
    events = []
    assert told_contributions(Broken(), dataset, events.append) == {}
    assert [type(event) for event in events] == [Warned]
    assert "no gates" in events[0].text


def _finisher(probabilities, labels, metric="log_loss"):
    results = [
        TrialResult(
            number,
            SimpleNamespace(classifier=BoostedTrees(), fingerprint=str(number)),
            Outcome.FINISHED,
            0.0,
            0.0,
            1.0,
        )
        for number in probabilities
    ]
    study = SimpleNamespace(
        metric=metric,
        seed=0,
        ledger=SimpleNamespace(probabilities=probabilities.__getitem__),
        chooser=SimpleNamespace(labels=labels, ties=None),
        ranking=lambda: results,
        results=results,
        refits=SimpleNamespace(fitted={}, complete=(), wanted=lambda members: list(members)),
        fit_on_all_rows=lambda members: None,
    )
    finisher = Finisher(study, None, None, "data", [].append, lambda: False)
    return finisher, tuple(Member(result, 1 / len(results)) for result in results)


def test_members_that_could_not_be_fitted_again_are_left_out_where_the_others_are_as_good():
    labels = np.array([0, 1] * 50, np.int32)
    sure = np.eye(2, dtype=np.float32)[labels] * 0.8 + 0.1
    unsure = np.full((100, 2), 0.5, np.float32)
    finisher, members = _finisher({0: sure, 1: sure, 2: unsure}, labels)
    left = finisher._without(members[2:], members)
    assert [(member.trial.number, member.weight) for member in left] == [(0, 0.5), (1, 0.5)]
    with pytest.raises(NotFittedError):  # the best trial as it was scored is better than what is left
        finisher._without(members[:2], members)
    with pytest.raises(NotFittedError):
        finisher._without(members, members)


def test_what_is_left_of_a_choice_gives_way_to_a_better_mean_that_is_fitted():
    labels = np.array([0, 1] * 50, np.int32)
    fair = np.eye(2, dtype=np.float32)[labels] * 0.4 + 0.3
    # right where the other is not: together they are better than each, and than what is fair everywhere
    half, right = (np.arange(100) % 4 < 2)[:, None], np.eye(2, dtype=np.float32)[labels]
    first, second = np.where(half, right, 0.5), np.where(half, 0.5, right)
    finisher, members = _finisher({0: fair, 1: first, 2: second, 3: fair}, labels)
    assert len(finisher._without(members[1:3], members)) == 2
    finisher.study.refits.complete = tuple(replace(member, weight=0.5) for member in members[1:3])
    assert len(finisher._without(members[1:3], members)) == 2  # it could not be exported
    finisher.study.refits.fitted = {1: "fitted", 2: "fitted"}
    with pytest.raises(NotFittedError):
        finisher._without(members[1:3], members)


def test_what_is_left_is_judged_by_the_metric_of_the_search():
    labels = np.array([0, 1] * 50, np.int32)
    right = np.eye(2, dtype=np.float32)[labels]
    bold = np.where(np.arange(100)[:, None] < 96, right * 0.98 + 0.01, 0.98 - right * 0.96)
    timid = right * 0.02 + 0.49
    for metric, allowed in (("accuracy", True), ("log_loss", False)):
        finisher, members = _finisher({0: bold.astype(np.float32), 1: timid}, labels, metric)
        if allowed:
            assert [member.trial.number for member in finisher._without(members[:1], members)] == [1]
        else:
            with pytest.raises(NotFittedError):
                finisher._without(members[:1], members)


@pytest.mark.parametrize(
    ("weights", "refitted", "ok", "stays"),
    [
        ((0.7, 0.3), True, True, True),
        ((0.6, 0.4), True, True, False),
        ((1.0,), True, True, True),  # the ensemble cannot be fitted: the best alone is what there is
        ((0.7, 0.3), False, True, False),  # now there is time to fit it on all rows
        ((0.7, 0.3), True, False, False),  # now there is time to verify it
    ],
)
def test_a_model_of_the_same_members_is_not_published_again(model, weights, refitted, ok, stays):
    labels = np.array([0, 1] * 50, np.int32)
    sure = np.eye(2, dtype=np.float32)[labels] * 0.8 + 0.1
    finisher, members = _finisher({0: sure, 1: sure}, labels)
    chosen = tuple(replace(member, weight=weight) for member, weight in zip(members, (0.7, 0.3), strict=True))
    study = finisher.study
    study.costs = SimpleNamespace(affordable_members=lambda seconds: 5)
    study.budget = SimpleNamespace(remaining=lambda: 9.0)
    study.chooser.choose, study.chooser.damaged = (lambda ranking, most: chosen), {}
    outcome = verify.Outcome.PASSED if ok else verify.Outcome.TIMED_OUT
    earlier = replace(
        model,
        members=tuple(
            replace(member, weight=weight) for member, weight in zip(members, weights, strict=False)
        ),
        refitted=refitted,
        verification=VerificationResult(outcome),
    )
    study.ledger.artifact = lambda number: b""  # whoever goes on to that ends without a model
    experiment = SimpleNamespace(folds=())
    finisher = replace(
        finisher, earlier=earlier, verifier=SimpleNamespace(start=lambda: None), experiment=experiment
    )
    if stays:
        assert finisher.finish() is earlier
    else:
        with pytest.raises(NoModelError):
            finisher.finish()


def test_what_was_fitted_early_is_what_there_is_where_a_better_choice_fails():
    labels = np.array([0, 1] * 50, np.int32)
    sure = np.eye(2, dtype=np.float32)[labels] * 0.8 + 0.1
    finisher, members = _finisher(dict.fromkeys(range(4), sure), labels)
    study = finisher.study
    study.costs = SimpleNamespace(affordable_members=lambda seconds: 5)
    study.budget = SimpleNamespace(remaining=lambda: 9.0)
    study.chooser.choose, study.chooser.damaged = (lambda ranking, most: members[1:3]), {}
    finisher = replace(finisher, experiment=SimpleNamespace(folds=(None,)), observer=lambda event: None)
    for complete in ((), members[:1], members[:2], members[1:3]):
        study.refits.complete = complete
        plans = list(finisher._plans())
        assert plans[0] == members[1:3]
        assert plans.count(members[1:3]) == 1  # what failed is not tried twice
        assert (plans[1] == members[:2]) == (complete == members[:2])


@pytest.mark.parametrize("signal", [True, False])
def test_a_model_that_is_no_better_than_the_class_shares_is_doubted(signal):
    frame = pd.DataFrame({"x": np.arange(100) / 7, "sort": ["a", "b", "b", "a", "b"] * 20})
    dataset = load_dataset(frame, label="sort")[0]
    experiment = Experiment(dataset, plan_rows(dataset, seed=0, seconds=60).folds, "log_loss", 0)
    labels = dataset.labels[experiment.validation_rows]
    told = np.eye(2, dtype=np.float32)[labels] * 0.5 + 0.25
    answers = told if signal else experiment.class_shares
    scores, doubts = held_out_figures(answers, experiment)
    entropy = -(0.4 * np.log(0.4) + 0.6 * np.log(0.6))
    assert scores["class_shares"]["log_loss"] == pytest.approx(entropy, abs=0.01)
    assert scores["class_shares"]["num_rows"] == 100
    assert [
        doubt.startswith("the columns given do not seem to tell anything about 'sort'") for doubt in doubts
    ] == ([] if signal else [True])


def test_rows_set_aside_score_the_model_that_never_saw_them():
    dataset = load_dataset(pd.DataFrame({"x": np.arange(100) / 7, "sort": ["a", "b"] * 50}), label="sort")[0]
    aside = np.arange(10, 90, 2)  # all of class a
    experiment = Experiment(dataset, (), "log_loss", 0, set_aside=aside)

    class Model:
        def predict_probabilities(self, raw):
            np.testing.assert_array_equal(raw["x"], dataset.raw["x"][aside])
            sure = np.where(np.arange(40) % 2, 0.9, 0.5)
            return np.stack([sure, 1 - sure], axis=1).astype(np.float32)

    figures = set_aside_figures(Model(), experiment)
    losses = -np.log([0.5, 0.9] * 20)
    assert figures["num_rows"] == 40
    assert figures["log_loss"] == pytest.approx(losses.mean(), rel=1e-5)
    assert figures["log_loss_standard_error"] == pytest.approx(losses.std(ddof=1) / np.sqrt(40), rel=1e-5)


def _cross_validated(group=None):
    """Returns an experiment of 100 rows, and trials of which one tells the label."""
    columns = {"x": np.arange(100) / 7, "sort": ["a", "b"] * 50, "who": [str(n // 4) for n in range(100)]}
    dataset = load_dataset(pd.DataFrame(columns), label="sort", group=group)[0]
    experiment = Experiment(dataset, plan_rows(dataset, seed=0, seconds=60).folds, "log_loss", 0)
    labels = dataset.labels[experiment.validation_rows]
    told = np.eye(2, dtype=np.float32)[labels] * 0.5 + 0.25
    finisher, members = _finisher({0: told, 1: np.full((100, 2), 0.5, np.float32)}, labels)
    chooser = MemberChooser(finisher.study.ledger, labels, 2, "log_loss", 0)
    finisher.study.chooser = chooser
    return replace(finisher, experiment=experiment), members[:1]


def test_rows_that_did_not_choose_score_the_choice():
    finisher, members = _cross_validated()
    study = finisher.study
    given = (study.chooser, members, study.ranking(), finisher.experiment)
    figures = cross_chosen_figures(*given, finisher.observer)["cross_chosen"]
    assert figures["num_rows"] == 100
    assert figures["accuracy"] == 1.0
    assert figures["log_loss"] < -np.log(0.75) + 0.01
    assert 0 <= figures["log_loss_standard_error"] < 0.01
    assert cross_chosen_figures(*given, finisher.observer) == {"cross_chosen": figures}


def test_groups_do_not_choose_for_their_own_rows(monkeypatch):
    finisher, members = _cross_validated(group="who")
    asked = []
    monkeypatch.setattr(
        MemberChooser, "cross_chosen", lambda self, members, ranking, folds: asked.extend(folds)
    )
    study, experiment = finisher.study, finisher.experiment
    assert cross_chosen_figures(study.chooser, members, study.ranking(), experiment, finisher.observer) == {}
    groups = experiment.dataset.groups[experiment.validation_rows]
    assert len(asked) == 5
    assert not any(np.isin(groups[fold.train], groups[fold.validation]).any() for fold in asked)


def test_figures_that_fail_cost_a_warning_and_no_model():
    finisher, members = _cross_validated()
    chooser = SimpleNamespace(cross_chosen=lambda *_: 1 / 0)
    events = []
    assert cross_chosen_figures(chooser, members, [], finisher.experiment, events.append) == {}
    assert [type(event) for event in events] == [Warned]
    assert "ZeroDivisionError" in events[0].text


def test_without_rows_set_aside_choices_are_made_again_unless_the_user_wants_the_end():
    finisher, members = _cross_validated()
    held_out = finisher._probabilities(members)
    scores, _ = finisher._judged(members, held_out, 1.0)
    assert list(scores) == ["validation", "class_shares", "cross_chosen"]
    scores, _ = replace(finisher, should_stop=lambda: True)._judged(members, held_out, 1.0)
    assert list(scores) == ["validation", "class_shares"]


def test_a_baseline_that_was_alone_says_so_and_blames_no_column():
    finisher, members = _cross_validated()
    study, shares = finisher.study, finisher.experiment.class_shares
    baseline = [
        replace(study.ranking()[0], spec=SimpleNamespace(classifier=Majority(), fingerprint="baseline"))
    ]
    alone = (Member(baseline[0], 1.0),)
    _, (doubt,) = finisher._judged(members, shares, 1.0)
    assert doubt.startswith("the columns given do not seem to tell anything")
    says = "the model answers with the shares of the classes, whatever the columns say, as "
    _, (doubt,) = replace(finisher, limits=Limits(megabytes=0.1))._judged(alone, shares, 1.0)
    assert doubt == says + "none of the others could be exported within the limits"
    study.ranking = lambda: [*baseline, *_cross_validated()[0].study.ranking()]
    _, (doubt,) = finisher._judged(alone, shares, 1.0)  # it won, and nothing kept the others from it
    assert doubt.startswith("the columns given do not seem to tell anything")
    study.ranking = lambda: baseline
    for stopped, words in (
        (False, "give more with --time-budget or --max-trials"),
        (True, "repeat the command"),
    ):
        _, (doubt,) = replace(finisher, should_stop=lambda stopped=stopped: stopped)._judged(
            alone, shares, 1.0
        )
        assert doubt == f"{says}no other was ready in time; {words}"
    failed = replace(_cross_validated()[1][0].trial, outcome=Outcome.FAILED, message="ValueError: odd")
    study.results = [*baseline, failed]
    _, (doubt,) = finisher._judged(alone, shares, 1.0)
    assert doubt == says + "the others failed; the first: ValueError: odd"


@pytest.mark.parametrize(
    ("metric", "old", "new", "refitted", "stays"),
    [
        ("log_loss", 0.4, 0.5, False, True),
        ("log_loss", 0.4, 0.3, False, False),
        ("log_loss", 0.4, 0.5, True, False),
        ("accuracy", 0.9, 0.8, False, True),
        ("accuracy", 0.8, 0.9, False, False),
    ],
)
def test_a_model_fitted_on_all_rows_gives_way_to_better_ones_only(model, metric, old, new, refitted, stays):
    finisher, _ = _finisher({}, np.zeros(4, np.int32), metric)
    finisher = replace(finisher, earlier=replace(model, refitted=True, scores={"validation": {metric: old}}))
    assert finisher._is_no_gain({"validation": {metric: new}}, refitted=refitted) == stays
    unverified = replace(finisher.earlier, verification=VerificationResult(verify.Outcome.TIMED_OUT))
    assert not replace(finisher, earlier=unverified)._is_no_gain(
        {"validation": {metric: new}}, refitted=refitted
    )


def test_after_ctrl_c_what_is_fitted_on_all_rows_comes_before_folds():
    finisher, _ = _cross_validated()
    best, other = finisher.study.ranking()
    finisher.study.refits.complete = (Member(best, 1.0),)
    stopped = replace(finisher, should_stop=lambda: True)
    assert next(stopped._plans()) is finisher.study.refits.complete
    finisher.study.refits.complete = (Member(other, 1.0),)  # of before the best trial
    assert next(stopped._plans())[0].trial is best


def test_a_mean_of_some_folds_is_not_called_whole(monkeypatch):
    finisher, members = _cross_validated()
    study = finisher.study
    study.ledger.artifact = lambda number: number
    study.budget = SimpleNamespace(remaining=lambda: 1.0)
    fold = SimpleNamespace(lightened=lambda weight: weight)  # stands for what it becomes
    monkeypatch.setattr("autoflow.finish.load_pipelines", lambda number: [fold] * 5)
    monkeypatch.setattr("autoflow.finish.WeightedPipelines", lambda pipelines, weights: (pipelines, weights))
    for affordable, whole in ((5, True), (3, False)):
        study.costs = SimpleNamespace(affordable_members=lambda seconds, most=affordable: most)
        (pipelines, weights), is_whole = finisher._mean(members[:1], {})
        assert (len(pipelines), is_whole) == (affordable, whole)
        assert pipelines == weights
        assert sum(weights) == pytest.approx(members[0].weight)


def test_probabilities_are_not_calibrated_where_that_costs_the_metric_of_the_search():
    labels = np.arange(600, dtype=np.int32) % 3
    random = np.random.default_rng(1)
    logits = random.normal(size=(600, 3)) * random.uniform(0.2, 6, size=(600, 1)) + np.eye(3)[labels]
    bold = np.exp(3 * logits) / np.exp(3 * logits).sum(axis=1, keepdims=True)
    held_out = bold.astype(np.float32)
    temperatures = {}
    for metric in ("log_loss", "accuracy", "roc_auc"):
        finisher, _ = _finisher({}, labels, metric)
        temperatures[metric] = finisher._temperature(held_out)
        before = finisher._loss_of(held_out)
        assert finisher._loss_of(tempered(held_out, temperatures[metric])) <= before
    assert temperatures["log_loss"] == temperatures["accuracy"] > 1.5
    assert temperatures["roc_auc"] == 1.0  # the order of rows within a class would be another one


def _printed(terminal, show):
    console = Console(width=80, record=True, file=io.StringIO(), force_terminal=terminal)
    show(console)
    return console.export_text()


def test_a_row_of_the_leaderboard_is_one_line_of_a_log_and_whole_on_a_terminal(model):
    dataset = load_dataset(pd.DataFrame({"x": [0.5, 1.5] * 20, "label": ["a", "b"] * 20}))[0]
    features = "tfidf_words one_hot datetime_features standardized boolean_flags"
    row = LeaderboardRow(
        1, 7, 0.25, 0.25, 1.5, 1.0, "boosted_trees", features, "plain_concat", "finished", "f"
    )
    report = RunReport(model.folder.parents[1], model, dataset.schema, (row,), "log_loss", ("odd",), 1.0)
    made_of = "boosted_trees on " + features.replace(" ", " + ")
    log = _printed(False, lambda console: show_model(console, report))
    assert any(line.endswith(made_of) for line in log.splitlines())
    screen = _printed(True, lambda console: show_model(console, report))
    assert max(map(len, screen.splitlines()[:6])) <= 80
    words = screen.split("Model")[0].split()
    assert words[words.index("boosted_trees") :] == made_of.split()
    end = _printed(False, lambda console: show_next(console, report))
    assert end.splitlines()[-1].startswith("finished in ")
    assert "warning: odd" in end


@pytest.mark.parametrize("terminal", [True, False])
def test_long_class_names_are_cut_where_they_are_shown(terminal):
    scores = {"accuracy": 1.0, "num_rows": 2, "classes": ["a" * 300, "b"], "confusion": [[1, 0], [0, 1]]}
    text = _printed(terminal, lambda console: show_scores(console, scores, "on t.csv"))
    assert "a" * 20 + "aaa…" in text
    assert "a" * 24 not in text


def test_within_limits_another_classifier_is_tried_before_the_next_trial_of_the_same():
    labels = np.array([0, 1] * 50, np.int32)
    finisher, _ = _finisher({}, labels)
    one, two, three, shares = (
        type(name, (), {"baseline": name == "shares"}) for name in ("one", "two", "three", "shares")
    )
    kinds = [one, one, one, two, shares, one, three, shares]
    ranking = [
        TrialResult(number, SimpleNamespace(classifier=kind()), Outcome.FINISHED, 0.0, 0.0, 1.0)
        for number, kind in enumerate(kinds)
    ]
    numbers = [member.trial.number for (member,) in finisher._alone(ranking)]
    assert numbers == [0, 1, 2]
    finisher.study.budget = SimpleNamespace(remaining=lambda: 9.0)
    limited = replace(finisher, limits=Limits(row_ms=1.0))
    assert [member.trial.number for (member,) in limited._alone(ranking)] == [0, 3, 6, 1, 2, 5, 4]


def test_late_within_limits_only_the_smallest_is_tried_before_the_baseline():
    finisher, _ = _finisher({}, np.array([0, 1] * 50, np.int32))
    learner, shares = SimpleNamespace(baseline=False), SimpleNamespace(baseline=True)
    ranking = [
        TrialResult(number, SimpleNamespace(classifier=kind), Outcome.FINISHED, 0.0, 0.0, 1.0, num_bytes=size)
        for number, (kind, size) in enumerate([(learner, 9), (learner, 5), (learner, 7), (shares, 1)])
    ]
    seconds = iter([1.0, -1.0, -2.0])
    finisher.study.budget = SimpleNamespace(remaining=lambda: next(seconds))
    limited = replace(finisher, limits=Limits(row_ms=1.0))
    assert [member.trial.number for (member,) in limited._alone(ranking)] == [0, 1, 3]


@pytest.mark.parametrize(
    ("used", "refitted", "ended"), [(57.0, True, True), (57.0, False, False), (40.0, True, False)]
)
def test_a_whole_model_and_hardly_any_time_left_start_no_workers(model, used, refitted, ended):
    settings = RunSettings(output=model.folder, seconds=60.0)
    assert _has_no_time(replace(model, refitted=refitted), settings, used, 4.0) == ended
