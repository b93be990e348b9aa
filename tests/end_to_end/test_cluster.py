"""`--ray-address` joins a cluster of two nodes with the same code."""

import sqlite3

import pytest
from commands import PENGUINS, assert_plain, autoflow


@pytest.fixture(scope="module")
def cluster():
    from ray.cluster_utils import Cluster

    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    nodes.add_node(num_cpus=1)
    nodes.wait_for_nodes()
    yield nodes
    nodes.shutdown()


def test_the_command_runs_on_two_nodes(cluster, tmp_path):
    options = (
        "--max-trials",
        3,
        "--ray-address",
        cluster.address,
        "--workers",
        2,
        "--output",
        tmp_path / "run",
    )
    done = autoflow("fit", PENGUINS, *options)
    assert_plain(done, 0)
    assert (tmp_path / "run/model/1/saved_model.pb").exists()
    with sqlite3.connect(tmp_path / "run/ledger.sqlite") as database:
        outcomes = [row[0] for row in database.execute("SELECT outcome FROM trials")]
    assert outcomes == ["FINISHED"] * 3


def test_asking_for_more_than_the_cluster_has_is_said_at_once(cluster, tmp_path):
    done = autoflow(
        "fit", PENGUINS, "--ray-address", cluster.address, "--workers", 9, "--output", tmp_path / "run"
    )
    assert_plain(done, 5)
    assert "2 cores" in done.stderr
    assert "--workers" in done.stderr


def test_a_cluster_that_is_not_there_is_named(tmp_path):
    done = autoflow("fit", PENGUINS, "--ray-address", "127.0.0.1:1", "--output", tmp_path / "run")
    assert_plain(done, 5)
    assert "127.0.0.1:1" in done.stderr
