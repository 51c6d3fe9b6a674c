"""Small models, exported, and what loads them."""

import dataclasses
import pathlib
from typing import Any

import numpy as np
import tensorflow as tf

from nann import paths
from nann.delivery import delivery, publishing, raw_ids, verify
from nann.delivery.serving_functions import Serving
from nann.index import build
from nann.index.graph import Index
from nann.model import scorer as scorers
from nann.model import two_tower
from nann.model.layers import Phase
from nann.model.scorer import Items, ScorerSpec
from nann.retrieval import answering, cost_model
from nann.retrieval.items import ItemArrays
from nann.retrieval.result import BestFirstPolicy, PaperPolicy
from nann.retrieval.retriever import Retriever

NUM_ITEMS, NUM_CATEGORIES, MAX_LENGTH, K = 900, 6, 10, 12
EMB_DIM = 8
CATEGORIES = np.concatenate([[0], np.arange(NUM_ITEMS) % NUM_CATEGORIES + 1])
PAPER = PaperPolicy((30, 20), (3, 1))
BEST_FIRST = BestFirstPolicy(40, 8, 50, 10_000)
# The user's own ids: of item 1, 2, ... 7 is no id of an item.
RAW_IDS = np.random.default_rng(5).permutation(NUM_ITEMS) * 10 + 20
UNKNOWN = 7

Answers = dict[str, np.ndarray]


def retriever(
  name: str = "attention",
  dtype: str = "float32",
  search_ops: str = "nann",
  search_device: str = "cpu",
) -> Retriever:
  """Makes a model whose rows are not in the order of the ids."""
  spec = ScorerSpec(NUM_ITEMS, NUM_CATEGORIES, emb_dim=EMB_DIM, seed=0)
  scorer = scorers.create(name, spec)
  # The last items are not in the catalogue.
  item_ids = np.random.default_rng(0).permutation(NUM_ITEMS - 20) + 1
  items = Items(tf.constant(item_ids), tf.constant(CATEGORIES[item_ids]))
  embeddings = scorer.item_embedding(items, Phase.INFERENCE).numpy()
  index = Index(
    build.build_hnsw(embeddings, "faiss", 4, 40, 1, 1, 0),
    build.build_flat(embeddings, 4, 8, 4, 8, 1, 0).graph,
  )
  arrays = ItemArrays(item_ids, CATEGORIES[item_ids], embeddings)
  return Retriever(
    scorer,
    arrays,
    index,
    CATEGORIES,
    dtype,
    search_ops=search_ops,
    search_device=search_device,
  )


def serving(
  name: str = "attention",
  mode: str = "graph",
  ids: np.ndarray = RAW_IDS,
  exclude_history: bool = False,
  paper: bool = False,
  **changes: Any,
) -> Serving:
  """Makes what an export is made of."""
  found = retriever(
    name,
    changes.pop("dtype", "float32"),
    changes.pop("search_ops", "nann"),
    changes.pop("search_device", "cpu"),
  )
  plan = answering.Plan(
    mode,
    PAPER if paper else BEST_FIRST,
    cost_model.CostModel(changes.pop("evaluations", 100.0)),
    exclude_history,
  )
  made = Serving(
    found,
    raw_ids.raw_ids("item", ids),
    raw_ids.row_names(ids[found.items.item_ids - 1]),
    raw_ids.raw_ids("category", np.arange(1, NUM_CATEGORIES + 1) * 100),
    plan,
    PAPER,
    MAX_LENGTH,
    2 * EMB_DIM,
    K,
  )
  return dataclasses.replace(made, **changes)


class IdReader(two_tower.TwoTowerScorer):
  """A scorer that says that it reads more than embeddings."""

  reads_embeddings_only = False


class Exported:
  """An exported model, opened in both of its forms."""

  def __init__(
    self, folder: pathlib.Path, model: Serving, export_ops: str = "nann"
  ) -> None:
    self.serving = model
    self.target = paths.ExportPaths(folder)
    with publishing.staging(self.target, 0) as staged:
      delivery.write(
        delivery.build(model, export_ops),
        staged,
        publishing.known_assets(self.target),
      )
      self.version = publishing.publish(staged, self.target)
    self._forms = self.opened()

  def opened(self) -> list[Any]:
    """Returns a function of signature and inputs for each form."""
    saved, signatures = verify.open_saved_model(self.version)
    return [
      verify.answers_of(verify.open_exec_graph(self.target), signatures),
      verify.answers_of(saved, signatures),
    ]

  def ask(self, signature: str, **inputs: Any) -> Answers:
    """Asks both forms, which must agree."""
    arrays = {name: np.asarray(value) for name, value in inputs.items()}
    one, other = (form(signature)(arrays) for form in self._forms)
    assert sorted(one) == sorted(other)
    for name in one:
      np.testing.assert_array_equal(one[name], other[name])
    return one


def histories(number: int = 7) -> np.ndarray:
  """Returns [n, L] item ids; some of them short."""
  rng = np.random.default_rng(1)
  found = rng.integers(1, NUM_ITEMS + 1, (number, MAX_LENGTH))
  found[::2, 6:] = 0
  return found


def to_raw(item_ids: np.ndarray, ids: np.ndarray = RAW_IDS) -> np.ndarray:
  """Returns the user's own ids; padding for 0."""
  return np.where(item_ids > 0, ids[item_ids - 1], ids.dtype.type())


def names_of(model: Serving, rows: np.ndarray) -> np.ndarray:
  """Returns the user's ids of rows, 0 for row -1."""
  items = model.retriever.items.item_ids
  return to_raw(np.where(rows >= 0, items[np.maximum(rows, 0)], 0))
