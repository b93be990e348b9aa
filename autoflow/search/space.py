"""The conditional search space over the registered components, drawn through keras-tuner's language.

What fits with what is read from the components: accepted column kinds, `trainable`, `supports`. Neither
keras-tuner nor any other heavy library is imported here; `hp` arrives as an argument.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

from autoflow.components.base import (
    Classifier,
    Component,
    Concatenation,
    FeatureExtractor,
    NeuralClassifier,
)
from autoflow.components.registry import Role, lookup, names
from autoflow.data.schema import ColumnKind, DataProfile
from autoflow.errors import UsageError
from autoflow.pipeline.spec import Node, PipelineSpec

if TYPE_CHECKING:
    import keras_tuner

CLASSIFIER = "classification"
"""Name of the hyperparameter that says which classifier a pipeline has."""
MANY_CATEGORIES = 40
"""Categorical columns with more distinct values form a node of their own: other encodings suit them."""


@dataclass(frozen=True)
class NodePlan:
    """A group of columns that one extractor will read.

    Args:
        name: scope of its hyperparameters.
        kind: the kind that its columns share.
        profile: the data profile restricted to its columns.
    """

    name: str
    kind: ColumnKind
    profile: DataProfile

    @property
    def columns(self) -> tuple[str, ...]:
        """Headers of the columns."""
        return tuple(column.name for column in self.profile.columns)


def plan_nodes(profile: DataProfile) -> tuple[NodePlan, ...]:
    """Groups the columns into nodes: one a kind, categories by their number, each text column alone.

    An exported model that is to be a part reads its columns in a node of its own, besides the others.
    """
    groups: dict[str, list[str]] = {}
    kinds: dict[str, ColumnKind] = {}
    for column in profile.columns:
        name = column.kind.value
        if column.kind in (ColumnKind.TEXT, ColumnKind.IMAGE):
            name = _free_name(f"{name}_" + re.sub(r"\W+", "_", column.name).strip("_")[:40], groups)
        elif column.kind is ColumnKind.CATEGORICAL and column.num_distinct > MANY_CATEGORIES:
            name = "categorical_many"
        groups.setdefault(name, []).append(column.name)
        kinds[name] = column.kind
    plans = [NodePlan(name, kinds[name], profile.restricted(columns)) for name, columns in groups.items()]
    for number, part in enumerate(profile.parts, start=1):
        restricted = replace(profile.restricted(part.columns), parts=(part,))
        plans.append(NodePlan(_free_name(f"part_{number}", groups), ColumnKind.ROW, restricted))
    return tuple(plans)


def extractor_names(node: NodePlan, *, trainable: bool) -> list[str]:
    """Returns the extractors that may read a node; trainable ones only where the classifier is neural."""
    return [
        name
        for name in names(Role.FEATURE_EXTRACTION)
        for extractor in [cast(type[FeatureExtractor], lookup(Role.FEATURE_EXTRACTION, name))]
        if node.kind in extractor.accepts
        and (trainable or not extractor.trainable)
        and extractor.supports(node.profile)
    ]


def classifier_names(profile: DataProfile) -> list[str]:
    """Returns the classifiers that support the data."""
    return [
        name for name in names(Role.CLASSIFICATION) if lookup(Role.CLASSIFICATION, name).supports(profile)
    ]


def concatenation_names(profile: DataProfile, *, trainable: bool) -> list[str]:
    """Returns the concatenations that support the data; only plain ones unless `trainable`."""
    return [
        name
        for name in names(Role.CONCATENATION)
        for concatenation in [cast(type[Concatenation], lookup(Role.CONCATENATION, name))]
        if (trainable or not concatenation.trainable) and concatenation.supports(profile)
    ]


def is_neural(classifier: str) -> bool:
    """Tells whether the classifier of this name trains the extractors and the concatenation with it."""
    return issubclass(lookup(Role.CLASSIFICATION, classifier), NeuralClassifier)


def is_baseline(classifier: str) -> bool:
    """Tells whether the classifier of this name is there to be beaten."""
    return cast(type[Classifier], lookup(Role.CLASSIFICATION, classifier)).baseline


def draw(hp: keras_tuner.HyperParameters, profile: DataProfile) -> PipelineSpec:
    """Draws a pipeline from the space.

    Args:
        hp: values that it already holds are honoured, so that replay, defaults and sampling are one path.
        profile: shape of the data; the space depends on nothing else.

    Returns:
        A spec whose components support the data; one with a baseline reads no column.

    Raises:
        UsageError: no registered extractor accepts one of the column kinds.
    """
    classifier_name = _classifier(hp, profile)
    neural = is_neural(classifier_name)
    family = "neural" if neural else "matrix"
    nodes = []
    for plan in () if is_baseline(classifier_name) else plan_nodes(profile):
        known = extractor_names(plan, trainable=neural)
        if not known:
            raise UsageError(
                f"no component extracts features from {plan.kind} columns ({', '.join(plan.columns[:5])})"
            )
        name = hp.Choice(f"{family}/{plan.name}", known)
        extractor = cast(
            FeatureExtractor,
            _sample(hp, f"{family}/{plan.name}", Role.FEATURE_EXTRACTION, name, plan.profile),
        )
        nodes.append(Node(plan.name, plan.columns, extractor))
    concatenation_name = hp.Choice(f"{family}/concatenation", concatenation_names(profile, trainable=neural))
    concatenation = _sample(hp, f"{family}/concatenation", Role.CONCATENATION, concatenation_name, profile)
    classifier = _sample(hp, CLASSIFIER, Role.CLASSIFICATION, classifier_name, profile)
    return PipelineSpec(tuple(nodes), cast(Concatenation, concatenation), cast(Classifier, classifier))


def _classifier(hp: keras_tuner.HyperParameters, profile: DataProfile) -> str:
    """Draws a classifier; a baseline only where the values name it, for it is no point of the space."""
    given = hp.values.get(CLASSIFIER)
    known = classifier_names(profile)
    if given in known and is_baseline(given):
        return hp.Fixed(CLASSIFIER, given)
    return hp.Choice(CLASSIFIER, [name for name in known if not is_baseline(name)])


def _sample(
    hp: keras_tuner.HyperParameters, scope: str, role: Role, name: str, profile: DataProfile
) -> Component:
    with hp.name_scope(f"{scope}/{name}"):
        return lookup(role, name).sample(hp, profile)


def _free_name(name: str, taken: dict[str, list[str]]) -> str:
    candidate, number = name, 2
    while candidate in taken:
        candidate, number = f"{name}_{number}", number + 1
    return candidate
