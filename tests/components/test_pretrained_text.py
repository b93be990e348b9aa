"""Pretrained text embeddings from a small model that is made here; nothing is ever fetched."""

from __future__ import annotations

import json
import shutil
import socket
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

import keras_tuner
import numpy as np
import pytest
from model2vec import StaticModel
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers

from autoflow.components.discovery import discover
from autoflow.components.feature_extraction.pretrained_text import PretrainedText
from autoflow.components.stored import keeping
from autoflow.data.schema import ColumnKind, ColumnProfile, DataProfile, TextEmbeddings
from autoflow.errors import UsageError
from autoflow.parts import OPERATIONS
from autoflow.pipeline.graph import Resources
from autoflow.search.portfolio import recipes
from autoflow.testing.feature_extraction import FEATURE_EXTRACTION_CHECKS
from autoflow.testing.rows import strange_values, training_values
from autoflow.text_embeddings import load_text_model, text_embeddings

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[MASK]"]
CHARACTERS = "abcdefghijklmnopqrstuvwxyz0123456789!?#[]'-.,_éßøая한ᄒ日本値段猫😀"
PIECES = [
    "the",
    "good",
    "house",
    "hous",
    "##es",
    "##ing",
    "un",
    "##believ",
    "##able",
    "red",
    "##red",
    "Größe",
]
DIMENSIONS = 12
PROFILE = DataProfile(200, (100, 100), (ColumnProfile("title", ColumnKind.TEXT, 200, 0.0, 40.0),))


def tokenizer(*, whole: bool = True, **rules: bool) -> Tokenizer:
    """Returns a WordPiece tokenizer; not `whole` means that most characters are unknown inside words."""
    inside = [f"##{character}" for character in CHARACTERS[: None if whole else 5]]
    vocabulary = {piece: number for number, piece in enumerate([*SPECIAL, *CHARACTERS, *inside, *PIECES])}
    made = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=100))
    made.normalizer = normalizers.BertNormalizer(**rules)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.add_special_tokens(SPECIAL)
    return made


def vectors(num_vectors: int) -> np.ndarray:
    """Returns `float32[num_vectors, DIMENSIONS]` that float16 holds exactly."""
    return (
        np.random.default_rng(5).normal(0, 1, (num_vectors, DIMENSIONS)).astype(np.float16).astype(np.float32)
    )


def plain() -> StaticModel:
    made = tokenizer()
    return StaticModel(vectors(made.get_vocab_size()), made, normalize=True)


def quantized() -> StaticModel:
    made, random = tokenizer(whole=False), np.random.default_rng(6)
    size = made.get_vocab_size()
    return StaticModel(
        vectors(20),
        made,
        weights=random.uniform(0.1, 2.0, size).astype(np.float32),
        token_mapping=random.integers(0, 20, size),
        max_length=7,
    )


def cased() -> StaticModel:
    made = tokenizer(lowercase=False, strip_accents=False, handle_chinese_chars=False, clean_text=False)
    return StaticModel(vectors(made.get_vocab_size()), made, normalize=False, max_length=None)


MODELS = {"plain": plain, "quantized": quantized, "cased": cased}


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> dict[str, Path]:
    folders = {name: tmp_path_factory.mktemp(name) for name in MODELS}
    for name, folder in folders.items():
        MODELS[name]().save_pretrained(folder)
    return folders


@pytest.fixture(scope="module")
def found(saved) -> TextEmbeddings:
    return text_embeddings(saved["plain"])


def texts() -> list[str]:
    """Returns texts of every script, whole, cut into anything, and as long as a cell may be."""
    random = np.random.default_rng(8)
    points = [chr(point) for point in range(0x110000) if not 0xD800 <= point < 0xE000]
    kinds = [list(CHARACTERS), points[:0x250], points[:0x3000], points, ["e", "\u0301", "\u0345", " ", "a"]]
    kinds.append([*PIECES, *SPECIAL, " ", "[", "CLS", "]", "##", "unbelievable houses", "\u3000"])
    mixed = [
        "".join(random.choice(kind, random.integers(0, 40)))
        for kind in kinds
        for kind in [np.array(kind, dtype=object)]
        for _ in range(150)
    ]
    chosen = [
        "",
        "a" * 100,
        "a" * 101,
        "unbelievable" * 9,
        "!" * 2000,
        "the good house " * 7000,
        "x" * 100_000,
        "[CLS]the[UNK] good[MASK][[CLS]] [cls]",
        "\U0010f000 house \U0010f001\U0010e000 \U000e0041",
        "İSTANBUL STRASSE ß ΣΑΣ Größe GRÖSSE",
        "e\u0301 한국 각 \u1112\u1161\u11ab 値段は高い。",
        "nul\x00 replaced\ufffd bell\x07 line\nfeed\u2028 no\u00a0break zero\u200bwidth",
    ]
    return mixed + chosen + [text for row in strange_values(ColumnKind.TEXT) for text in row]


