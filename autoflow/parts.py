"""Exported models as parts of the next one: whether a version folder is fit for it, and its graph.

A folder may come from another team. Its graph may hold only operations that AutoFlow's own exports use, none
of which reads or writes files or starts anything, and its files must be those that its manifest names.
"""

from __future__ import annotations

import functools
import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoflow.data.dataset import Dataset
from autoflow.data.schema import Column, ColumnKind, ModelPart, RawType, Schema
from autoflow.errors import DataError, NoModelError
from autoflow.manifest import Manifest, damage, graph_files, input_key, read_manifest

if TYPE_CHECKING:
    import tensorflow as tf

_SIGNATURE = "embed"

_NAMES = """
Abs AddN AddV2 All Any AsString Assert AvgPool BatchDatasetV2 BatchMatMulV2 BiasAdd Bitcast BitwiseAnd
BroadcastTo Cast ConcatV2 ConcatenateDataset Const Conv2D Cos Cumsum DatasetToSingleElement DecodeImage
DecodeJpeg DecodePaddedRaw DecodePng DecodeRaw DenseBincount DepthwiseConv2dNative Einsum EnsureShape Equal
Erfc Exp ExpandDims ExtractJpegShape Fill FlatMapDataset Floor FloorDiv FloorMod GatherNd GatherV2 Greater
GreaterEqual HashTableV2 Identity IdentityN If IgnoreErrorsDataset Invert IsFinite IsNan Less LessEqual Log
LogSoftmax LogicalAnd LogicalNot LogicalOr LookupTableFindV2 LookupTableImportV2 LowerBound MapDataset
MatMul Max MaxPool Maximum Mean Min Minimum MirrorPad Mul Neg NoOp NotEqual OneHot OnesLike Pack Pad PadV2
ParseExampleV2 PartitionedCall Placeholder PopulationCount Pow Prod RaggedGather RaggedTensorToTensor Range
ReadVariableOp RealDiv Relu Relu6 Reshape ReverseV2 Round Rsqrt ScaleAndTranslate ScatterNd SegmentSum
Select SelectV2 Shape Sigmoid Sin Size Softmax SparseSegmentMeanWithNumSegments
SparseSegmentSumWithNumSegments SparseTensorDenseMatMul Split SplitV Sqrt Square SquaredDifference Squeeze
StatefulPartitionedCall StatelessCase StatelessIf StatelessWhile StaticRegexFullMatch StaticRegexReplace
StopGradient StridedSlice StringJoin StringLength StringLower StringSplitV2 StringStrip StringToNumber Sub
Substr Sum TakeDataset Tanh TensorDataset TensorListFromTensor TensorListGetItem TensorListReserve
TensorListSetItem TensorListStack TensorSliceDataset Tile TopKV2 Transpose UnicodeDecode UnicodeEncode
Unique UniqueWithCounts Unpack UnsortedSegmentMax UnsortedSegmentSum UpperBound VarHandleOp Where While
ZerosLike
"""
OPERATIONS = frozenset(_NAMES.split())
"""What the graphs of AutoFlow's exports are made of."""

_SAVING = frozenset(
    ["AssignVariableOp", "DisableCopyOnRead", "MergeV2Checkpoints", "RestoreV2", "SaveV2", "ShardedFilename"]
)
"""What TensorFlow adds to SavedModels to load their arrays and to save them; nothing called may hold them."""


def model_part(folder: Path, schema: Schema, table: str, data: Dataset | None = None) -> ModelPart:
    """Returns an exported model as a part of a model of this table, after every check that needs no loading.

    Args:
        folder: version folder, such as `run/model/1`.
        schema: of the table.
        table: its name, for messages.
        data: its content; None where a model of the same rows is no concern.

    Raises:
        NoModelError: no model there, a changed one, one without embeddings, or one of this very table.
        DataError: the table lacks a column that the model reads, or has another kind of values in it.
    """
    manifest = read_manifest(folder)
    fingerprint = _fingerprint(folder, manifest)
    if not manifest.embedding_size:
        raise NoModelError(f"{folder}: the model gives no embeddings; export it with this AutoFlow.")
    _check_operations(folder)
    own = {column.name: column for column in schema.columns}
    dropped = {column.name: column.reason for column in schema.dropped}
    for column in manifest.schema.columns:
        if column.name not in own:
            why = f"was left out ({dropped[column.name]})" if column.name in dropped else "is missing"
            raise DataError(f"{table}: column {column.name!r}, which the model in {folder} reads, {why}.")
        if _form(own[column.name]) != _form(column):
            raise DataError(
                f"{table}: column {column.name!r} is {_described(own[column.name])}, but the model in "
                f"{folder} reads it as {_described(column)}; leave --embedding out, or write the column as "
                "it was there."
            )
    if data is not None and manifest.details.data == _as_read_by(manifest.schema, data).fingerprint:
        raise NoModelError(
            f"{folder}: this model was fitted on this very table, so its embeddings know the labels and "
            "every score would be too good. Name a model that was fitted on other rows."
        )
    return ModelPart(
        str(folder.resolve()), fingerprint, tuple(column.name for column in manifest.schema.columns)
    )


