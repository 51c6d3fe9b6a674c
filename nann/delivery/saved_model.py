"""exec.pb and exec.meta.pb become a SavedModel.

The graph is the same. Its arrays lie in the model's own assets/: whoever loads
the model says where that is, so the folder can be moved and copied.
"""

import pathlib

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from nann.delivery import exec_graph, placement
from nann.delivery.array_nodes import ASSETS_INPUT, READ_ARRAYS

# The file whose place the loader gives; the others lie beside it.
ASSETS_LIST = "arrays.json"
_MAIN_OP = "saved_model_main_op"
_SCHEMA_VERSION = 1


def write(
  graph_def: tf.compat.v1.GraphDef,
  signatures: tf.compat.v1.MetaGraphDef,
  path: pathlib.Path,
) -> None:
  """Writes saved_model.pb.

  Args:
    graph_def: Of exec.pb.
    signatures: Of exec.meta.pb.
    path: The file. ASSETS_LIST and the arrays lie in assets/ beside it.
  """
  graph = tf.Graph()
  with graph.as_default():
    asset = tf.constant(ASSETS_LIST, name="asset")
    given = tf.strings.regex_replace(asset, "/[^/]*$", "")
    if exec_graph.has_variables(graph_def):
      _import(graph_def, given)
      ready = graph.get_operation_by_name(READ_ARRAYS)
    else:
      # Given only while the model is loaded, but wanted by every request.
      folder = tf.raw_ops.VarHandleOp(
        dtype=tf.string, shape=[], shared_name="nann_assets", name="assets"
      )
      ready = tf.raw_ops.AssignVariableOp(resource=folder, value=given)
      _import(
        graph_def, tf.raw_ops.ReadVariableOp(resource=folder, dtype=tf.string)
      )
    tf.compat.v1.add_to_collection(_MAIN_OP, ready)
    meta = tf.compat.v1.train.export_meta_graph(strip_default_attrs=True)
  placement.keep_on_cpu(meta.graph_def)
  meta.meta_info_def.tags.append(tf.saved_model.SERVING)
  for name, signature in signatures.signature_def.items():
    meta.signature_def[name].CopyFrom(signature)
  file = meta.asset_file_def.add(filename=ASSETS_LIST)
  file.tensor_info.name = asset.name
  _write_proto(path, meta)


def _import(graph_def: tf.compat.v1.GraphDef, assets: tf.Tensor) -> None:
  tf.graph_util.import_graph_def(
    graph_def, input_map={f"{ASSETS_INPUT}:0": assets}, name=""
  )


def _write_proto(path: pathlib.Path, meta: tf.compat.v1.MetaGraphDef) -> None:
  saved = saved_model_pb2.SavedModel(
    saved_model_schema_version=_SCHEMA_VERSION, meta_graphs=[meta]
  )
  path.write_bytes(saved.SerializeToString(deterministic=True))
