"""The one value that a search decides: which components, with which hyperparameters, on which columns."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

from autoflow.components.base import Classifier, Concatenation, FeatureExtractor
from autoflow.components.registry import Role, from_json, name_of, to_json
from autoflow.data.schema import ColumnKind


@dataclass(frozen=True)
class Node:
    """A feature extractor and the columns that it reads.

    Args:
        name: the scope of its hyperparameters, such as `numeric` or `text_title`.
        columns: raw headers, one or more.
        extractor: the component.
    """

    name: str
    columns: tuple[str, ...]
    extractor: FeatureExtractor

    @property
    def reads_rows(self) -> bool:
        """Whether the extractor takes raw values of its columns as text, and not their column values."""
        return ColumnKind.ROW in self.extractor.accepts


@dataclass(frozen=True)
class PipelineSpec:
    """A whole pipeline as a value: it prints, compares, hashes, and goes to JSON and back (the *recipe*)."""

    nodes: tuple[Node, ...]
    concatenation: Concatenation
    classifier: Classifier

    def to_json(self) -> dict[str, Any]:
        """Returns the recipe as JSON values."""
        return {
            "feature_extraction": [
                {"node": node.name, "columns": list(node.columns)} | to_json(node.extractor)
                for node in self.nodes
            ],
            "concatenation": to_json(self.concatenation),
            "classification": to_json(self.classifier),
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> PipelineSpec:
        """Returns the spec that `to_json` described.

        Raises:
            UsageError: a component or hyperparameter is unknown here.
        """
        nodes = []
        for entry in value["feature_extraction"]:
            component = {key: v for key, v in entry.items() if key not in ("node", "columns")}
            extractor = cast(FeatureExtractor, from_json(Role.FEATURE_EXTRACTION, component))
            nodes.append(Node(entry["node"], tuple(entry["columns"]), extractor))
        return cls(
            tuple(nodes),
            cast(Concatenation, from_json(Role.CONCATENATION, value["concatenation"])),
            cast(Classifier, from_json(Role.CLASSIFICATION, value["classification"])),
        )

    @cached_property
    def fingerprint(self) -> str:
        """Twelve hexadecimal digits that are the same for equal specs on every machine."""
        text = json.dumps(self.to_json(), sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def __str__(self) -> str:
        extractors = " + ".join(dict.fromkeys(name_of(node.extractor) for node in self.nodes))
        return f"{name_of(self.classifier)} on {extractors or 'nothing'}" + (
            f" by {name_of(self.concatenation)}" if self.concatenation.trainable else ""
        )
