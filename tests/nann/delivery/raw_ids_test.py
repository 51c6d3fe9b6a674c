import numpy as np
import pytest
import tensorflow as tf

from nann.data_provider.catalogue import Catalogue
from nann.delivery import raw_ids


@pytest.mark.parametrize("seed", range(20))
def test_ids_are_found_as_the_catalogue_finds_them(seed: int) -> None:
  rng = np.random.default_rng(seed)
  number = int(rng.integers(1, 50))
  ids = rng.choice(np.arange(-60, 60), number, replace=False)
  ids[:1] = rng.choice([ids[0], 2**63 - 1, -(2**63)])
  catalogue = Catalogue(np.ones(number, np.int64), np.ones(number), ids)
  asked = np.append(rng.integers(-80, 80, (7, 5)), ids[:5].repeat(7)[:35])
  asked = asked[:35].reshape(5, 7)
  asked[0, 0], asked[1, 1] = ids[0], 2**63 - 1
  found = raw_ids.raw_ids("item", ids).find(tf.constant(asked)).numpy()
  np.testing.assert_array_equal(found, catalogue.to_item_ids(asked))


@pytest.mark.parametrize("dtype", ["S", "U"])
def test_texts_are_found_and_come_back(dtype: str) -> None:
  texts = ["a", "bb", "ccc é", "d" * 40, " ", "0"]
  ids = np.array([text.encode() for text in texts])
  if dtype == "U":
    ids = np.array(texts)
  keys, names = raw_ids.raw_ids("item", ids), raw_ids.row_names(ids[::-1])
  asked = tf.constant([["bb", "", "0"], ["ccc é", "c", "a"]])
  found = keys.find(asked).numpy()
  np.testing.assert_array_equal(found, [[2, 0, 6], [3, 0, 1]])
  padding = keys.is_padding(asked).numpy()
  np.testing.assert_array_equal(padding, [[0, 1, 0], [0, 0, 0]])
  got = names.of_rows(tf.constant([[0, -1], [2, 5]])).numpy()
  assert [text.decode() for text in got.ravel()] == ["0", "", "d" * 40, "a"]


def test_same_fingerprint_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
  monkeypatch.setattr(raw_ids, "_NUM_FINGERPRINTS", 2)
  with pytest.raises(ValueError, match="have the same 64-bit fingerprint"):
    raw_ids.raw_ids("item", np.array([b"a", b"b", b"c"]))
