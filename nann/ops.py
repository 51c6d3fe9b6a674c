"""The custom TensorFlow ops, loaded when first used.

One documented function per op. Thin: what an op does is said where it is
registered (ops/tf).
"""

import contextlib
import functools
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import tensorflow as tf
from tensorflow.python.framework import kernels

from nann import quiet

LIBRARY_PATH = pathlib.Path(__file__).parent / "_nann_ops.so"

# The kernels for GPUs have this label, and are taken only if it is asked for.
_GPU_LABEL = "gpu"
_GPU_OPS = ("Nann>BeamSearch", "Nann>PairScore")

# (user_state nest of [B, *], item_state nest of [B, n, *]) -> [B, n] float32; B
# is 1 on a CPU.
Score = Callable[[Any, Any], tf.Tensor]


class Found(NamedTuple):
  """Answers of a search.

  Attributes:
    rows: [B, K] int32, best first, padded with -1.
    scores: [B, K] float32, padded with -inf.
    num_scored: [B, S] int32, evaluations of each step, padded with 0.
  """

  rows: tf.Tensor
  scores: tf.Tensor
  num_scored: tf.Tensor


@functools.cache
def library() -> Any:
  """Loads the op library.

  Raises:
    FileNotFoundError: It has not been built.
  """
  if not LIBRARY_PATH.exists():
    raise FileNotFoundError(
      f"{LIBRARY_PATH} is missing; build it with python setup.py build_ext"
      " --inplace"
    )
  return tf.load_op_library(str(LIBRARY_PATH))


@functools.cache
def expect_float16() -> None:
  """Lets TensorFlow say now, unheard, that oneDNN leaves float16 to Eigen.

  It says so once in a process, as an error, at the first op on float16.
  """
  with quiet.muted_stderr(), tf.init_scope():
    tf.concat([tf.zeros(1, tf.float16), tf.zeros(1, tf.float16)], axis=0)


def _scorer_function(
  score: Score, user_state: Any, item_state: Any
) -> tf.types.experimental.ConcreteFunction:
  """Traces the pair part for the op: flat arguments, any number of rows."""
  user_leaves = tf.nest.flatten(user_state)
  item_leaves = tf.nest.flatten(item_state)
  on_gpu = _is_on_gpu()
  # On a CPU each user's search calls it.
  num_users = None if on_gpu else 1

  def scorer(*leaves: tf.Tensor) -> tf.Tensor:
    user = leaves[: len(user_leaves)]
    items = leaves[len(user_leaves) :]
    with search_on_gpu() if on_gpu else contextlib.nullcontext():
      return score(
        tf.nest.pack_sequence_as(user_state, user),
        tf.nest.pack_sequence_as(item_state, items),
      )

  specs = [
    tf.TensorSpec([num_users, *x.shape[1:]], x.dtype) for x in user_leaves
  ]
  specs += [
    tf.TensorSpec([num_users, None, *x.shape[1:]], x.dtype) for x in item_leaves
  ]
  return tf.function(scorer, autograph=False).get_concrete_function(*specs)


def beam_search(
  levels: Sequence[tuple[tf.Tensor, tf.Tensor]],
  entry_points: tf.Tensor,
  score: Score,
  user_state: Any,
  item_state: Any,
  expand: tf.Tensor,
  only_score: tf.Tensor,
  k: tf.Tensor | int,
  widths: tf.Tensor | Sequence[int] | None = None,
  hops: tf.Tensor | Sequence[int] | None = None,
  limits: tf.Tensor | Sequence[int] | None = None,
  allowed: tf.Tensor | None = None,
  denied: tf.Tensor | None = None,
) -> Found:
  """Calls `Nann>BeamSearch`.

  Args:
    levels: (values int32 [E], row_splits int64 [I + 1]) of each level.
    entry_points: [P] int32.
    score: The pair part of the scorer.
    user_state: Nest of [B, *].
    item_state: Nest of [I, *].
    expand: [B, F] int32, padded with -1.
    only_score: [B, M] int32, padded with -1.
    k: Scalar int32.
    widths: [len(levels) + 1] int32, or [sum(hops)]: one for each step; and
    hops: [len(levels) + 1] int32: policy paper.
    limits: [4] int64, ef, width, max_steps, max_evaluations: policy best_first.
      Either widths and hops or limits are given.
    allowed: [B, (I + 7) / 8] uint8 bits of the rows that may be returned, or
      None: all.
    denied: [B, X] int32 rows that may not be returned, padded with -1, or None.
  """
  is_paper = limits is None
  concrete = _scorer_function(score, user_state, item_state)
  nothing = tf.constant([], tf.int32)
  found = library().nann_beam_search(
    values=[values for values, _ in levels],
    row_splits=[row_splits for _, row_splits in levels],
    entry_points=entry_points,
    expand=expand,
    only_score=only_score,
    allowed=tf.zeros([0, 0], tf.uint8) if allowed is None else allowed,
    denied=expand[:, :0] if denied is None else denied,
    widths=widths if is_paper else nothing,
    hops=hops if is_paper else nothing,
    limits=tf.constant([], tf.int64) if is_paper else limits,
    k=k,
    user_state=tf.nest.flatten(user_state),
    item_state=tf.nest.flatten(item_state),
    captured=concrete.captured_inputs,
    policy="paper" if is_paper else "best_first",
    scorer=concrete,
  )
  return Found(*found)


