"""Requests for the load generator: of real users, or made up."""

import pathlib
from collections.abc import Iterator

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2

from nann import console, files, model_store, paths
from nann.data_provider import dataset
from nann.delivery import exec_graph, mock_requests, warmup
from nann.delivery.serving_functions import DEFAULT, RETRIEVE
from nann.model.scorer import Items


def write(
  export: paths.ExportPaths,
  dataset_dir: pathlib.Path | None,
  signature: str,
  num_requests: int,
  seed: int,
) -> None:
  """Writes requests, one user each, as TensorFlow Serving's warm-up has them.

  Args:
    export: The exported model; the file goes there.
    dataset_dir: Whose test users ask; None: nobody, inputs are made up.
    signature: What is asked; empty: retrieve for real users, else
      serving_default, where the model has it.
    num_requests: How many.
    seed: Of which users, and of the noise.

  Raises:
    FileNotFoundError: The export or the data set is not there.
    ValueError: The model has no such signature.
  """
  if not export.exec_meta.exists():
    raise FileNotFoundError(
      f"{export.exec_meta} is not there; run --job-type export"
    )
  known = exec_graph.read_meta(export.exec_meta).signature_def
  wanted = RETRIEVE if dataset_dir else DEFAULT
  signature = signature or (wanted if wanted in known else min(known))
  if signature not in known:
    raise ValueError(
      f"--signature is {signature}, the model has {', '.join(sorted(known))}"
    )
  rng = np.random.default_rng(seed)
  if dataset_dir:
    data = dataset.load(dataset_dir)
    requests = _of_users(
      export, data, signature, known[signature], num_requests, rng
    )
    source = f"histories of test users of {dataset_dir}"
  else:
    requests = (
      mock_requests.inputs(known[signature], rng) for _ in range(num_requests)
    )
    source = "made-up inputs"
    if signature != DEFAULT:
      console.warn(
        "made-up item ids are hardly known to the model, which answers fast to"
        " whom it does not know; give --dataset-dir for real histories"
      )
  with files.written_whole(export.requests) as temporary:
    warmup.write(temporary, [(signature, inputs) for inputs in requests])
  console.say(
    f"{num_requests} requests to {signature}, {source} -> {export.requests}"
  )


def _of_users(
  export: paths.ExportPaths,
  data: dataset.PreparedData,
  name: str,
  signature: meta_graph_pb2.SignatureDef,
  num_requests: int,
  rng: np.random.Generator,
) -> Iterator[dict[str, np.ndarray]]:
  """Yields the inputs of each request; what users do not tell is made up."""
  histories = data.held_out("test").histories
  if not len(histories):
    raise ValueError(
      f"{data.root} holds no test user; run --job-type prepare_data with"
      " --num-test-users above 0"
    )
  scorer = model_store.load(export.root).scorer if name == DEFAULT else None
  users = np.resize(rng.permutation(len(histories)), num_requests)
  for user in users:
    history = histories[user][None]
    inputs = mock_requests.inputs(signature, rng)
    if scorer is None:
      known = history[:, history[0] > 0]
      inputs["history_item_ids"] = data.catalogue.to_raw_item_ids(known)
    else:
      categories = data.catalogue.category_table()[history]
      items = Items(
        tf.constant(history), tf.constant(categories.astype(np.int64))
      )
      embedding = scorer.history_embedding(items).numpy()
      inputs["comm_seq"] = embedding.astype(np.float16).reshape(1, -1)
    yield inputs
