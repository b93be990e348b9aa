"""What an exported model says about itself: columns, labels, recipes, scores, versions, examples and hashes.

It lies beside the graph as `assets.extra/autoflow.json`, so that a consumer in any language can map its rows,
test itself and see what it serves. Reading checks everything that a reader relies on; nothing here needs
TensorFlow or a component.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from autoflow.data.schema import Column, ColumnKind, DroppedColumn, RawType, Schema
from autoflow.errors import NoModelError

FORMAT_VERSION = 1
"""Raised by one whenever an older AutoFlow could no longer read the manifest."""

MAX_RANKED = 100
"""Classes that an answer ranks at most: nobody reads on, and a thousand would be 30 KB of JSON a row."""

MANIFEST_PATH = "assets.extra/autoflow.json"
"""Place of the manifest inside a version folder."""

_READ_BY_THE_GRAPH = ("saved_model.", "variables/", "assets/")
_SEAL = "sha256"


@dataclass(frozen=True)
class Recipe:
    """One member of the exported model.

    Args:
        weight: its share in the mean of probabilities, above 0 to 1; shares sum to 1.
        spec: the JSON form of its `PipelineSpec`, with which a retraining replays it.
    """

    weight: float
    spec: Mapping[str, Any]


@dataclass(frozen=True)
class Example:
    """A raw row and what the model must answer.

    Args:
        row: value by raw header; a number, a string, `{"b64": ...}` for a picture, or None where missing.
        label: the most probable class.
        scores: probability of every class, in the order of the manifest's classes.
    """

    row: Mapping[str, float | str | Mapping[str, str] | None]
    label: str
    scores: tuple[float, ...]


@dataclass(frozen=True)
class ManifestDetails:
    """What only the builder of a model knows about it.

    Args:
        recipes: members with their weights; one for a single pipeline.
        metrics: figures by set of rows, such as `{"validation": {"log_loss": 0.3}}`; JSON values. `set_aside`
            and `cross_chosen` are of rows that did not choose the model, `validation` of those that did.
        num_training_rows: rows that the exported model was fitted on.
        source: name of the training table, as the user gave it.
        contributions: share of each raw column in what the model merges, by header, 0 to 1; they sum to 1.
            Empty where no member can tell.
        data: fingerprint of the training table's content; empty where it is not known.
        temperature: what the mean of the members was scaled with; above 1 it became more careful.
    """

    recipes: tuple[Recipe, ...] = ()
    metrics: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    num_training_rows: int = 0
    source: str = ""
    contributions: Mapping[str, float] = field(default_factory=dict)
    data: str = ""
    temperature: float = 1.0


@dataclass(frozen=True)
class Manifest:
    """A model's description of itself.

    Args:
        schema: raw columns in order, label, classes, and the columns that were left out. Column `i` is the
            input `f<i>` for consumers that `tf.saved_model.load` the model; all others use the raw header.
        details: recipes, metrics, rows, source.
        created: time of the export, ISO 8601 in UTC.
        versions: of autoflow, tensorflow, keras and python at the export.
        examples: raw rows with expected outputs.
        embedding_size: numbers that the signature `embed` gives for a row; 0 for a model without it.
        files: SHA-256 of every other file of the version folder, by path with forward slashes.
    """

    schema: Schema
    details: ManifestDetails
    created: str
    versions: Mapping[str, str]
    examples: tuple[Example, ...] = ()
    embedding_size: int = 0
    files: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Returns the manifest as JSON values, all of them finite."""
        return {
            "format_version": FORMAT_VERSION,
            "created": self.created,
            "versions": dict(self.versions),
            "label": self.schema.label,
            "label_reason": self.schema.label_reason,
            "label_type": self.schema.label_type,
            "classes": list(self.schema.classes),
            "columns": [
                {"key": input_key(position)} | _column_to_json(column)
                for position, column in enumerate(self.schema.columns)
            ],
            "dropped": [asdict(dropped) for dropped in self.schema.dropped],
            "recipes": [
                {"weight": recipe.weight, "spec": dict(recipe.spec)} for recipe in self.details.recipes
            ],
            "metrics": _finite(self.details.metrics),
            "num_training_rows": self.details.num_training_rows,
            "source": self.details.source,
            "data": self.details.data,
            "temperature": self.details.temperature,
            "contributions": _finite(self.details.contributions),
            "examples": [
                {"row": _finite(example.row), "label": example.label, "scores": list(example.scores)}
                for example in self.examples
            ],
            "num_ranked": num_ranked(len(self.schema.classes)),
            "embedding_size": self.embedding_size,
            "files": dict(self.files),
        }

    @classmethod
    def from_json(cls, value: Any, place: str = "manifest") -> Manifest:
        """Returns the manifest that `to_json` described.

        Args:
            value: parsed JSON.
            place: where it came from, for messages.

        Raises:
            NoModelError: no manifest, one of a newer AutoFlow, or an incomplete one.
        """
        if not isinstance(value, dict) or not isinstance(value.get("format_version"), int):
            raise NoModelError(f"{place}: this is no AutoFlow manifest (it has no format_version).")
        if value["format_version"] > FORMAT_VERSION:
            raise NoModelError(
                f"{place}: the model has format {value['format_version']} and this AutoFlow reads up to "
                f"{FORMAT_VERSION}; install the AutoFlow that exported it "
                f"({_exporter(value)}) or a newer one."
            )
        try:
            return cls(
                schema=_schema_from_json(value),
                details=ManifestDetails(
                    recipes=tuple(Recipe(float(r["weight"]), dict(r["spec"])) for r in value["recipes"]),
                    metrics=dict(value["metrics"]),
                    num_training_rows=int(value["num_training_rows"]),
                    source=str(value["source"]),
                    data=str(value.get("data", "")),
                    temperature=float(value.get("temperature", 1.0)),
                    contributions={
                        str(name): float(share) for name, share in value.get("contributions", {}).items()
                    },
                ),
                created=str(value["created"]),
                versions=dict(value["versions"]),
                examples=tuple(
                    Example(dict(e["row"]), str(e["label"]), tuple(float(score) for score in e["scores"]))
                    for e in value["examples"]
                ),
                embedding_size=int(value.get("embedding_size", 0)),
                files=dict(value["files"]),
            )
        except KeyError as error:
            raise NoModelError(f"{place}: the manifest lacks {error}; export the model again.") from None
        except (TypeError, ValueError, AttributeError) as error:
            raise NoModelError(
                f"{place}: the manifest is damaged ({error}); export the model again."
            ) from None


