"""Where a graph may come from: other libraries' indices, or neighbor lists.

Checks what callers give; nann/index/build.py does the taking out.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from nann import search_arguments
from nann.index.graph import HnswGraph

# So high that it is taken down to the highest level there is.
_ALL_LEVELS = 64
_NUM_SPREAD = 32


def from_faiss(index: Any) -> HnswGraph:
  """See `nann.Graph.from_faiss`."""
  if not hasattr(index, "hnsw"):
    raise ValueError(
      f"index is {type(index).__name__}, wanted a faiss.IndexHNSW; of an"
      " IndexIDMap or IndexPreTransform give the index inside"
    )
  if not index.ntotal:
    raise ValueError("index holds no vector, wanted at least one")
  # Loads faiss and hnswlib: only for those who use them.
  from nann.index import build

  return build.graph_from_faiss(index, _ALL_LEVELS)


def from_hnswlib(index: Any) -> HnswGraph:
  """See `nann.Graph.from_hnswlib`."""
  labels = np.sort(np.asarray(index.get_ids_list(), dtype=np.int64))
  if not len(labels):
    raise ValueError("index holds no vector, wanted at least one")
  if labels[0] != 0 or labels[-1] != len(labels) - 1:
    raise ValueError(
      f"index has labels {labels[0]} to {labels[-1]}, wanted 0 to"
      f" {len(labels) - 1}, one for each of its vectors"
    )
  from nann.index import build

  return build.graph_from_hnswlib(index, _ALL_LEVELS)


def from_edges(
  levels: Sequence[search_arguments.NeighborLists],
  entry_points: npt.ArrayLike | None,
) -> HnswGraph:
  """See `nann.Graph.from_edges`."""
  made = search_arguments.levels(levels)
  if entry_points is None:
    if len(made) > 1:
      raise ValueError(
        f"entry_points are missing, wanted the rows above level {len(made) - 1}"
      )
    last = max(len(made[0].row_splits) - 2, 0)
    spread = np.linspace(0, last, _NUM_SPREAD)
    entry_points = np.unique(spread.astype(np.int32))
  return HnswGraph(made, search_arguments.rows("entry_points", entry_points))
