"""A fitted extractor for tests whose column of codes has learned vectors."""

from dataclasses import dataclass

from autoflow.components.base import FittedExtractor


@dataclass(frozen=True)
class Codes(FittedExtractor):
    """One column of codes with a learned vector."""

    size: int

    @property
    def widths(self):
        return (1,)

    @property
    def layer_widths(self):
        return (3,)

    def transform(self, values):
        return values

    def graph(self, values, tables):
        return values

    def layer(self):
        import keras

        return keras.Sequential([keras.layers.Embedding(self.size, 3), keras.layers.Flatten()])
