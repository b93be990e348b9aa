"""Networks of keras.applications with weights from a local file; nothing is ever fetched here."""

import dataclasses

import numpy as np
import pytest

from autoflow.components.discovery import discover
from autoflow.components.feature_extraction.pretrained_image import PretrainedImage
from autoflow.data.schema import ColumnKind, ColumnProfile, DataProfile
from autoflow.errors import MachineError, UsageError
from autoflow.image_weights import image_weights
from autoflow.parts import OPERATIONS
from autoflow.search.portfolio import recipes
from autoflow.testing.feature_extraction import GraphTables
from autoflow.testing.pictures import strange_pictures, training_pictures

ARCHITECTURE = "MobileNetV2"
PROFILE = DataProfile(
    200, (100, 100), (ColumnProfile("photo", ColumnKind.IMAGE, 200, 0.0, picture_side=30.0),)
)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    import keras

    path = tmp_path_factory.mktemp("weights") / "small.weights.h5"
    keras.utils.set_random_seed(1)
    keras.applications.MobileNetV2(include_top=False, weights=None, input_shape=(32, 32, 3)).save_weights(
        path
    )
    return path


@pytest.fixture(scope="module")
def found(weights):
    return image_weights(f"{ARCHITECTURE}={weights}")


def test_its_features_are_the_same_in_training_and_in_serving(found):
    import tensorflow as tf

    extractor = PretrainedImage(64, 3, found.architecture, found.file, found.fingerprint)
    values = np.concatenate([training_pictures(6), strange_pictures()])[:, None]
    fitted = extractor.fit(values, seed=0)
    features = fitted.transform(values)
    assert features.shape == (len(values), 1280)
    assert np.ptp(features[:6], axis=0).max() > 0
    tables = GraphTables()
    run = tf.function(
        lambda batch: fitted.graph(batch, tables),
        autograph=False,
        input_signature=[tf.TensorSpec([None, 1], tf.string)],
    )
    graph = run.get_concrete_function().graph.as_graph_def()
    library = {part.signature.name: part.node_def for part in graph.library.function}
    used = {node.op for nodes in (graph.node, *library.values()) for node in nodes} - library.keys()
    assert used <= OPERATIONS  # so that its model may be a part of another
    served = run(tf.constant([[value.read()] for value in values[:, 0]])).numpy()
    np.testing.assert_allclose(served, features, atol=1e-4)


def test_a_search_tries_it_only_where_the_user_named_weights(found):
    discover()
    assert "pretrained_image" not in str(recipes(PROFILE))
    assert "pretrained_image" in str(recipes(dataclasses.replace(PROFILE, image_weights=(found,))))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("MobileNetV2", "ARCHITECTURE=FILE"),
        ("MobileNetV9=x.h5", "MobileNetV2"),
        ("MobileNetV2=nowhere.h5", "no such file"),
    ],
)
def test_a_wrong_name_gets_a_clear_line(text, words):
    with pytest.raises(UsageError, match=words):
        image_weights(text)


def test_weights_of_another_network_are_refused(weights):
    with pytest.raises(UsageError, match="no weights of MobileNet"):
        image_weights(f"MobileNet={weights}")


def test_published_weights_that_cannot_be_fetched_get_a_clear_line(monkeypatch):
    import keras

    def refuse(**options):
        raise OSError("no network here")

    monkeypatch.setattr(keras.applications, "MobileNetV2", refuse)
    refuse.__module__ = "keras.src.applications.mobilenet_v2"
    with pytest.raises(MachineError, match="Name a file"):
        image_weights("MobileNetV2=imagenet")


def test_another_file_in_its_place_is_refused(found, weights):
    extractor = PretrainedImage(32, 3, found.architecture, found.file, "0" * 32)
    with pytest.raises(UsageError, match="another one"):
        extractor.fit(training_pictures(2)[:, None], seed=0)
