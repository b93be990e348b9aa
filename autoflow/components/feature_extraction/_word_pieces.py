"""WordPiece tokens of texts in core TensorFlow operations, all texts and all words at once.

Every code point is looked up in a table of what the tokenizer makes of it; then the pieces of words are found
in a trie, from each character on. Training runs the same graph, so there is no second implementation. No
component and no hyperparameter may enter this file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from autoflow.text_embeddings import NUM_CODE_POINTS, PAGE, TextModel

if TYPE_CHECKING:
    import tensorflow as tf

_SPACE, _UNKNOWN = 0, 1
_FIRST_LITERAL = 0x10F000
"""Private characters from here on stand for the tokens that are found as they stand."""
_PRIVATE = "\U0010e000"
"""Stands for those very characters where a text has them; the tokenizer makes the same of all of them."""


@dataclass(frozen=True, eq=False)
class _Trie:
    """All beginnings of all pieces; node 0 is the empty one, and longer ones have greater numbers.

    Args:
        keys: `int64[n]`, ascending: parent times number of symbols, plus symbol; the first leads to node 1.
        tokens: `int32[n + 1]`, the token that ends at each node, -1 for none.
        depths: `int32[n + 1]`, symbols up to each node.
        inside: the node from which the pieces inside a word go on; -1 where there are none.
    """

    keys: np.ndarray
    tokens: np.ndarray
    depths: np.ndarray
    inside: int


class WordPieces:
    """The tokenizer of a text model as a TensorFlow graph; make it eagerly, so that graphs share its tables.

    Args:
        model: with its vocabulary and its characters.
    """

    def __init__(self, model: TextModel) -> None:
        import tensorflow as tf

        marks = {chr(_FIRST_LITERAL + place): text for place, text in enumerate(model.literals)}
        pieces = {piece: number for piece, number in model.vocabulary.items() if " " not in piece}
        pieces |= {mark: model.literals[text] for mark, text in marks.items()}
        alphabet = sorted({character for piece in pieces for character in piece})
        symbols = {character: place for place, character in enumerate(alphabet, start=_UNKNOWN + 1)}
        trie = _trie(pieces, symbols, model.prefix)
        self._keys, self._tokens, self._depths = map(tf.constant, (trie.keys, trie.tokens, trie.depths))
        self._node_inside = trie.inside
        self._num_symbols = len(alphabet) + _UNKNOWN + 1
        splits = list(model.splits)
        for mark in marks:
            splits[ord(mark)] = f" {mark} "
        self._pages, self._characters = map(tf.constant, _character_tables(splits, symbols))
        self._marks = marks
        self._unknown, self._prefix_length = model.unknown, len(model.prefix)
        self._max_word = model.max_word
        self._max_tokens, self._max_characters = model.max_tokens, model.max_characters

    def graph(self, texts: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the numbers of all known tokens in reading order and the row of each, `int64[t]`.

        Args:
            texts: `string[B]`, UTF-8; what is not counts as U+FFFD.
        """
        import tensorflow as tf

        num_rows = tf.shape(texts, out_type=tf.int64)[0]
        symbols, rows = self._symbols(texts)
        is_inside = symbols > _SPACE
        is_start = tf.logical_and(is_inside, tf.logical_not(tf.pad(is_inside[:-1], [[1, 0]])))
        inside, starts = tf.where(is_inside)[:, 0], tf.where(is_start)[:, 0]
        words = tf.gather(tf.cumsum(tf.cast(is_start, tf.int64)) - 1, inside)
        num_words = tf.size(starts, tf.int64)
        lengths = tf.math.unsorted_segment_sum(tf.ones_like(words), words, num_words)
        fits = lengths <= self._max_word
        nodes = self._longest_pieces(symbols, inside, is_start)
        is_reached = self._reached(nodes, tf.boolean_mask(starts, fits), is_inside, is_start)
        reached = tf.gather(is_reached, inside)
        found = tf.gather(nodes, inside)
        stuck = tf.cast(tf.logical_and(reached, found == 0), tf.int32)
        known = tf.logical_and(fits, tf.math.unsorted_segment_max(stuck, words, num_words) < 1)
        word_is_known = tf.gather(known, words)
        # a word that is unknown counts as one token, at its start
        counts = tf.where(word_is_known, reached, tf.gather(is_start, inside))
        numbers = tf.gather(self._tokens, tf.boolean_mask(found, counts))
        numbers = tf.where(tf.boolean_mask(word_is_known, counts), numbers, self._unknown)
        rows = tf.gather(rows, tf.boolean_mask(inside, counts))
        kept = numbers != self._unknown
        if self._max_tokens is not None:
            per_row = tf.math.unsorted_segment_sum(tf.ones_like(rows), rows, num_rows)
            places = tf.range(tf.size(rows, tf.int64)) - tf.gather(tf.cumsum(per_row, exclusive=True), rows)
            kept = tf.logical_and(kept, places < self._max_tokens)
        return tf.cast(tf.boolean_mask(numbers, kept), tf.int64), tf.boolean_mask(rows, kept)

    def _symbols(self, texts: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the symbols of all texts, spaces around each, `int32[s]`, and their rows, `int64[s]`."""
        import tensorflow as tf

        if self._max_characters is not None:
            texts = tf.strings.substr(texts, 0, self._max_characters, unit="UTF8_CHAR")
        if self._marks:
            texts = tf.strings.regex_replace(texts, f"[{min(self._marks)}-{max(self._marks)}]", _PRIVATE)
        for mark, literal in self._marks.items():
            texts = tf.strings.regex_replace(texts, re.escape(literal), mark)
        decoded = tf.strings.unicode_decode(tf.strings.join([" ", texts, " "]), "UTF-8")
        points, rows = decoded.flat_values, decoded.value_rowids()
        pages = tf.gather(self._pages, points // PAGE)
        symbols = tf.gather(self._characters, pages * PAGE + points % PAGE)
        is_symbol = symbols >= _SPACE
        rows = tf.broadcast_to(rows[:, tf.newaxis], tf.shape(symbols))
        return tf.boolean_mask(symbols, is_symbol), tf.boolean_mask(rows, is_symbol)

    def _longest_pieces(self, symbols: tf.Tensor, inside: tf.Tensor, is_start: tf.Tensor) -> tf.Tensor:
        """Returns the node of the longest piece that begins at each symbol, 0 for none, `int32[s]`."""
        import tensorflow as tf

        num_symbols, last = tf.size(symbols), len(self._keys) - 1
        wide = tf.cast(symbols, tf.int64)

        def step(
            ahead: tf.Tensor, places: tf.Tensor, nodes: tf.Tensor, longest: tf.Tensor
        ) -> tuple[tf.Tensor, ...]:
            wanted = nodes * self._num_symbols + tf.gather(wide, places + ahead)
            found = tf.minimum(tf.searchsorted(self._keys, wanted, out_type=tf.int64), last)
            goes_on = tf.gather(self._keys, found) == wanted
            places, nodes = tf.boolean_mask(places, goes_on), tf.boolean_mask(found, goes_on) + 1
            ends = tf.where(tf.gather(self._tokens, nodes) >= 0, tf.cast(nodes, tf.int32), 0)
            deepest = tf.math.unsorted_segment_max(
                ends, places, num_symbols
            )  # a later node is a longer piece
            return ahead + 1, places, nodes, tf.maximum(longest, deepest)

        first = tf.where(tf.gather(is_start, inside), tf.constant(0, tf.int64), self._node_inside)
        start = (tf.constant(0, tf.int64), inside, first, tf.zeros_like(symbols))
        vector = tf.TensorShape([None])
        *_, longest = tf.while_loop(
            lambda ahead, places, nodes, longest: tf.size(places) > 0,
            step,
            start,
            shape_invariants=(tf.TensorShape([]), vector, vector, vector),
        )
        return longest

    def _reached(
        self, nodes: tf.Tensor, starts: tf.Tensor, is_inside: tf.Tensor, is_start: tf.Tensor
    ) -> tf.Tensor:
        """Returns where the pieces of words begin, each the longest that there is, `bool[s]`.

        A word is given up where no piece goes on.
        """
        import tensorflow as tf

        num_symbols = tf.size(nodes)
        lengths = tf.gather(self._depths, nodes) - tf.where(is_start, 0, self._prefix_length)
        following = tf.where(nodes > 0, tf.range(num_symbols) + lengths, 0)  # no word holds the first symbol
        following = tf.where(tf.gather(is_inside, following), tf.cast(following, tf.int64), -1)

        def step(places: tf.Tensor, reached: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            marked = tf.math.unsorted_segment_sum(tf.ones_like(places), places, num_symbols)
            places = tf.gather(following, places)
            return tf.boolean_mask(places, places >= 0), reached + marked

        vector = tf.TensorShape([None])
        _, reached = tf.while_loop(
            lambda places, reached: tf.size(places) > 0,
            step,
            (starts, tf.zeros_like(following)),
            shape_invariants=(vector, vector),
        )
        return reached > 0


def _trie(pieces: Mapping[str, int], symbols: Mapping[str, int], prefix: str) -> _Trie:
    base = len(symbols) + _UNKNOWN + 1
    beginnings = {piece[:end] for piece in pieces for end in range(1, len(piece) + 1)}
    nodes, keys, depths = {"": 0}, [], [0]
    for depth, level in groupby(sorted(beginnings, key=len), key=len):
        keyed = sorted((nodes[text[:-1]] * base + symbols[text[-1]], text) for text in level)
        for key, text in keyed:
            keys.append(key)
            depths.append(depth)
            nodes[text] = len(keys)
    tokens = np.full(len(keys) + 1, -1, np.int32)
    for piece, number in pieces.items():
        if piece not in ("", prefix):
            tokens[nodes[piece]] = number
    return _Trie(np.array(keys, np.int64), tokens, np.array(depths, np.int32), nodes.get(prefix, -1))


def _character_tables(splits: Sequence[str], symbols: Mapping[str, int]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the page of each 256 code points and the symbols of each character of the different pages.

    The symbols are `int32[256 * pages, k]`, with -1 behind the last one of a character.
    """
    numbers: dict[bytes, int] = {}
    pages, characters = [], []
    for first in range(0, NUM_CODE_POINTS, PAGE):
        texts = splits[first : first + PAGE]
        found = {text: _symbols_of(text, symbols) for text in set(texts)}
        page = [found[text] for text in texts]
        content = repr(page).encode()
        if content not in numbers:
            numbers[content] = len(numbers)
            characters += page
        pages.append(numbers[content])
    table = np.full((len(characters), max(map(len, characters))), -1, np.int32)
    for place, symbols_there in enumerate(characters):
        table[place, : len(symbols_there)] = symbols_there
    return np.array(pages, np.int32), table


def _symbols_of(text: str, symbols: Mapping[str, int]) -> list[int]:
    single = re.sub("  +", " ", text)
    return [_SPACE if character == " " else symbols.get(character, _UNKNOWN) for character in single]
