"""Job extract_feature: model/ -> embeddings/, row r is item r + 1."""

import pathlib
import time

import numpy as np

from nann import config, console, files, manifest, model_store, paths
from nann.data_provider import dataset
from nann.jobs import projector
from nann.model.scorer import Scorer
from nann.retrieval import item_embedding
from nann.retrieval.items import ItemArrays
from nann.retrieval.profiles import score_profiles
from nann.retrieval.retriever import Retriever

_PROFILE_WIDTH = 64


def run(settings: config.Config) -> None:
  """Runs the job."""
  output = paths.OutputPaths(pathlib.Path(settings.paths.output_root))
  data = dataset.load(pathlib.Path(settings.paths.dataset_dir))
  model = model_store.load(output.model)
  num_items = data.catalogue.num_items
  if model.spec.num_items != num_items:
    raise ValueError(
      f"the model knows {model.spec.num_items:,} items, {data.root} holds"
      f" {num_items:,}; run --job-type train again"
    )
  begin = time.monotonic()
  with console.progress(num_items, "item", "embedding") as bar:
    embeddings = item_embedding.embed_all(
      model.scorer, data.catalogue.category_table(), bar.update
    )
  seconds = time.monotonic() - begin
  profiles = _profiles(settings, data, model.scorer, embeddings)
  with files.folder_written_whole(output.embeddings) as folder:
    temporary = paths.OutputPaths(folder.parent)
    np.save(folder / temporary.item_ids.name, np.arange(1, num_items + 1))
    np.save(folder / temporary.item_embeddings.name, embeddings)
    if profiles is not None:
      np.save(folder / temporary.item_profiles.name, profiles)
    manifest.write_manifest(
      folder,
      parents={"model": model.fingerprint()},
      facts={"num_items": num_items, "width": embeddings.shape[1]},
    )
  projector.write(output, data.catalogue, embeddings)
  console.say(
    f"{num_items:,} embeddings of width {embeddings.shape[1]} in"
    f" {seconds:.1f} s ({num_items / seconds:,.0f} items/s) ->"
    f" {output.embeddings}"
  )


def _profiles(
  settings: config.Config,
  data: dataset.PreparedData,
  scorer: Scorer,
  embeddings: np.ndarray,
) -> np.ndarray | None:
  """Returns [I, P] float32 score profiles, None where they are not wanted."""
  num_users = settings.index.profile_users
  if not num_users:
    return None
  seed = settings.run.seed
  try:
    histories = data.train_histories(num_users, data.max_length, seed)
  except ValueError as error:
    console.warn(f"no score profiles: {error}")
    return None
  table = data.catalogue.category_table()
  items = ItemArrays(
    np.arange(1, len(table)), table[1:].astype(np.int64), embeddings
  )
  retriever = Retriever(scorer, items, None, table)
  with console.progress(len(items), "item", "score profiles") as bar:
    return score_profiles(
      retriever, histories, _PROFILE_WIDTH, seed, bar.update
    )