def num_ranked(num_classes: int) -> int:
    """Returns how many classes, the most probable ones, `classes` and `scores` of an answer hold.

    >>> num_ranked(3), num_ranked(1000)
    (3, 100)
    """
    return min(num_classes, MAX_RANKED)


def input_key(position: int) -> str:
    """Returns the name of a column's input for Python's `tf.saved_model.load`, which cannot use raw headers.

    >>> input_key(0)
    'f0'
    """
    return f"f{position}"


def write_manifest(manifest: Manifest, folder: Path) -> Path:
    """Writes the manifest into a version folder and returns its path."""
    path = folder / MANIFEST_PATH
    path.parent.mkdir(parents=True, exist_ok=True)
    value = manifest.to_json()
    text = json.dumps(value | {_SEAL: _sealed(value)}, ensure_ascii=False, indent=1, allow_nan=False)
    # Lone surrogates, which a sloppy reader may let into a header, are no UTF-8; as escapes they are JSON.
    path.write_bytes(text.encode("utf-8", errors="backslashreplace") + b"\n")
    return path


def read_manifest(folder: Path) -> Manifest:
    """Returns the manifest of a version folder.

    Args:
        folder: the version folder itself, such as `run/model/1`.

    Raises:
        NoModelError: no manifest there, or one that cannot be used.
    """
    path = folder / MANIFEST_PATH
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise NoModelError(
            f"{folder}: no model that AutoFlow exported ({MANIFEST_PATH} is missing); "
            "give a run folder or a version folder such as run/model/1."
        ) from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise NoModelError(
            f"{path}: the manifest is no whole JSON file ({error}); export the model again."
        ) from None
    except OSError as error:
        raise NoModelError(f"{path}: the manifest cannot be read ({error.strerror or error}).") from None
    manifest = Manifest.from_json(value, str(path))  # whose messages say more
    # those of an earlier AutoFlow have no seal
    seal = value.pop(_SEAL, None)
    if seal is not None and seal != _sealed(value):
        raise NoModelError(
            f"{path}: the manifest is not what was exported (its hash differs); "
            "copy the version folder again, or export the model again."
        )
    return manifest


