"""Columns as tokens of a small transformer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from autoflow.components.base import Concatenation
from autoflow.components.concatenation._tokens import flat, inputs_of, project, side_by_side
from autoflow.components.registry import register
from autoflow.data.schema import DataProfile

if TYPE_CHECKING:
    import keras
    import keras_tuner


@register
@dataclass(frozen=True)
class Attention(Concatenation):
    """Each column's features as a token, mixed by pre-norm transformer blocks; a class token is read out.

    After the FT-Transformer (Gorishniy et al., "Revisiting Deep Learning Models for Tabular Data", NeurIPS
    2021): no layer norm before the first attention, ReGLU replaced by GELU.

    Args:
        heads: attention heads, 1 to 8.
        head_width: width of a head; a token is `heads * head_width` wide, 8 to 32.
        blocks: transformer blocks, 1 to 3.
        dropout: on attention weights and in the feed-forward part, 0 to 0.5.
        pooling: `"class"` (a learned token collects the row) or `"mean"`.
    """

    heads: int = 4
    head_width: int = 12
    blocks: int = 1
    dropout: float = 0.1
    pooling: str = "class"

    @classmethod
    def sample(cls, hp: keras_tuner.HyperParameters, profile: DataProfile) -> Self:
        """Draws the size of the transformer."""
        return cls(
            heads=hp.Int("heads", 1, 8, sampling="log", default=4),
            head_width=hp.Int("head_width", 8, 32, step=4, default=12),
            blocks=hp.Int("blocks", 1, 3, default=1),
            dropout=hp.Float("dropout", 0.0, 0.5, default=0.1),
            pooling=hp.Choice("pooling", ["class", "mean"], default="class"),
        )

    @classmethod
    def supports(cls, profile: DataProfile) -> bool:
        """Two to 100 columns (attention grows with their square), up to 100,000 rows."""
        return 2 <= len(profile.columns) <= 100 and profile.num_rows <= 100_000

    def layer(self, widths: Sequence[Sequence[int]]) -> keras.layers.Layer:
        """Returns a layer to `float32[B, heads * head_width]`."""
        import keras

        inputs = inputs_of(widths)
        features = side_by_side(inputs)
        columns = flat(widths)
        if self.pooling == "class":  # a constant feature whose projection is the class token
            one = keras.ops.ones_like(features[:, :1])
            features, columns = keras.layers.Concatenate()([one, features]), [1, *columns]
        width = self.heads * self.head_width
        tokens = project(features, columns, width)
        for number in range(self.blocks):
            if len(columns) > 1:  # a single token has nothing to attend to
                tokens = self._attend(tokens, normalise_first=number > 0)
            tokens = self._feed_forward(tokens, width)
        pooled = tokens[:, 0] if self.pooling == "class" else keras.ops.mean(tokens, axis=1)
        return keras.Model(inputs, keras.layers.LayerNormalization()(pooled))

    def numbers_a_row(self, widths: Sequence[Sequence[int]]) -> int:
        """Each head compares every token with every other; beside that, tokens widen to three vectors."""
        tokens = len(flat(widths)) + 1
        return self.heads * tokens * (2 * tokens + 6 * self.head_width)

    def _attend(self, tokens: keras.KerasTensor, *, normalise_first: bool) -> keras.KerasTensor:
        import keras

        inner = keras.layers.LayerNormalization()(tokens) if normalise_first else tokens
        attention = keras.layers.MultiHeadAttention(self.heads, self.head_width, dropout=self.dropout)
        return keras.layers.Add()([tokens, attention(inner, inner)])

    def _feed_forward(self, tokens: keras.KerasTensor, width: int) -> keras.KerasTensor:
        import keras

        inner = keras.layers.LayerNormalization()(tokens)
        inner = keras.layers.Dense(2 * width, activation="gelu")(inner)
        inner = keras.layers.Dense(width)(keras.layers.Dropout(self.dropout)(inner))
        return keras.layers.Add()([tokens, inner])
