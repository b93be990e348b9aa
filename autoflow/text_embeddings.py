"""Static text embeddings of Model2Vec: a local folder found, checked and read, and never fetched.

The only file that knows the library and its tokenizers. What the library holds becomes plain values here:
vectors, a vocabulary, and what its tokenizer makes of each character, found by asking it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from autoflow.data.schema import TextEmbeddings
from autoflow.errors import UsageError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_FILES = ("config.json", "model.safetensors", "tokenizer.json")
_SUPPORTED = {"normalizer": "BertNormalizer", "pre_tokenizer": "BertPreTokenizer", "model": "WordPiece"}
_MAX_LITERALS = 64
_HALF_PRECISION_ERROR = 1e-3
"""Vectors are kept as float16 where that moves no number by more than this share of the greatest."""

NUM_CODE_POINTS = 0x110000
PAGE = 256
"""Code points of one plane of Unicode that lie together, in script and in the tables made of them."""
_PLANE = 0x10000
_ASSIGNED_END = 4 * _PLANE
_TAGS = range(0xE0000, 0xE1000)
_SURROGATES = range(0xD800, 0xE000)


@dataclass(frozen=True, eq=False)
class TextModel:
    """A static embedding model: a vector a token, and what makes tokens of a text.

    Args:
        vectors: `float16[v, d]` or `float32[v, d]`.
        places: `int32[t]`, the vector of each token number; None where they are the same.
        weights: `float64[t]`, what the vector of each token is multiplied by; None for 1.
        normalize: whether the mean vector of a text is brought to length 1.
        vocabulary: number of each word piece.
        unknown: number of the token that stands for a word with unknown pieces; it has no part in the mean.
        prefix: what the pieces inside a word begin with, such as `##`.
        max_word: characters of a word beyond which it is unknown.
        literals: number of each token that is found as it stands, before anything else.
        max_tokens: tokens read of a text; None for all.
        max_characters: characters read of a text; None for all.
        splits: for each code point, what the tokenizer makes of it, with a space where a word ends.
    """

    vectors: np.ndarray
    places: np.ndarray | None
    weights: np.ndarray | None
    normalize: bool
    vocabulary: Mapping[str, int]
    unknown: int
    prefix: str
    max_word: int
    literals: Mapping[str, int]
    max_tokens: int | None
    max_characters: int | None
    splits: Sequence[str]


def text_embeddings(folder: Path) -> TextEmbeddings:
    """Returns the embedding model in a folder, after reading it once.

    Args:
        folder: as `model2vec.StaticModel.save_pretrained` writes it.

    Raises:
        UsageError: no such folder, a file is missing or cannot be read, another kind of tokenizer, or
            Model2Vec is not installed.
    """
    found = TextEmbeddings(str(folder.resolve()), _fingerprint(folder))
    load_text_model(found.folder, found.fingerprint)
    return found


def load_text_model(folder: str, fingerprint: str) -> TextModel:
    """Returns the model of a folder.

    Args:
        folder: as for `text_embeddings`.
        fingerprint: of its files.

    Raises:
        UsageError: as `text_embeddings`, or the folder holds another model.
    """
    path = Path(folder)
    if _fingerprint(path) != fingerprint:
        raise UsageError(f"{folder}: these are other text embeddings than the search began with.")
    try:
        from model2vec import StaticModel
    except ImportError as error:
        raise UsageError(
            "--text-embeddings needs the package model2vec: pip install 'autoflow[embeddings]'"
        ) from error
    try:
        model = StaticModel.from_pretrained(
            path.resolve()
        )  # a folder that is there is never looked for elsewhere
    except Exception as error:  # safetensors, tokenizers and json raise kinds of their own
        raise UsageError(
            f"{folder}: this cannot be read as a Model2Vec model ({_first_line(error)}); "
            "write it with StaticModel.save_pretrained."
        ) from error
    return _text_model(folder, model)


def _text_model(folder: str, model: Any) -> TextModel:
    tokenizer: Tokenizer = model.tokenizer
    pieces = _checked_pieces(folder, tokenizer)
    literals = _literals(folder, tokenizer)
    num_tokens = 1 + max(tokenizer.get_vocab(with_added_tokens=True).values())
    places, weights = model.token_mapping, model.weights
    vectors = _vectors(folder, model.embedding)
    for name, length in (
        ("token vectors", len(vectors) if places is None else len(places)),
        ("token weights", num_tokens if weights is None else len(weights)),
    ):
        if length < num_tokens:
            raise UsageError(f"{folder}: there are {length} {name} for {num_tokens} tokens.")
    if places is not None and not (places.min() >= 0 and places.max() < len(vectors)):
        raise UsageError(f"{folder}: tokens are mapped to vectors that are not there.")
    return TextModel(
        vectors=vectors,
        places=None if places is None else places.astype(np.int32),
        weights=None if weights is None else weights.astype(np.float64),
        normalize=bool(model.normalize),
        vocabulary=tokenizer.get_vocab(with_added_tokens=False),
        unknown=model.unk_token_id,
        prefix=pieces["continuing_subword_prefix"],
        max_word=pieces["max_input_chars_per_word"],
        literals=literals,
        max_tokens=model.max_length,
        max_characters=None if model.max_length is None else model.max_length * model.median_token_length,
        splits=_splits(folder, tokenizer),
    )


def _checked_pieces(folder: str, tokenizer: Tokenizer) -> dict[str, Any]:
    """Returns the description of the vocabulary of a tokenizer whose kind can be served."""
    description = json.loads(tokenizer.to_str())
    kinds = {part: (description[part] or {"type": "none"})["type"] for part in _SUPPORTED}
    if kinds != _SUPPORTED:
        found = ", ".join(f"{part} {kind}" for part, kind in kinds.items() if kind != _SUPPORTED[part])
        raise UsageError(
            f"{folder}: its tokenizer has {found}; text embeddings need WordPiece with the normaliser and "
            "pre-tokeniser of BERT, as models distilled from one have."
        )
    pieces: dict[str, Any] = description["model"]
    if pieces["unk_token"] not in pieces["vocab"]:
        raise UsageError(f"{folder}: its tokenizer has no token {pieces['unk_token']!r} for unknown words.")
    return pieces


def _literals(folder: str, tokenizer: Tokenizer) -> dict[str, int]:
    """Returns the tokens that are found in a text before it is normalised, the longest first."""
    added = tokenizer.get_added_tokens_decoder()
    plain = [
        (token.content, number)
        for number, token in added.items()
        if not (token.normalized or token.single_word or token.lstrip or token.rstrip)
    ]
    if len(plain) < len(added) or len(added) > _MAX_LITERALS:
        raise UsageError(
            f"{folder}: its tokenizer has added tokens of a kind that text embeddings cannot serve; up to "
            f"{_MAX_LITERALS} that are found as they stand, such as [CLS], are good."
        )
    return dict(sorted(plain, key=lambda entry: -len(entry[0])))


def _vectors(folder: str, vectors: np.ndarray) -> np.ndarray:
    """Returns vectors of half the size where that loses nothing that matters."""
    if vectors.ndim != 2 or not vectors.size or not np.isfinite(vectors.astype(np.float32)).all():
        raise UsageError(f"{folder}: its vectors are no table of finite numbers.")
    single = vectors.astype(np.float32)
    with np.errstate(over="ignore"):
        half = vectors.astype(np.float16)
    error = np.abs(half.astype(np.float32) - single).max()
    return half if error <= _HALF_PRECISION_ERROR * np.abs(single).max() else single


def _splits(folder: str, tokenizer: Tokenizer) -> list[str]:
    """Returns what normaliser and pre-tokeniser make of each code point, asked a page at a time.

    Beyond the planes with characters, where all code points of a page are private or unassigned alike, one
    of them speaks for its page; so do they for surrogates, which no valid text holds.
    """
    splits: list[str] = []
    for first in range(0, NUM_CODE_POINTS, PAGE):
        whole = first < _ASSIGNED_END or first in _TAGS or first % _PLANE == _PLANE - PAGE
        if first in _SURROGATES:
            splits += [""] * PAGE
        elif whole:
            splits += _split_page(folder, tokenizer, [chr(first + place) for place in range(PAGE)])
        else:
            splits += _split_page(folder, tokenizer, [chr(first)]) * PAGE
    return splits


def _split_page(folder: str, tokenizer: Tokenizer, characters: list[str]) -> list[str]:
    # between letters that stay what they are, so that nothing combines; one that is not on this page
    mark = "\u01c0" if "0" in characters else "0"
    normalised = tokenizer.normalizer.normalize_str(mark + mark.join(characters) + mark)
    parts = normalised.split(mark)[1:-1]
    if len(parts) != len(characters):
        raise UsageError(f"{folder}: its tokenizer does not treat the characters of a text one by one.")
    split = [" "] * len(normalised)
    for word, (start, end) in tokenizer.pre_tokenizer.pre_tokenize_str(normalised):
        alone = end - start == 1 and word != mark
        split[start:end] = [f" {word} "] if alone else list(word)
    result, place = [], 1
    for part in parts:
        result.append("".join(split[place : place + len(part)]))
        place += len(part) + 1
    return result


def _fingerprint(folder: Path) -> str:
    if not folder.is_dir():
        raise UsageError(
            f"{folder}: there is no such folder of text embeddings. Nothing is downloaded: save a Model2Vec "
            "model there first."
        )
    missing = [name for name in _FILES if not (folder / name).is_file()]
    if missing:
        raise UsageError(
            f"{folder}: {', '.join(missing)} is missing; a Model2Vec model has {', '.join(_FILES)}."
        )
    digest = hashlib.sha256()
    for name in _FILES:
        with (folder / name).open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:32]


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]