def _as_read_by(schema: Schema, data: Dataset) -> Dataset:
    """Returns the data with the columns of a model only: it may have been fitted without the others."""
    raw = {column.name: data.raw[column.name] for column in schema.columns}
    return replace(data, schema=replace(data.schema, columns=schema.columns), raw=raw)


@functools.lru_cache(maxsize=8)
def load_part(folder: str, fingerprint: str) -> LoadedPart:
    """Returns the graph of a model part, loaded once a process.

    Args:
        folder: version folder.
        fingerprint: of the `ModelPart`.

    Raises:
        NoModelError: the folder no longer holds that model.
    """
    import tensorflow as tf

    path = Path(folder)
    manifest = read_manifest(path)
    if _fingerprint(path, manifest) != fingerprint:
        raise NoModelError(f"{folder}: this is another model than the search began with.")
    _check_operations(path)
    with tf.init_scope():
        return LoadedPart(manifest, tf.saved_model.load(folder))


class LoadedPart:
    """A loaded model that gives embeddings.

    Args:
        manifest: of its folder.
        resource: what owns its tables; whoever calls it in a graph of their own has to keep this.
    """

    def __init__(self, manifest: Manifest, resource: Any) -> None:
        self.manifest = manifest
        self.resource = resource

    def __call__(self, values: tf.Tensor) -> tf.Tensor:
        """Returns finite `tf.float32[B, d]`.

        Args:
            values: `tf.string[B, k]`, raw values as text, numbers with 17 digits.
        """
        import tensorflow as tf

        dtypes = {RawType.FLOAT32: tf.float32, RawType.FLOAT64: tf.float64}
        inputs = {}
        for position, column in enumerate(self.manifest.schema.columns):
            value = values[:, position]
            if column.raw_type in dtypes:
                value = tf.cast(tf.strings.to_number(value, tf.float64), dtypes[column.raw_type])
            inputs[input_key(position)] = value
        vectors = self.resource.signatures[_SIGNATURE](**inputs)["embedding"]
        vectors = tf.ensure_shape(vectors, [None, self.manifest.embedding_size])
        return tf.where(tf.math.is_finite(vectors), vectors, tf.zeros_like(vectors))


def _fingerprint(folder: Path, manifest: Manifest) -> str:
    wrong = damage(folder, manifest)
    if wrong:
        raise NoModelError(f"{folder}: {wrong}; copy the version folder again.")
    files = graph_files(manifest)
    columns = [[column.name, column.raw_type.value] for column in manifest.schema.columns]
    return hashlib.sha256(json.dumps([sorted(files.items()), columns]).encode()).hexdigest()


def _check_operations(folder: Path) -> None:
    """Raises NoModelError where loading or calling the graph could do more than compute."""
    from tensorflow.core.protobuf import saved_model_pb2

    model = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    if len(model.meta_graphs) != 1 or not model.meta_graphs[0].HasField("object_graph_def"):
        # TensorFlow loads such a file in another way, which runs operations while it loads
        raise NoModelError(f"{folder}: this is no SavedModel as AutoFlow exports it, so it is not taken in.")
    unknown: set[str] = set()
    for meta_graph in model.meta_graphs:
        library = {f.signature.name: f.node_def for f in meta_graph.graph_def.library.function}
        used = {node.op for nodes in (meta_graph.graph_def.node, *library.values()) for node in nodes}
        unknown |= used - OPERATIONS - _SAVING - library.keys()
        called = set(meta_graph.object_graph_def.concrete_functions)
        for nodes in library.values():
            called |= {function for node in nodes for function in _functions_of(node)}
        for name in called & library.keys():
            unknown |= {node.op for node in library[name]} & _SAVING
    if unknown:
        raise NoModelError(
            f"{folder}: its graph holds operations that no export of this AutoFlow has "
            f"({', '.join(sorted(unknown)[:5])}), so it is not taken in as a part."
        )


def _functions_of(node: Any) -> list[str]:
    """Returns the names of functions that a node may call."""
    named = [value.func.name for value in node.attr.values()]
    listed = [function.name for value in node.attr.values() for function in value.list.func]
    return [node.op, *named, *listed]


def _form(column: Column) -> tuple[bool, bool]:
    return column.raw_type is RawType.STRING, column.kind is ColumnKind.IMAGE


def _described(column: Column) -> str:
    return f"{column.kind.value} ({'text' if column.raw_type is RawType.STRING else 'numbers'})"
