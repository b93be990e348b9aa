"""Prepared features are computed once per content and shared."""

import os
import threading
import time
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

from autoflow.components.base import FeatureExtractor
from autoflow.components.discovery import discover
from autoflow.components.registry import Role, lookup
from autoflow.data.dataset import load_dataset
from autoflow.data.schema import ColumnKind
from autoflow.pipeline.cache import FoldData, PreparedCache
from autoflow.pipeline.spec import Node

fits = []


@dataclass(frozen=True)
class Counting(FeatureExtractor):
    """Standardises, and remembers on which rows it was fitted."""

    accepts = frozenset({ColumnKind.NUMERIC})
    power: int = 1

    @classmethod
    def sample(cls, hp, profile):
        return cls()

    def fit(self, values, *, seed):
        fits.append(values.copy())
        return lookup(Role.FEATURE_EXTRACTION, "standardized")().fit(values**self.power, seed=seed)


@pytest.fixture
def data():
    discover()
    fits.clear()
    frame = pd.DataFrame(
        {"x": np.linspace(0, 1, 60) ** 2, "z": np.linspace(3, 1, 60), "label": ["a", "b"] * 30}
    )
    dataset = load_dataset(frame)[0]
    return FoldData("fold/0", dataset.rows(np.arange(40)), dataset.rows(np.arange(40, 60)))


NODE = Node("numeric", ("x", "z"), Counting())


def test_workers_of_one_machine_prepare_a_node_once(tmp_path, data):
    workers = [PreparedCache(tmp_path / "cache") for _ in range(4)]
    results = []
    threads = [threading.Thread(target=lambda w=w: results.append(w.prepare(NODE, data, 0))) for w in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(fits) == 1
    assert all(np.array_equal(result.train, results[0].train) for result in results)
    assert all(np.array_equal(result.validation, results[0].validation) for result in results)


def test_every_fitted_step_sees_training_rows_only(tmp_path, data):
    PreparedCache(tmp_path / "cache").prepare(NODE, data, 0)
    assert np.array_equal(fits[0], data.train.matrix(("x", "z")))


def test_large_nodes_are_read_again_and_not_kept(tmp_path, data, monkeypatch):
    cache = PreparedCache(tmp_path / "cache")
    assert cache.prepare(NODE, data, 0) is cache.prepare(NODE, data, 0)
    monkeypatch.setattr("autoflow.pipeline.cache._REMEMBERED_BYTES", 100)
    other = PreparedCache(tmp_path / "cache")
    first, second = other.prepare(NODE, data, 0), other.prepare(NODE, data, 0)
    assert first is not second
    np.testing.assert_array_equal(first.train, second.train)
    assert len(fits) == 1


def test_other_content_is_prepared_anew(tmp_path, data):
    cache = PreparedCache(tmp_path / "cache")
    cache.prepare(NODE, data, 0)
    cache.prepare(NODE, FoldData("fold/1", data.train, data.validation), 0)
    cache.prepare(Node("numeric", ("x",), Counting()), data, 0)
    cache.prepare(Node("numeric", ("x", "z"), Counting(power=3)), data, 0)
    assert len(fits) == 4


def test_a_half_written_entry_is_not_taken_for_a_whole_one(tmp_path, data):
    PreparedCache(tmp_path / "cache").prepare(NODE, data, 0)
    (extractor,) = (tmp_path / "cache").glob("*.extractor")
    extractor.rename(extractor.with_suffix(".partial"))  # as a kill before the last rename leaves it
    PreparedCache(tmp_path / "cache").prepare(NODE, data, 0)
    assert len(fits) == 2


def test_what_was_not_used_for_longest_makes_room(tmp_path, data):
    nodes = [Node("numeric", ("x", "z"), Counting(power=power)) for power in (1, 3, 5, 7)]
    PreparedCache(tmp_path / "one").prepare(nodes[0], data, 0)
    of_one = sum(path.stat().st_size for path in (tmp_path / "one").iterdir())
    folder = tmp_path / "few"
    cache, others, third = (PreparedCache(folder, most_bytes=round(3.2 * of_one)) for _ in range(3))
    prepared = []
    for age, node in zip((30, 20, 10), nodes, strict=False):
        prepared.append(cache.prepare(node, data, 0))
        (new,) = [path for path in folder.glob("*.extractor") if time.time() - path.stat().st_mtime < 5]
        os.utime(new, (time.time() - age, time.time() - age))
    expected = prepared[1].train.tolist()
    others.prepare(nodes[0], data, 0)  # the oldest is asked for again
    others.prepare(nodes[3], data, 0)
    fits.clear()
    for node in (nodes[0], nodes[2], nodes[3]):
        third.prepare(node, data, 0)
    assert not fits
    assert prepared[1].train.tolist() == expected  # who maps what is deleted keeps it
    third.prepare(nodes[1], data, 0)
    assert len(fits) == 1
    assert len(list(folder.glob("*.train.npy"))) == 3


def test_the_folder_is_private(tmp_path, data):
    PreparedCache(tmp_path / "cache")
    assert (tmp_path / "cache").stat().st_mode & 0o077 == 0


def test_what_a_dead_worker_left_makes_room_first(tmp_path, data):
    PreparedCache(tmp_path / "one").prepare(NODE, data, 0)
    of_one = sum(path.stat().st_size for path in (tmp_path / "one").iterdir())
    cache = PreparedCache(tmp_path / "cache", most_bytes=round(2.1 * of_one))
    cache.prepare(NODE, data, 0)
    orphan = tmp_path / "cache" / "0123456789abcdef01234567.train.npy"
    orphan.write_bytes(b"x" * of_one)
    cache.prepare(Node("numeric", ("x", "z"), Counting(power=3)), data, 0)
    assert not orphan.exists()
    assert len(list((tmp_path / "cache").glob("*.extractor"))) == 2


def test_what_is_larger_than_the_room_is_neither_kept_nor_costs_the_others(tmp_path, data):
    PreparedCache(tmp_path / "cache").prepare(NODE, data, 0)
    small = PreparedCache(tmp_path / "cache", most_bytes=100)
    prepared = small.prepare(Node("numeric", ("x", "z"), Counting(power=3)), data, 0)
    assert prepared.train.shape == (40, 2)
    assert len(list((tmp_path / "cache").glob("*.extractor"))) == 1


def test_a_full_disk_costs_the_entry_only(tmp_path, data, monkeypatch):
    def full(path, array):
        path.write_bytes(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("autoflow.pipeline.cache.np.save", full)
    prepared = PreparedCache(tmp_path / "cache").prepare(NODE, data, 0)
    assert prepared.train.shape == (40, 2)
    assert [path for path in (tmp_path / "cache").iterdir() if path.suffix != ".lock"] == []