def embedded(found: TextEmbeddings, rows: list[str]) -> np.ndarray:
    """Returns the vectors before they are standardised."""
    values = np.array(rows, dtype=object)[:, None]
    fitted = PretrainedText(found.folder, found.fingerprint).fit(values, seed=0)
    return fitted.transform(values) / fitted.scales + fitted.shifts


@pytest.mark.parametrize("name", MODELS)
def test_texts_have_the_vectors_that_the_library_gives_them(saved, name):
    rows, library = texts(), StaticModel.from_pretrained(saved[name])
    library.embedding = library.embedding.astype(np.float64)  # its float32 sums of long texts are off by 1e-4
    expected = library.encode(rows)
    assert 0.1 < (np.abs(expected).max(axis=1) > 0).mean() < 1.0
    np.testing.assert_allclose(embedded(text_embeddings(saved[name]), rows), expected, atol=2e-6)


def test_lone_surrogates_are_question_marks_as_for_other_text_extractors(found):
    given, read = embedded(found, ["good \ud800 house\udfff", "good ? house?"])
    assert np.abs(given).max() > 0
    np.testing.assert_array_equal(given, read)


def test_it_keeps_the_contract_with_a_model(found):
    @dataclass(frozen=True)
    class Given(PretrainedText):
        folder: str = found.folder
        fingerprint: str = found.fingerprint

        @classmethod
        def supports(cls, profile: DataProfile) -> bool:
            return True

    for check in FEATURE_EXTRACTION_CHECKS:
        check(Given)


def test_its_graph_is_made_of_known_operations_and_holds_the_vectors_once(found, monkeypatch):
    import tensorflow as tf

    monkeypatch.setattr("autoflow.components.stored.LEAST_BYTES", 1024)

    fitted = PretrainedText(found.folder, found.fingerprint).fit(training_values(ColumnKind.TEXT), seed=0)
    resources = Resources()

    def both(batch):
        with keeping(resources.array):
            return fitted.graph(batch, resources), fitted.graph(batch[:, ::-1], resources)

    both(tf.constant([["", "", ""]]))
    run = tf.function(
        both, autograph=False, input_signature=[tf.TensorSpec([None, 3], tf.string)]
    ).get_concrete_function()
    graph = run.graph.as_graph_def()
    library = {part.signature.name: part.node_def for part in graph.library.function}
    used = {node.op for nodes in (graph.node, *library.values()) for node in nodes} - library.keys()
    assert used <= OPERATIONS  # so that its model may be a part of another
    assert sum(variable.dtype == tf.float16 for variable in resources.variables) == 1
    assert graph.ByteSize() < 300_000  # less than one of its tables


def test_a_search_tries_it_only_where_the_user_named_a_model(found):
    discover()
    assert "pretrained_text" not in str(recipes(PROFILE))
    assert "pretrained_text" in str(recipes(replace(PROFILE, text_embeddings=(found,))))


def test_each_of_several_models_can_be_drawn(found):
    other = TextEmbeddings("/elsewhere", "f" * 32)
    profile = replace(PROFILE, text_embeddings=(found, other))
    hp = keras_tuner.HyperParameters()
    assert PretrainedText.sample(hp, profile) == PretrainedText(found.folder, found.fingerprint)
    hp.values["fingerprint"] = other.fingerprint
    assert PretrainedText.sample(hp, profile) == PretrainedText("/elsewhere", "f" * 32)


def test_vectors_are_halved_where_that_loses_nothing_that_matters(tmp_path):
    made = tokenizer()
    single = np.random.default_rng(3).normal(0, 1, (made.get_vocab_size(), DIMENSIONS)).astype(np.float32)
    for scale, dtype in ((1.0, np.float16), (1e6, np.float32)):
        model = StaticModel(single * np.float32(scale), made)
        model.save_pretrained(tmp_path)
        found = text_embeddings(tmp_path)
        assert load_text_model(found.folder, found.fingerprint).vectors.dtype == dtype
        expected = model.encode(["the good house", "unbelievable"])
        np.testing.assert_allclose(
            embedded(found, ["the good house", "unbelievable"]), expected, atol=1e-3 * scale, rtol=1e-5
        )