def next_version(folder: Path) -> int:
    """Returns the number after the largest version in a model folder; 1 where there is none."""
    return max(versions_in(folder), default=0) + 1


def versions_in(folder: Path) -> list[int]:
    """Returns the versions of a model folder, sorted; other folders in it are no versions."""
    if not folder.is_dir():
        return []
    names = [path.name for path in folder.iterdir() if path.is_dir()]
    return sorted(int(name) for name in names if name.isascii() and name.isdigit())


def hash_files(folder: Path) -> dict[str, str]:
    """Returns the SHA-256 of every file under a version folder but its manifest, by path, sorted."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    named = {path.relative_to(folder).as_posix(): path for path in paths}
    return {name: _sha256(path) for name, path in named.items() if name != MANIFEST_PATH}


def changed_files(folder: Path, files: Mapping[str, str]) -> list[str]:
    """Returns those of the files, by path inside the folder, that are missing or differ from their hash.

    A path that leaves the folder is none of an export and counts as changed, whatever lies there.
    """
    return [
        name
        for name, expected in files.items()
        if not _is_inside(name) or not (folder / name).is_file() or _sha256(folder / name) != expected
    ]


def _is_inside(name: str) -> bool:
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts


def damage(folder: Path, manifest: Manifest) -> str:
    """Returns what is wrong with the files that make up the graph, in plain words; empty where nothing is.

    Each must be there with the hash that the manifest has of it, and there must be no others: TensorFlow
    would read them, too.
    """
    named = graph_files(manifest)
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    wrong = changed_files(folder, {"saved_model.pb": ""} | named)
    wrong += sorted(name for name in there - named.keys() if name.startswith(_READ_BY_THE_GRAPH))
    if not wrong:
        return ""
    return f"{', '.join(dict.fromkeys(wrong))} is missing or not the file that was exported"


def graph_files(manifest: Manifest) -> dict[str, str]:
    """Returns the hashes of the files that make up the graph, by path inside the version folder."""
    return {name: sha for name, sha in manifest.files.items() if name.startswith(_READ_BY_THE_GRAPH)}


def _sealed(value: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _exporter(value: Mapping[str, Any]) -> str:
    versions = value.get("versions")
    version = versions.get("autoflow", "unknown") if isinstance(versions, dict) else "unknown"
    return f"version {version}"


def _column_to_json(column: Column) -> dict[str, Any]:
    return {
        name: list(value) if isinstance(value, tuple) else value for name, value in asdict(column).items()
    } | {"kind": column.kind.value, "raw_type": column.raw_type.value}


def _column_from_json(value: Mapping[str, Any]) -> Column:
    """Returns the column; one written before a field existed gets the field's default."""
    known = [entry.name for entry in fields(Column)]
    given: dict[str, Any] = {
        name: tuple(part) if isinstance(part, list) else part for name, part in value.items() if name in known
    }
    kind, raw_type = ColumnKind(value["kind"]), RawType(value["raw_type"])
    return Column(**(given | {"name": str(value["name"]), "kind": kind, "raw_type": raw_type}))


def _schema_from_json(value: Mapping[str, Any]) -> Schema:
    return Schema(
        columns=tuple(_column_from_json(column) for column in value["columns"]),
        label=str(value["label"]),
        classes=tuple(str(name) for name in value["classes"]),
        label_reason=str(value["label_reason"]),
        label_type=str(value["label_type"]),
        dropped=tuple(DroppedColumn(str(d["name"]), str(d["reason"])) for d in value["dropped"]),
    )


def _finite(value: Any) -> Any:
    """Returns JSON values with None in the place of NaN and infinities; NumPy scalars become Python's."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, Mapping):
        return {str(key): _finite(part) for key, part in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_finite(part) for part in value]
    if isinstance(value, float):
        return value if abs(value) < float("inf") else None
    return value
