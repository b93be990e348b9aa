"""How many pixels a GIF holds in all its frames: the TensorFlow twin of `picture_headers.gif_pixels`.

TensorFlow decodes all frames of a GIF to give its first one, and each may be larger than the header says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from autoflow.data.picture_headers import (
    GIF_EXTENSION,
    GIF_IMAGE,
    GIF_START,
    MAX_GIF_BLOCKS,
    TOO_MANY_PIXELS,
)

if TYPE_CHECKING:
    import tensorflow as tf


def gif_pixels(content: tf.Tensor) -> tf.Tensor:
    """Returns what `picture_headers.gif_pixels` returns, a scalar `tf.int64`.

    Args:
        content: the bytes of a GIF, a scalar `tf.string`.
    """
    import tensorflow as tf

    numbers = tf.io.decode_raw(tf.strings.join([content, "\0" * GIF_START]), tf.uint8)
    last = tf.size(numbers, tf.int64) - 1

    def at(place: tf.Tensor) -> tf.Tensor:
        return tf.cast(tf.gather(numbers, tf.minimum(place, last)), tf.int64)

    def two(place: tf.Tensor) -> tf.Tensor:
        return at(place) + 256 * at(place + 1)

    def palette(flags: tf.Tensor) -> tf.Tensor:
        return tf.where(flags >= 128, 3 * 2 ** (flags % 8 + 1), tf.zeros_like(flags))

    def goes_on(place: tf.Tensor, in_data: tf.Tensor, *_: tf.Tensor) -> tf.Tensor:
        return in_data | tf.equal(at(place), GIF_IMAGE) | tf.equal(at(place), GIF_EXTENSION)

    def step(place: tf.Tensor, in_data: tf.Tensor, *sums: tf.Tensor) -> tuple[tf.Tensor, ...]:
        total, width, height = sums

        def data() -> tuple[tf.Tensor, ...]:
            return place + 1 + at(place), at(place) > 0, *sums

        def image() -> tuple[tf.Tensor, ...]:
            wide, high = two(place + 5), two(place + 7)
            sides = tf.maximum(width, wide), tf.maximum(height, high)
            after = place + 11 + palette(at(place + 9))
            return after, tf.constant(True), total + wide * high, *sides

        def extension() -> tuple[tf.Tensor, ...]:
            return place + 2, tf.constant(True), *sums

        return tf.cond(in_data, data, lambda: tf.cond(tf.equal(at(place), GIF_IMAGE), image, extension))

    zero = tf.constant(0, tf.int64)
    begin = (
        GIF_START + palette(at(zero + 10)),
        tf.constant(False),
        zero,
        two(zero + 6),
        two(zero + 8),
    )
    place, in_data, total, width, height = tf.while_loop(
        goes_on, step, begin, maximum_iterations=MAX_GIF_BLOCKS
    )
    found = tf.maximum(total, width * height)
    return tf.where(goes_on(place, in_data), tf.constant(TOO_MANY_PIXELS, tf.int64), found)
