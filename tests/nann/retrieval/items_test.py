import numpy as np
import pytest

from nann.index import build
from nann.retrieval import items
from nann.retrieval.items import ItemArrays, entry_table


def test_nearest_row_of_an_absent_item_is_found_by_the_graph_too(
  monkeypatch: pytest.MonkeyPatch,
) -> None:
  rng = np.random.default_rng(0)
  embeddings = rng.normal(size=(2000, 16)).astype(np.float32)
  present = np.arange(0, 2000, 2)
  there = ItemArrays(present + 1, present, embeddings[present])
  rows = there.row_table(2001)
  missing = np.flatnonzero(rows[1:] < 0) + 1
  graph = build.build_flat(there.embeddings, 8, 8, 4, 8, 1, 0).graph
  absent = embeddings[missing - 1]
  exact = entry_table(rows, missing, absent, there, graph)
  monkeypatch.setattr(items, "_MOST_COMPARED", 0)
  found = entry_table(rows, missing, absent, there, graph)
  np.testing.assert_array_equal(found[present + 1], exact[present + 1])
  assert (found >= 0)[1:].all()
  assert np.mean(found[missing] == exact[missing]) > 0.8