@contextlib.contextmanager
def search_on_gpu() -> Iterator[None]:
  """Gives searches that are traced within the kernel for GPUs (docs/cuda.md).

  To be used in a tf.function or another graph. The scorer is then called with
  all users at once, [B, *] and [B, n, *], and must be able to run on a GPU;
  `pair_score` takes its kernel for GPUs there.

  Raises:
    ValueError: There is no graph that is being built.
  """
  if tf.executing_eagerly():
    raise ValueError(
      "search_on_gpu has no effect here: use it in a tf.function"
    )
  graph = tf.compat.v1.get_default_graph()
  with graph._kernel_label_map(dict.fromkeys(_GPU_OPS, _GPU_LABEL)):
    yield


def _is_on_gpu() -> bool:
  """Returns whether a search that is traced now is one for GPUs."""
  if tf.executing_eagerly():
    return False
  labels = tf.compat.v1.get_default_graph()._op_to_kernel_label_map
  return labels.get(_GPU_OPS[0]) == _GPU_LABEL


def is_for_gpu(node: tf.compat.v1.NodeDef) -> bool:
  """Returns whether a node of a graph takes a kernel for GPUs."""
  # To read an attribute that is not there would make it.
  return "_kernel" in node.attr and (
    node.attr["_kernel"].s == _GPU_LABEL.encode()
  )


def check_gpu() -> None:
  """Checks that a search can run on a GPU here.

  Raises:
    ValueError: The library has no kernel for it, or there is no such device.
  """
  library()
  kinds = {
    kernel.device_type
    for kernel in kernels.get_registered_kernels_for_op(_GPU_OPS[0]).kernel
    if kernel.label == _GPU_LABEL
  }
  if not kinds:
    raise ValueError(
      f"{LIBRARY_PATH} has no kernel for GPUs; install CUDA's compiler (nvcc)"
      " and build it with NANN_CUDA=on python setup.py build_ext --inplace"
    )
  found = {device.device_type for device in tf.config.list_logical_devices()}
  if not kinds & found:
    raise ValueError(
      f"TensorFlow sees no GPU here, only {', '.join(sorted(found))}; searches"
      " for a GPU are tried where they are exported: run this on a machine with"
      " a GPU, or with --search-device=cpu"
    )


@tf.RegisterGradient("Nann>BeamSearch")
def _no_gradient(op: tf.Operation, *gradients: tf.Tensor) -> None:
  """Says that a search cannot be differentiated."""
  del op, gradients
  raise LookupError(
    "Nann>BeamSearch has no gradient: a search chooses items. Differentiate the"
    " scorer instead"
  )


class PairUser(NamedTuple):
  """A user's state for `pair_score`; all widths are multiples of 16.

  Attributes:
    keys: [B, Q, P] float32; Q = 0: no attention.
    key_bias: [B, P] float32, very low for padding.
    values: [B, L, W] float32, L <= P.
    hidden: [B, W] float32, or [B, 0]: none.
  """

  keys: tf.Tensor
  key_bias: tf.Tensor
  values: tf.Tensor
  hidden: tf.Tensor


