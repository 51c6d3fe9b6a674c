import pathlib
import shutil

import numpy as np
import pytest
import tensorflow as tf

from nann import model_store
from nann.data_provider import dataset
from nann.model.layers import Phase
from nann.model.scorer import Items


@pytest.fixture(scope="module")
def model(original: pathlib.Path) -> model_store.StoredModel:
  return model_store.load(original / "checkpoint")


def original_items(original: pathlib.Path) -> tuple[np.ndarray, Items]:
  item_ids = np.load(original / "embeddings" / "item_ids.npy")
  table = dataset.load(original / "data").catalogue.category_table()
  categories = tf.constant(table[item_ids], tf.int64)
  return item_ids, Items(tf.constant(item_ids), categories)


def test_item_embeddings_are_the_originals(
  original: pathlib.Path, model: model_store.StoredModel
) -> None:
  _, items = original_items(original)
  got = model.scorer.item_embedding(items, Phase.INFERENCE)
  expected = np.load(original / "embeddings" / "item_embs.npy")
  np.testing.assert_allclose(got, expected, atol=1e-5)


def test_scores_are_the_originals(
  original: pathlib.Path, model: model_store.StoredModel
) -> None:
  scorer, parts = model.scorer, model.scorer.parts()
  users = np.load(original / "users.npz")
  history = Items(
    tf.constant(users["item_ids"][:20]), tf.constant(users["cate_ids"][:20])
  )
  _, items = original_items(original)
  embedding = scorer.item_embedding(items, Phase.INFERENCE)
  state = tf.nest.map_structure(
    lambda x: x[None], parts.item_state(items, embedding)
  )
  user = parts.user_state(history, scorer.history_embedding(history))
  expected = np.load(original / "scores20.npy")
  np.testing.assert_allclose(parts.score(user, state), expected, atol=1e-4)


def test_spec_comes_from_the_tables(model: model_store.StoredModel) -> None:
  assert model.name == "attention"
  assert model.spec.num_items == 5000
  assert model.spec.num_categories == 60
  assert model.spec.emb_dim == 32
  assert not model.spec.mask_padding


def test_truncated_checkpoint_is_refused(
  original: pathlib.Path, tmp_path: pathlib.Path
) -> None:
  folder = shutil.copytree(original / "checkpoint", tmp_path / "model")
  data = folder / "ckpt-481.data-00000-of-00001"
  content = data.read_bytes()
  data.chmod(0o644)
  data.write_bytes(content[:1000])
  with pytest.raises(ValueError, match="cannot be read"):
    model_store.load(folder)


def test_folder_without_a_checkpoint_names_the_job(
  tmp_path: pathlib.Path,
) -> None:
  with pytest.raises(FileNotFoundError, match="run --job-type train"):
    model_store.load(tmp_path)
