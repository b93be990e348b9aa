"""The space: conditional on the data, one path for replay, defaults and sampling."""

from collections import Counter
from dataclasses import replace

import numpy as np
import optuna
import pytest

from autoflow.components.base import NeuralClassifier
from autoflow.components.discovery import discover
from autoflow.components.registry import Role, name_of, names
from autoflow.data.schema import (
    ColumnKind,
    ColumnProfile,
    DataProfile,
    ImageWeights,
    ModelPart,
    TextEmbeddings,
)
from autoflow.pipeline.spec import PipelineSpec
from autoflow.search.portfolio import recipes
from autoflow.search.sampler import Sampler, opening
from autoflow.search.space import is_baseline, plan_nodes

PROFILE = DataProfile(
    2000,
    (900, 600, 500),
    (
        ColumnProfile("age", ColumnKind.NUMERIC, 60, 0.1),
        ColumnProfile("vip", ColumnKind.BOOLEAN, 2, 0.0),
        ColumnProfile("town", ColumnKind.CATEGORICAL, 12, 0.0, 8.0),
        ColumnProfile("street", ColumnKind.CATEGORICAL, 400, 0.0, 12.0),
        ColumnProfile("born", ColumnKind.DATETIME, 900, 0.0),
        ColumnProfile("note", ColumnKind.TEXT, 1900, 0.0, 90.0),
        ColumnProfile("注釈", ColumnKind.TEXT, 1900, 0.0, 30.0, spaced=False),
        ColumnProfile("photo", ColumnKind.IMAGE, 1900, 0.0, picture_side=40.0),
    ),
)


@pytest.fixture(scope="module", autouse=True)
def _components():
    discover()


@pytest.fixture(scope="module")
def proposals():
    sampler = Sampler(PROFILE, 3)
    drawn = list(opening(sampler, recipes(PROFILE)))
    for number in range(60):
        proposal = sampler.ask(number)
        sampler.tell(proposal, float(np.sin(number)))
        drawn.append(proposal)
    return drawn


def test_every_column_is_read_by_exactly_one_node_and_none_by_a_baseline(proposals):
    baselines = 0
    for proposal in proposals:
        columns = [column for node in proposal.spec.nodes for column in node.columns]
        if proposal.spec.classifier.baseline:
            baselines += 1
            assert columns == []
        else:
            assert sorted(columns) == sorted(column.name for column in PROFILE.columns)
    assert baselines == 1


def test_components_fit_their_columns_and_classifier(proposals):
    kinds = {column.name: column.kind for column in PROFILE.columns}
    for proposal in proposals:
        neural = isinstance(proposal.spec.classifier, NeuralClassifier)
        for node in proposal.spec.nodes:
            assert {kinds[column] for column in node.columns} <= node.extractor.accepts
            assert neural or not node.extractor.trainable
        assert neural or not proposal.spec.concatenation.trainable


def test_text_columns_and_many_categories_have_nodes_of_their_own():
    assert [plan.name for plan in plan_nodes(PROFILE)] == [
        "numeric", "boolean", "categorical", "categorical_many", "datetime", "text_note", "text_注釈",
        "image_photo",
    ]  # fmt: skip


def test_a_classifier_can_be_asked_for_and_nothing_is_proposed_twice():
    sampler = Sampler(PROFILE, 3)
    for number in range(12):
        proposal = sampler.ask(number)
        sampler.tell(proposal, float(number))
    forced = [sampler.ask(12, "extra_trees") for _ in range(12)]
    assert {name_of(each.spec.classifier) for each in forced} == {"extra_trees"}
    assert len({each.spec.fingerprint for each in forced}) == 12
    one_point = DataProfile(50, (30, 20), (ColumnProfile("vip", ColumnKind.BOOLEAN, 2, 0.0),))
    sampler = Sampler(one_point, 0)
    asked = [sampler.ask(number, "nearest_neighbors") for number in range(200)]
    new = [each.spec.fingerprint for each in asked if each is not None]
    assert len(new) == len(set(new)) > 5