def pair_user(
  embedding: tf.Tensor,
  first: tf.Tensor,
  first_bias: tf.Tensor,
  slope: tf.Tensor,
  second: tf.Tensor,
  second_bias: tf.Tensor,
  values_kernel: tf.Tensor,
  mask_padding: bool,
) -> PairUser:
  """Calls `Nann>PairUser`: lays histories out for `pair_score`.

  Args:
    embedding: [B, L, H] float32, all zero where a position is padding.
    first: [A, H] float32.
    first_bias: [A] float32.
    slope: [A] float32, of the PReLU between the layers.
    second: [Q + 1, A] float32; the last row gives the key bias.
    second_bias: [Q + 1] float32.
    values_kernel: [H, W] float32, W a multiple of 16.
    mask_padding: Padding gets a very low key bias, or is cut off.
  """
  keys, key_bias, values = library().nann_pair_user(
    embedding=embedding,
    first=first,
    first_bias=first_bias,
    slope=slope,
    second=second,
    second_bias=second_bias,
    values_kernel=values_kernel,
    mask_padding=mask_padding,
  )
  return PairUser(keys, key_bias, values, hidden=key_bias[:, :0])


def pair_score(
  query: tf.Tensor,
  hidden: tf.Tensor,
  user: PairUser,
  slopes: Sequence[tf.Tensor],
  kernels: Sequence[tf.Tensor],
  biases: Sequence[tf.Tensor],
  out: tf.Tensor,
) -> tf.Tensor:
  """Calls `Nann>PairScore`: attention and MLP of a pair in one op.

  Args:
    query: [1 or B, N, Q] float32, float16 or bfloat16.
    hidden: [1 or B, N, W], of the same type.
    user: The users' states.
    slopes: Of the PReLU before each layer and before the last product.
    kernels: [inputs, outputs] of each layer.
    biases: [outputs] of each layer.
    out: [outputs of the last layer].

  Returns:
    [B, N] float32.
  """
  return library().nann_pair_score(
    query=query,
    hidden=hidden,
    keys=user.keys,
    key_bias=user.key_bias,
    values=user.values,
    user_hidden=user.hidden,
    slopes=list(slopes),
    kernels=list(kernels),
    biases=list(biases),
    out=out,
  )


def term_score(
  item_state: Mapping[str, tf.Tensor],
  user_state: Mapping[str, tf.Tensor],
  max_logit: float,
) -> tf.Tensor:
  """Calls `Nann>TermScore`: a sum of terms and a mass of a pair in one op.

  What the attention needs may be left out of both states together (query and
  reply; keys, key_logits and values), and so may what ids say (category_id and
  item_id; the last four of a user).

  Args:
    item_state: vector [1, N, D], bias [1, N]; query, reply [1, N, Q], all
      float32, float16 or bfloat16; category_id, item_id [1, N] int32.
    user_state: vector [B, D]; keys [B, Q, L], key_logits [B, L], values
      [B, L, Q]; category_ids, item_ids [B, R] int32, category_weights,
      repeat_mass [B, R].
    max_logit: Bound of the logits.

  Returns:
    [B, N] float32.
  """
  items, user = dict(item_state), dict(user_state)
  if "query" not in items:
    items["query"] = items["reply"] = items["vector"][..., :0]
    user["key_logits"] = user["vector"][:, :0]
    user["keys"] = user["values"] = user["vector"][:, None, :0][:, :0]
  if "item_id" not in items:
    items["item_id"] = items["category_id"] = tf.zeros([1, 0], tf.int32)
    user["item_ids"] = tf.zeros([tf.shape(user["vector"])[0], 0], tf.int32)
    user["category_ids"] = user["item_ids"]
    user["repeat_mass"] = user["category_weights"] = user["vector"][:, :0]
  user_vector = user.pop("vector")
  return library().nann_term_score(
    **items, user_vector=user_vector, **user, max_logit=max_logit
  )


def mapped_tensor(
  path: tf.Tensor | str,
  dtype: tf.DType,
  shape: Sequence[int | None] | None = None,
) -> tf.Tensor:
  """Calls `Nann>MappedTensor`: an .npy file as a tensor, without a copy.

  Args:
    path: Scalar string.
    dtype: Type of the elements.
    shape: What is known of the shape.
  """
  return library().nann_mapped_tensor(
    path=path, dtype=dtype, shape=tf.TensorShape(shape)
  )