# --- what is refused ---------------------------------------------------------------------------------


@pytest.fixture
def copied(saved, tmp_path) -> Path:
    return Path(shutil.copytree(saved["plain"], tmp_path / "copied"))


def test_a_model_that_is_not_there_is_never_looked_for_elsewhere(tmp_path, monkeypatch, saved):
    asked: list[object] = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda *address, **_: asked.append(address))
    monkeypatch.setattr(socket.socket, "connect", lambda _, address: asked.append(address))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"no such folder.*Nothing is downloaded"):
        text_embeddings(Path("minishlab/potion-base-8M"))
    Path("minishlab/potion-base-8M").mkdir(parents=True)
    with pytest.raises(UsageError, match=r"config\.json, model\.safetensors, tokenizer\.json is missing"):
        text_embeddings(Path("minishlab/potion-base-8M"))
    text_embeddings(saved["plain"])
    assert not asked


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_folder_without_one_of_its_files_gets_a_clear_line(copied, name):
    (copied / name).unlink()
    with pytest.raises(UsageError, match=f": {name} is missing"):
        text_embeddings(copied)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_broken_file_gets_a_clear_line(copied, name):
    (copied / name).write_bytes(b"<html>not found</html>")
    with pytest.raises(UsageError, match="cannot be read as a Model2Vec model"):
        text_embeddings(copied)


def test_the_package_is_named_where_it_is_missing(saved, monkeypatch):
    monkeypatch.setitem(sys.modules, "model2vec", None)
    with pytest.raises(UsageError, match=r"pip install 'autoflow\[embeddings\]'"):
        text_embeddings(saved["plain"])


@dataclass(frozen=True)
class Refused:
    words: str
    pre_tokenizer: pre_tokenizers.PreTokenizer = field(default_factory=pre_tokenizers.BertPreTokenizer)
    normalizer: normalizers.Normalizer | None = field(default_factory=normalizers.BertNormalizer)
    model: models.Model | None = None
    added: AddedToken | None = None


@pytest.mark.parametrize(
    "wrong",
    [
        Refused("model Unigram", model=models.Unigram([("<unk>", 0.0), ("a", -1.0)], 0)),
        Refused("model BPE", model=models.BPE({"a": 0, "b": 1}, [])),
        Refused("pre_tokenizer Whitespace", pre_tokenizer=pre_tokenizers.Whitespace()),
        Refused("normalizer NFKC", normalizer=normalizers.NFKC()),
        Refused("normalizer none", normalizer=None),
        Refused("no token 'none'", model=models.WordPiece({"a": 0, "b": 1}, unk_token="none")),
        Refused("added tokens", added=AddedToken("new york", special=False)),
    ],
    ids=lambda wrong: wrong.words,
)
def test_tokenizers_of_other_kinds_get_a_clear_line(copied, wrong):
    made = Tokenizer(wrong.model) if wrong.model else tokenizer()
    made.pre_tokenizer = wrong.pre_tokenizer
    if wrong.normalizer:
        made.normalizer = wrong.normalizer
    else:
        made = Tokenizer.from_str(json.dumps(json.loads(made.to_str()) | {"normalizer": None}))
    if wrong.added:
        made.add_tokens([wrong.added])
    StaticModel(vectors(made.get_vocab_size()), made).save_pretrained(copied)
    with pytest.raises(UsageError, match=wrong.words) as caught:
        text_embeddings(copied)
    assert len(str(caught.value).splitlines()) == 1


def test_vectors_that_are_no_numbers_get_a_clear_line(copied):
    made = tokenizer()
    StaticModel(vectors(made.get_vocab_size()) * np.inf, made).save_pretrained(copied)
    with pytest.raises(UsageError, match="no table of finite numbers"):
        text_embeddings(copied)


def test_another_model_in_its_place_is_refused(found):
    values = np.array([["a"]], dtype=object)
    with pytest.raises(UsageError, match="other text embeddings than the search began with"):
        PretrainedText(found.folder, "0" * 32).fit(values, seed=0)
    with pytest.raises(UsageError, match="--text-embeddings"):
        PretrainedText().fit(values, seed=0)
