"""Decodes pictures to a grid of pixels: one TensorFlow function for training and for serving.

What cannot be decoded becomes black, as a missing picture does; one bad picture must not fail its batch, and
TensorFlow's decoders raise, so each picture passes through a tiny `tf.data` pipeline that drops errors.
"""

from __future__ import annotations

from collections import OrderedDict
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from autoflow.components.feature_extraction._gif_frames import gif_pixels
from autoflow.data.images import MAX_PIXELS, picture_bytes
from autoflow.data.picture_headers import FORMATS, HEADER_BYTES, JPEG_START, header_size, is_readable
from autoflow.errors import MachineError

if TYPE_CHECKING:
    import tensorflow as tf

_CHUNK = 256
"""Pictures that are in memory at a time while a table is prepared."""
KEPT_BYTES = 512 * 2**20
"""Memory of a process for pictures that are decoded already."""
_GREY = (0.299, 0.587, 0.114)


def pixels(values: np.ndarray, size: int, channels: int) -> np.ndarray:
    """Returns `uint8[n, size, size, channels]`; a picture is decoded once in a process, while there is room.

    Args:
        values: `object[n]` of `autoflow.data.images.Picture`.
        size: height and width that every picture is brought to, in pixels.
        channels: 3 for red, green and blue, 1 for grey.

    Raises:
        MachineError: a picture's file is gone since the table was read.
    """
    found = np.zeros((len(values), size, size, channels), np.uint8)
    unknown = []
    for row, value in enumerate(values):
        grid = _kept.get((value.digest, size, channels))
        if grid is not None:
            found[row] = grid
        elif value.digest:
            unknown.append(row)
    for start in range(0, len(unknown), _CHUNK):
        rows = unknown[start : start + _CHUNK]
        contents = picture_bytes(values[rows])
        for row, content in zip(rows, contents, strict=True):
            if not content:  # black in its place would be learned from, and remembered
                raise MachineError(f"{values[row].path}: the picture was there and cannot be read any more.")
        grids = _traced(size, channels)(contents).numpy()
        found[rows] = grids
        for row, grid in zip(rows, grids, strict=True):
            _kept.put((values[row].digest, size, channels), grid.copy())
    return found


def pixels_graph(contents: tf.Tensor, size: int, channels: int) -> tf.Tensor:
    """Returns the same as `pixels`, `tf.uint8[B, size, size, channels]`, from encoded pictures `[B]`.

    The aspect is not kept. Transparent parts are laid on white, those of a GIF on black; more than eight
    bits a colour are cut to eight, and of a moving GIF the first picture counts.
    """
    import tensorflow as tf

    black = tf.zeros([size, size, channels], tf.uint8)

    def one(content: tf.Tensor) -> tf.data.Dataset:
        picture = tf.data.Dataset.from_tensors(content).map(lambda each: _decoded(each, size, channels))
        return picture.ignore_errors().concatenate(tf.data.Dataset.from_tensors(black)).take(1)

    def decoded() -> tf.Tensor:
        batch = tf.data.Dataset.from_tensor_slices(contents).flat_map(one).batch(2**31 - 1)
        return tf.ensure_shape(batch.get_single_element(), [None, size, size, channels])

    # the pipelines take milliseconds, which a row without a picture need not wait for
    some = tf.reduce_any(tf.strings.length(contents) > 0)
    return tf.cond(some, decoded, lambda: tf.tile(black[tf.newaxis], [tf.size(contents), 1, 1, 1]))


class KeptGrids:
    """Decoded pictures by content, size and colours: folds and components ask for the same ones again.

    Args:
        most_bytes: memory that they may take; the oldest go first.
    """

    def __init__(self, most_bytes: int) -> None:
        self.num_bytes = 0
        self._grids: OrderedDict[tuple[str, int, int], np.ndarray] = OrderedDict()
        self._most_bytes = most_bytes

    def __len__(self) -> int:
        return len(self._grids)

    def get(self, key: tuple[str, int, int]) -> np.ndarray | None:
        """Returns a grid, or None where it is not kept."""
        return self._grids.get(key)

    def put(self, key: tuple[str, int, int], grid: np.ndarray) -> None:
        """Keeps a grid, and forgets the oldest ones where there is no room."""
        self.num_bytes += grid.nbytes - (self._grids[key].nbytes if key in self._grids else 0)
        self._grids[key] = grid
        while self.num_bytes > self._most_bytes:
            self.num_bytes -= self._grids.popitem(last=False)[1].nbytes


_kept = KeptGrids(KEPT_BYTES)


