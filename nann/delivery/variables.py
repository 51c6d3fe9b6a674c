"""Reads the variables of a module as constants while a function is traced."""

import contextlib
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from nann.model.scorer import keras_layers


@contextlib.contextmanager
def as_constants(module: tf.Module) -> Iterator[dict[str, tf.Tensor]]:
  """Puts values in the place of variables for the time of the block.

  What is traced in the block captures the values, without a copy, and no
  variable. Found are the variables in the attributes of the module and of its
  submodules, and those of Keras layers.

  Yields:
    The values by name.
  """
  values: dict[int, tf.Tensor] = {}
  names: dict[str, tf.Tensor] = {}

  def value_of(variable: tf.Variable, name: str) -> tf.Tensor:
    if id(variable) not in values:
      # Where rows were looked up, reading would copy the whole from then on.
      tf.raw_ops.DisableCopyOnRead(resource=variable.handle)
      values[id(variable)] = tf.convert_to_tensor(variable)
      names[name] = values[id(variable)]
    return values[id(variable)]

  replaced: list[tuple[dict[str, Any], str, Any]] = []
  try:
    for part in (module, *module.submodules):
      attributes = vars(part)
      for name, attribute in list(attributes.items()):
        # Not the lists in which checkpoints find them.
        if not name.startswith("_self_") and _holds_variables(attribute):
          replaced.append((attributes, name, attribute))
          attributes[name] = tf.nest.map_structure(
            lambda leaf, name=f"{part.name}_{name}": (
              value_of(leaf, name) if _is_variable(leaf) else leaf
            ),
            attribute,
          )
    mapping = [
      (variable, value_of(variable.value, f"{layer.name}_{variable.name}"))
      for layer in keras_layers(module)
      for variable in layer.variables
    ]
    with _keras_scope(mapping):
      yield names
  finally:
    for attributes, name, attribute in reversed(replaced):
      attributes[name] = attribute


def _keras_scope(mapping: list[Any]) -> contextlib.AbstractContextManager[Any]:
  if not mapping:
    return contextlib.nullcontext()
  return tf.keras.StatelessScope(state_mapping=mapping)


def _is_variable(value: Any) -> bool:
  return isinstance(value, tf.Variable)


def _holds_variables(attribute: Any) -> bool:
  if _is_variable(attribute):
    return True
  if not isinstance(attribute, (list, tuple, dict)):
    return False
  return any(map(_is_variable, tf.nest.flatten(attribute)))
