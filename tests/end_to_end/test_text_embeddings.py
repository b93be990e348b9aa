"""Pretrained text embeddings from the command line to a model that needs their folder no more."""

import shutil

import numpy as np
import pandas as pd
from commands import PENGUINS, assert_plain, autoflow, autoflow_here
from model2vec import StaticModel
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from autoflow.manifest import read_manifest

NUM_ROWS, WORDS_A_ROW = 240, 4


def save_model(folder, words, directions):
    """Writes a model in which words of one sense have vectors of one direction."""
    vocabulary = {word: number for number, word in enumerate(["[PAD]", "[UNK]", *words])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    noise = np.random.default_rng(2).normal(0, 0.3, (len(words) + 2, 8))
    noise[2:, 0] += directions
    StaticModel(noise.astype(np.float32), tokenizer, normalize=True).save_pretrained(folder)


def test_words_that_no_row_shared_are_understood(tmp_path):
    generator = np.random.default_rng(1)
    letters = np.array(list("aeiounrstlkm"))
    half = NUM_ROWS * WORDS_A_ROW
    words = list(dict.fromkeys("".join(generator.choice(letters, 9)) for _ in range(2 * half)))
    senses = np.repeat([1, -1], half)
    save_model(tmp_path / "vectors", words, senses)
    # a word occurs in one row only: who does not know its sense beforehand can but guess
    frame = pd.DataFrame(
        {
            "title": [" ".join(row) for row in np.array(words).reshape(-1, WORDS_A_ROW)],
            "sense": np.where(senses[::WORDS_A_ROW] > 0, "warm", "cold"),
        }
    ).sample(frac=1, random_state=3)
    frame.iloc[:NUM_ROWS].to_csv(tmp_path / "train.csv", index=False)
    frame.iloc[NUM_ROWS:].to_csv(tmp_path / "new.csv", index=False)
    done = autoflow(
        "fit", tmp_path / "train.csv", "--label", "sense", "--output", tmp_path / "run", "--max-trials", 4,
        "--time-budget", "4m", "--workers", 1, "--text-embeddings", tmp_path / "vectors",
    )  # fmt: skip
    assert_plain(done, 0)
    assert "answers in a clean process as it was scored" in done.stdout + done.stderr
    (node,) = read_manifest(tmp_path / "run/model/1").details.recipes[0].spec["feature_extraction"]
    assert node["component"] == "pretrained_text"
    shutil.rmtree(tmp_path / "vectors")
    predicted = autoflow("predict", tmp_path / "run", tmp_path / "new.csv", "--output", tmp_path / "p.csv")
    assert_plain(predicted, 0)
    right = pd.read_csv(tmp_path / "p.csv")["label"].to_numpy() == frame["sense"].iloc[NUM_ROWS:].to_numpy()
    assert right.mean() > 0.95


def test_a_folder_that_is_not_there_ends_the_run_before_it_begins(tmp_path):
    done = autoflow_here(
        "fit", PENGUINS, "--text-embeddings", "minishlab/some-model", "--output", tmp_path / "run"
    )
    assert_plain(done, 2)
    assert "Nothing is downloaded" in done.stderr
    assert not (tmp_path / "run").exists()