def _told(sampler, losses):
    """Tells the sampler of pipelines with each classifier, and returns them by fingerprint."""
    told = {}
    for number, (classifier, loss) in enumerate(losses * 8):
        proposal = sampler.ask(number, classifier)
        sampler.tell(proposal, loss)
        told[proposal.spec.fingerprint] = classifier
    return told


def test_what_is_drawn_follows_the_gains_where_they_are_given():
    sampler = Sampler(PROFILE, 3)
    told = _told(sampler, [("boosted_trees", 0.1), ("nearest_neighbors", 0.2), ("extra_trees", 0.3)])
    # nothing is known of the extra trees, which makes them as bad as the worst
    known = {recipe: name for recipe, name in told.items() if name != "extra_trees"}
    gains = {recipe: float(name == "nearest_neighbors") for recipe, name in known.items()}

    def drawn(given, start):
        found = []
        for number in range(start, start + 12):
            proposal = sampler.ask(number, gains=given)
            found.append(name_of(proposal.spec.classifier))
            sampler.tell(proposal, None)
        return Counter(found).most_common(1)[0][0]

    assert drawn({}, 100) == "boosted_trees"
    assert drawn(gains, 200) == "nearest_neighbors"
    assert drawn({}, 300) == "boosted_trees"


def test_tpe_knows_what_runs_until_it_is_told(monkeypatch):
    known = []

    def noted(study):
        known.append(len([each for each in study.trials if each.state.name == "RUNNING"]))
        return ask(study)

    ask = optuna.Study.ask
    monkeypatch.setattr(optuna.Study, "ask", noted)
    sampler = Sampler(PROFILE, 3)
    running = [sampler.ask(number) for number in range(3)]
    sampler.tell(running[0], 0.5)
    sampler.tell(running[1], None)
    sampler.ask(3)
    assert known == [0, 1, 2, 1]
    made = []
    create = optuna.create_study
    monkeypatch.setattr(optuna, "create_study", lambda **options: made.append(1) or create(**options))
    for number in range(4, 8):  # none of them gives a loss
        sampler.tell(sampler.ask(number), None)
    assert made == []
    assert known[-4:] == [2, 2, 2, 2]


def test_a_proposal_is_replayed_from_its_values(proposals):
    replaying = Sampler(PROFILE, 99)
    for proposal in proposals:
        assert replaying.recipe(proposal.values).spec == proposal.spec


def test_a_spec_goes_to_json_and_back(proposals):
    for proposal in proposals:
        again = PipelineSpec.from_json(proposal.spec.to_json())
        assert again == proposal.spec
        assert hash(again) == hash(proposal.spec)
        assert again.fingerprint == proposal.spec.fingerprint


def test_the_portfolio_begins_with_a_baseline_and_tries_every_component():
    part = ModelPart("/run/model/1", "0" * 64, ("age", "town"))
    weights = ImageWeights("MobileNetV2", "weights.h5", "0" * 32)
    vectors = TextEmbeddings("/vectors", "0" * 32)
    profile = replace(PROFILE, parts=(part,), image_weights=(weights,), text_embeddings=(vectors,))
    opened = [proposal.spec for proposal in opening(Sampler(profile, 0), recipes(profile))]
    assert all(node.columns == part.columns for spec in opened for node in spec.nodes if node.reads_rows)
    classifiers = [proposal.to_json()["classification"]["component"] for proposal in opened]
    assert is_baseline(classifiers[0])
    assert not any(is_baseline(name) for name in classifiers[1:])
    assert set(classifiers) == set(names(Role.CLASSIFICATION))
    extractors = {entry["component"] for spec in opened for entry in spec.to_json()["feature_extraction"]}
    left_to_the_sampler = {"hashed_ngrams", "transformer_text", "recurrent_text"}
    assert extractors == set(names(Role.FEATURE_EXTRACTION)) - left_to_the_sampler
    concatenations = {spec.to_json()["concatenation"]["component"] for spec in opened}
    assert concatenations == set(names(Role.CONCATENATION))


def test_a_baseline_is_no_point_of_the_searched_space(proposals):
    sampled = [proposal for proposal in proposals if proposal.origin == "tpe"]
    assert not any(is_baseline(p.spec.to_json()["classification"]["component"]) for p in sampled)