@lru_cache(maxsize=8)
def _traced(size: int, channels: int) -> Any:
    import tensorflow as tf

    spec = tf.TensorSpec([None], tf.string)
    return tf.function(
        lambda contents: pixels_graph(contents, size, channels), autograph=False, input_signature=[spec]
    )


def _decoded(content: tf.Tensor, size: int, channels: int) -> tf.Tensor:
    import tensorflow as tf

    is_jpeg = tf.equal(tf.strings.substr(content, 0, len(JPEG_START)), JPEG_START)
    picture = tf.cond(is_jpeg, lambda: _jpeg(content, size), lambda: _other(content))
    picture = tf.image.resize(tf.ensure_shape(picture, [None, None, 3]), [size, size], antialias=True)
    if channels == 1:
        picture = tf.tensordot(picture, tf.constant(_GREY), axes=1)[..., tf.newaxis]
    return tf.cast(tf.clip_by_value(tf.round(picture), 0.0, 255.0), tf.uint8)


def _jpeg(content: tf.Tensor, size: int) -> tf.Tensor:
    """Decodes at a half, a quarter or an eighth where that is still large enough, which is far quicker."""
    import tensorflow as tf

    shape = tf.image.extract_jpeg_shape(content, tf.int64)
    with tf.control_dependencies([_small_enough(shape[0] * shape[1])]):
        spare = tf.reduce_min(shape[:2]) // size
    step = tf.cast(spare >= 2, tf.int32) + tf.cast(spare >= 4, tf.int32) + tf.cast(spare >= 8, tf.int32)
    decoders = [
        lambda ratio=ratio: tf.cast(tf.io.decode_jpeg(content, channels=3, ratio=ratio), tf.float32)
        for ratio in (1, 2, 4, 8)
    ]
    return tf.switch_case(step, decoders)


def _other(content: tf.Tensor) -> tf.Tensor:
    import tensorflow as tf

    padded = tf.strings.join([content, "\0" * HEADER_BYTES])
    header = tf.unstack(
        tf.cast(tf.io.decode_raw(tf.strings.substr(padded, 0, HEADER_BYTES), tf.uint8), tf.int64),
        num=HEADER_BYTES,
    )
    areas = {}
    for kind, (start, offset, more) in FORMATS.items():
        height, width = header_size(header, kind)
        begins = tf.equal(tf.strings.substr(padded, 0, len(start)), start)
        goes_on = tf.equal(tf.strings.substr(padded, offset, len(more)), more)
        areas[kind] = tf.where(begins & goes_on & is_readable(header, kind), height * width, 0)
    in_frames = tf.cond(areas["gif"] > 0, lambda: gif_pixels(content), lambda: tf.constant(0, tf.int64))
    area = tf.add_n(list(areas.values()))  # none of them, or one, is above zero
    with tf.control_dependencies([_small_enough(area), _small_enough(tf.maximum(area, in_frames))]):
        is_png = areas["png"] > 0
        is_webp = tf.add_n([area for kind, area in areas.items() if kind.startswith("webp")]) > 0
    return tf.cond(is_png, lambda: _png(content, header[24]), lambda: _plain(content, is_webp))


def _plain(content: tf.Tensor, is_webp: tf.Tensor) -> tf.Tensor:
    """Decodes GIF, BMP and WebP; the fourth number of a bitmap's pixels means nothing."""
    import tensorflow as tf

    # TensorFlow refuses a WebP whose channels are not as many as it is asked for
    picture = tf.cast(tf.io.decode_image(content, channels=0, expand_animations=False), tf.float32)
    picture = tf.ensure_shape(picture, [None, None, None])
    see_through = is_webp & (tf.shape(picture)[2] == 4)
    return tf.cond(see_through, lambda: _on_white(picture), lambda: picture[..., :3])


def _png(content: tf.Tensor, depth: tf.Tensor) -> tf.Tensor:
    import tensorflow as tf

    picture = tf.cast(tf.io.decode_png(content, channels=4), tf.float32)
    # TensorFlow fills the opacity of a PNG that has none with 2**depth - 1, so 1 of 255 at one bit a pixel
    filled = tf.cast(2 ** tf.minimum(depth, 8) - 1, tf.float32)
    return tf.cond(
        tf.reduce_all(picture[..., 3] == filled), lambda: picture[..., :3], lambda: _on_white(picture)
    )


def _on_white(picture: tf.Tensor) -> tf.Tensor:
    opacity = picture[..., 3:] / 255.0
    return picture[..., :3] * opacity + 255.0 * (1.0 - opacity)


def _small_enough(area: tf.Tensor) -> tf.Operation:
    import tensorflow as tf

    return tf.debugging.Assert((area > 0) & (area <= MAX_PIXELS), [area])
