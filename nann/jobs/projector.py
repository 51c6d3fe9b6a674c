"""The items' embeddings for TensorBoard's projector."""

import numpy as np
from tensorboard.plugins import projector

from nann import files, paths
from nann.data_provider.catalogue import Catalogue

# The projector computes in a browser.
_MOST_ITEMS = 10_000
_VECTORS, _ITEMS = "item_embeddings.tsv", "items.tsv"


def write(
  output: paths.OutputPaths, catalogue: Catalogue, embeddings: np.ndarray
) -> None:
  """Writes the most frequent items where TensorBoard looks for them.

  Args:
    output: Of the run.
    catalogue: The items.
    embeddings: [I, D] float32, row r is item r + 1.
  """
  rows = np.argsort(-catalogue.counts, kind="stable")[:_MOST_ITEMS]
  folder = output.tensorboard
  folder.mkdir(parents=True, exist_ok=True)
  with files.written_whole(folder / _VECTORS) as path:
    np.savetxt(path, embeddings[rows], fmt="%.5g", delimiter="\t")
  categories = catalogue.category_ids[rows]
  if catalogue.raw_category_ids is not None:
    categories = catalogue.raw_category_ids[categories - 1]
  lines = [
    f"{item}\t{category}\t{count:g}"
    for item, category, count in zip(
      _texts(catalogue.to_raw_item_ids(rows + 1)),
      _texts(categories),
      catalogue.counts[rows],
      strict=True,
    )
  ]
  with files.written_whole(folder / _ITEMS) as path:
    path.write_text("\n".join(["item\tcategory\tcount", *lines]) + "\n")
  config = projector.ProjectorConfig()
  shown = config.embeddings.add()
  shown.tensor_name = "items"
  shown.tensor_path, shown.metadata_path = _VECTORS, _ITEMS
  projector.visualize_embeddings(str(folder), config)


def _texts(ids: np.ndarray) -> list[str]:
  """Returns raw ids as a projector can show them: on one line, no tabs."""
  if ids.dtype.kind == "S":
    ids = np.char.decode(ids, "utf-8", "replace")
  return [" ".join(str(value).split()) for value in ids]
