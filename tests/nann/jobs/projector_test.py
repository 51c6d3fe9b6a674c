"""What TensorBoard's projector finds."""

import pathlib

import numpy as np
from google.protobuf import text_format
from tensorboard.plugins.projector import ProjectorConfig

from nann import paths
from nann.data_provider.catalogue import Catalogue
from nann.jobs import projector


def test_projector_finds_vectors_beside_items_and_categories(
  tmp_path: pathlib.Path,
) -> None:
  catalogue = Catalogue(
    category_ids=np.array([2, 1, 2]),
    counts=np.array([1.0, 5.0, 3.0]),
    raw_item_ids=np.array([b"a\tb", "ü".encode(), b"c"]),
    raw_category_ids=np.array([70, 80]),
  )
  embeddings = np.arange(6, dtype=np.float32).reshape(3, 2)
  output = paths.OutputPaths(tmp_path)
  projector.write(output, catalogue, embeddings)
  folder = output.tensorboard
  config = ProjectorConfig()
  text_format.Parse((folder / "projector_config.pbtxt").read_text(), config)
  (shown,) = config.embeddings
  # The most frequent first.
  np.testing.assert_array_equal(
    np.loadtxt(folder / shown.tensor_path), embeddings[[1, 2, 0]]
  )
  assert (folder / shown.metadata_path).read_text().splitlines() == [
    "item\tcategory\tcount",
    "ü\t70\t5",
    "c\t80\t3",
    "a b\t80\t1",
  ]
