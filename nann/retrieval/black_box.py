"""A model nobody may look into, as one graph of a score per pair.

All kinds of models end as the same thing: constants instead of variables, a
named input for each feature and one output. What belongs to whom is not known
here.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from tensorflow.python.framework import convert_to_constants

Features = Mapping[str, Any]

_TABLE_BYTES = 16 << 20


class BlackBox(NamedTuple):
  """A frozen model.

  Attributes:
    call: features [n, *] -> scores [n] or [n, 1]: the model itself.
    graph: The model with its variables as constants.
    tables: Constants too large for a graph, by the name of the placeholder
      that stands for them.
    inputs: The graph's placeholders [n, *] by feature.
    output: The graph's scores [n] or [n, 1].
  """

  call: Callable[[Features], tf.Tensor]
  graph: tf.Graph
  inputs: dict[str, tf.Tensor]
  output: tf.Tensor
  tables: dict[str, np.ndarray]


def freeze(model: Any, probe: Features | None) -> BlackBox:
  """Freezes a model for any number of pairs.

  Args:
    model: A Keras model, a signature of a SavedModel, a function of TensorFlow
      with named inputs, or any callable on a dict of features.
    probe: Features [P, *]; says what the inputs are where the model does not.

  Raises:
    ValueError: The inputs are not known, an input has a fixed number of rows,
      or the model returns anything but one score per pair.
  """
  specs, call = _signature(model, probe)
  for name, spec in specs.items():
    if spec.shape.rank is None or spec.shape.rank < 1 or spec.shape[0]:
      raise ValueError(
        f"input {name!r} has shape {spec.shape}, wanted [None, ...]: the first"
        " dimension counts pairs and may be of any size"
      )

  def one_output(features: Features) -> tf.Tensor:
    return _score_of(call(features))

  concrete = tf.function(one_output, autograph=False).get_concrete_function(
    specs
  )
  frozen = convert_to_constants.convert_variables_to_constants_v2(
    concrete, lower_control_flow=False
  )
  # A dict is flattened in the order of its sorted keys.
  if len(frozen.inputs) != len(specs):
    others = [x.name for x in frozen.inputs[len(specs) :]]
    raise ValueError(
      f"the model holds {others} besides variables (tables?), wanted a model"
      " whose only resources are variables"
    )
  graph, tables = _without_tables(frozen.graph)
  inputs = {
    name: graph.get_tensor_by_name(tensor.name)
    for name, tensor in zip(sorted(specs), frozen.inputs, strict=True)
  }
  output = graph.get_tensor_by_name(frozen.outputs[0].name)
  return BlackBox(one_output, graph, inputs, output, tables)


def features_for(box: BlackBox, probe: Features | None) -> dict[str, Any]:
  """Returns rows [P, *] to try the model on: the caller's, or random ones.

  Raises:
    ValueError: There are no rows, and no way to guess them; or they do not fit.
  """
  if probe is None:
    return _random_rows(box)
  if set(probe) != set(box.inputs):
    raise ValueError(
      f"probe has features {sorted(probe)}, wanted {sorted(box.inputs)}"
    )
  rows = {}
  for name, tensor in box.inputs.items():
    rows[name] = np.asarray(probe[name], tensor.dtype.as_numpy_dtype)
    if not tensor.shape.is_compatible_with(rows[name].shape):
      raise ValueError(
        f"probe[{name!r}] has shape {rows[name].shape}, wanted {tensor.shape}"
      )
  counts = {name: len(array) for name, array in rows.items()}
  if len(set(counts.values())) > 1 or min(counts.values()) < 2:
    raise ValueError(
      f"probe has {counts} rows, wanted the same number, 2 or more, of each"
    )
  return rows


def _random_rows(box: BlackBox, num_rows: int = 8) -> dict[str, Any]:
  rng = np.random.default_rng(0)
  rows = {}
  for name, tensor in box.inputs.items():
    if not tensor.dtype.is_floating:
      raise ValueError(
        f"input {name!r} is {tensor.dtype.name}, whose range is not known; pass"
        " probe: a few rows of every feature"
      )
    shape = [num_rows, *(size or 6 for size in tensor.shape[1:])]
    rows[name] = rng.normal(size=shape).astype(tensor.dtype.as_numpy_dtype)
  return rows


def _without_tables(
  source: tf.Graph,
) -> tuple[tf.Graph, dict[str, np.ndarray]]:
  """Replaces large constants by placeholders: a graph is copied often."""
  definition = source.as_graph_def()
  tables = {}
  for node in definition.node:
    value = node.attr["value"].tensor if node.op == "Const" else None
    if value is None or value.ByteSize() < _TABLE_BYTES:
      continue
    tables[f"{node.name}:0"] = tf.make_ndarray(value)
    node.op = "Placeholder"
    node.attr["shape"].shape.CopyFrom(value.tensor_shape)
    del node.attr["value"]
  graph = tf.Graph()
  with graph.as_default():
    tf.graph_util.import_graph_def(definition, name="")
  return graph, tables


def _signature(
  model: Any, probe: Features | None
) -> tuple[dict[str, tf.TensorSpec], Callable[[Features], Any]]:
  """Returns the inputs by name, and the model as a function of them."""
  if getattr(model, "input_signature", None) is not None:
    model = model.get_concrete_function()
  if hasattr(model, "structured_input_signature"):
    return _concrete_signature(model)
  # What a Keras model with known inputs has; no other callable does.
  if getattr(model, "inputs", None):
    known = model.input
    if not isinstance(known, dict):
      known = {tensor.name: tensor for tensor in tf.nest.flatten(known)}
    specs = {
      name: tf.TensorSpec(tensor.shape, tensor.dtype, name)
      for name, tensor in known.items()
    }
    return specs, lambda features: model(dict(features), training=False)
  if probe is None:
    raise ValueError(
      f"{model!r} does not say what its inputs are; pass probe: a few rows of"
      " every feature"
    )
  specs = {}
  for name, rows in probe.items():
    array = np.asarray(rows)
    specs[name] = tf.TensorSpec([None, *array.shape[1:]], array.dtype, name)
  return specs, lambda features: model(dict(features))


def _concrete_signature(
  concrete: Any,
) -> tuple[dict[str, tf.TensorSpec], Callable[[Features], Any]]:
  args, kwargs = concrete.structured_input_signature
  specs = {}
  for arg in args:
    named = arg if isinstance(arg, dict) else {}
    for spec in [] if named else tf.nest.flatten(arg):
      named[spec.name] = spec
    specs.update(named)
  specs.update(kwargs)

  def call(features: Features) -> Any:
    values = []
    for arg in args:
      if isinstance(arg, dict):
        values.append({name: features[name] for name in arg})
      else:
        flat = [features[spec.name] for spec in tf.nest.flatten(arg)]
        values.append(tf.nest.pack_sequence_as(arg, flat))
    return concrete(*values, **{name: features[name] for name in kwargs})

  return specs, call


def _score_of(result: Any) -> tf.Tensor:
  outputs = tf.nest.flatten(result)
  if len(outputs) != 1:
    raise ValueError(
      f"the model returns {len(outputs)} tensors, wanted one: a score per pair"
    )
  shape = outputs[0].shape
  is_score = shape.rank is None or (
    shape.rank in (1, 2)
    and shape[1:].is_compatible_with([1] * (shape.rank - 1))
  )
  if not (is_score and outputs[0].dtype.is_floating):
    raise ValueError(
      f"the model returns {outputs[0].dtype.name} {shape}, wanted float [n] or"
      " [n, 1]: a score per pair"
    )
  return outputs[0]
