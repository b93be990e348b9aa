"""Prepared features on disk: the fitted, non-trainable half of extraction, once per fold and content.

All workers of a machine share one folder; entries are written under a temporary name and renamed, and a
lock file makes sure that only one worker computes an entry. What was not used for longest makes room where
the disk is half full of them. The folder belongs to one run on one machine and is deleted with it; nothing in
it outlives the run.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import pickle
import shutil
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autoflow.components.base import CrossFittedExtractor, FittedExtractor, transformed
from autoflow.components.registry import to_json
from autoflow.data.dataset import Dataset, raw_texts, stacked
from autoflow.data.schema import Schema
from autoflow.pipeline.spec import Node

_REMEMBERED_NODES = 24
_REMEMBERED_BYTES = 2**26
"""Of one node at most: what was read of a mapped file counts as memory for as long as it is mapped."""
_SHARE_OF_DISK = 0.5
"""Of what is free when a worker begins, which entries may take; a temporary folder may lie in memory."""


@dataclass(frozen=True)
class FoldData:
    """Training rows and, unless this is a refit, validation rows; `key` names the pair for the cache."""

    key: str
    train: Dataset
    validation: Dataset | None


@dataclass(frozen=True)
class PreparedNode:
    """A fitted extractor with its output on the rows of a fold (memory-mapped where it came from disk)."""

    extractor: FittedExtractor
    train: np.ndarray
    validation: np.ndarray | None


class PreparedCache:
    """Prepares nodes, each once per content.

    Args:
        folder: shared by the workers of one machine; it is created with access for this user only.
        most_bytes: that entries may take; None for half of what is free on the disk.
    """

    def __init__(self, folder: Path, most_bytes: int | None = None) -> None:
        self._folder = folder
        self._recent: OrderedDict[str, PreparedNode] = OrderedDict()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
        self._most_bytes = int(_SHARE_OF_DISK * free) if most_bytes is None else most_bytes

    def prepare(
        self, node: Node, data: FoldData, seed: int, check: Callable[[int], None] = lambda num_bytes: None
    ) -> PreparedNode:
        """Returns the node's extractor fitted on the training rows, with its output on all rows.

        Args:
            node: extractor and columns.
            data: rows; two calls with equal `key` must bring equal rows.
            seed: for the extractor; part of the content, so keep it the same over a run.
            check: as that of `transformed`.
        """
        content = json.dumps([to_json(node.extractor), node.columns, data.key, seed], ensure_ascii=False)
        name = hashlib.sha256(content.encode()).hexdigest()[:24]
        if name in self._recent:
            self._recent.move_to_end(name)
            return self._recent[name]
        with_validation = data.validation is not None
        with self._only_one(name):
            prepared = self._load(name, with_validation=with_validation)
            if prepared is None:
                computed = _prepare(node, data, seed, check)
                if self._make_room(_num_bytes(computed)):
                    self._store(name, computed)
                # mapped from disk, so that the arrays take memory only while they are used
                prepared = self._load(name, with_validation=with_validation) or computed
        if _num_bytes(prepared) <= _REMEMBERED_BYTES:
            self._recent[name] = prepared
        if len(self._recent) > _REMEMBERED_NODES:
            self._recent.popitem(last=False)
        return prepared

    @contextmanager
    def _only_one(self, name: str) -> Iterator[None]:
        descriptor = os.open(self._folder / f"{name}.lock", os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _load(self, name: str, *, with_validation: bool) -> PreparedNode | None:
        # the extractor is renamed into place last, so its presence means that the arrays are whole
        path = self._folder / f"{name}.extractor"
        if not path.exists():
            return None
        os.utime(path)
        train = np.load(self._folder / f"{name}.train.npy", mmap_mode="r")
        validation = None
        if with_validation:
            validation = np.load(self._folder / f"{name}.validation.npy", mmap_mode="r")
        return PreparedNode(pickle.loads(path.read_bytes()), train, validation)

    def _make_room(self, num_bytes: int) -> bool:
        """Deletes entries, the least recently used first; who has mapped one goes on reading it.

        What a worker left that died while it wrote goes before all others. Tells whether there is room now.
        """
        sizes: dict[str, int] = {}
        last_use: dict[str, float] = {}
        for path in self._folder.glob("*.*"):
            with contextlib.suppress(FileNotFoundError):  # another worker makes room, too
                entry, status = path.name.split(".")[0], path.stat()
                sizes[entry] = sizes.get(entry, 0) + status.st_size
                if path.suffix == ".extractor":
                    last_use[entry] = status.st_mtime
        used = sum(sizes.values())
        if num_bytes > self._most_bytes:
            return False
        for entry in sorted(sizes, key=lambda each: last_use.get(each, 0.0)):
            if used + num_bytes <= self._most_bytes:
                break
            if self._delete(entry):
                used -= sizes[entry]
        return used + num_bytes <= self._most_bytes

    def _delete(self, name: str) -> bool:
        """Deletes an entry that no worker is at; its extractor, which tells that it is whole, first."""
        descriptor = os.open(self._folder / f"{name}.lock", os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        else:
            self._unlink(name)
            return True
        finally:
            os.close(descriptor)

    def _unlink(self, name: str) -> None:
        for part in ("extractor", "partial", "train.npy", "validation.npy"):
            (self._folder / f"{name}.{part}").unlink(missing_ok=True)

    def _store(self, name: str, prepared: PreparedNode) -> None:
        partial = self._folder / f"{name}.partial"
        try:
            np.save(self._folder / f"{name}.train.npy", prepared.train)
            if prepared.validation is not None:
                np.save(self._folder / f"{name}.validation.npy", prepared.validation)
            partial.write_bytes(pickle.dumps(prepared.extractor))
            partial.rename(self._folder / f"{name}.extractor")
        except OSError:  # the disk is full: who needs it computes it again
            self._unlink(name)


def _num_bytes(prepared: PreparedNode) -> int:
    return prepared.train.nbytes + (0 if prepared.validation is None else prepared.validation.nbytes)


def node_values(node: Node, schema: Schema, raw: Mapping[str, np.ndarray]) -> np.ndarray:
    """Returns what a node's extractor takes, `float64[n, k]` or `object[n, k]`, from raw values by header."""
    columns = [schema.column(name) for name in node.columns]
    return raw_texts(columns, raw) if node.reads_rows else stacked(columns, raw)


def _prepare(node: Node, data: FoldData, seed: int, check: Callable[[int], None]) -> PreparedNode:
    values = node_values(node, data.train.schema, data.train.raw)
    if isinstance(node.extractor, CrossFittedExtractor):
        num_classes = len(data.train.schema.classes)
        extractor, train = node.extractor.fit_transform(
            values, data.train.labels, num_classes, seed=seed, ties=data.train.groups
        )
    else:
        extractor = node.extractor.fit(values, seed=seed)
        train = transformed(extractor, values, check)
    validation = None
    if data.validation is not None:
        validation = transformed(extractor, node_values(node, data.validation.schema, data.validation.raw))
    return PreparedNode(extractor, train, validation)
