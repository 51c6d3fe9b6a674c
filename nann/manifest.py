"""A folder of artefacts proves itself: its manifest has every checksum.

`manifest.json` holds size and checksum of each file of the folder and of the
files it was made from (its parents). Loaders refuse what does not fit.
"""

import pathlib
from collections.abc import Mapping
from typing import Any

from nann import files, paths


def write_manifest(
  folder: pathlib.Path,
  parents: Mapping[str, str],
  facts: Mapping[str, Any],
) -> None:
  """Records size and checksum of every file of a folder.

  Args:
    folder: The folder; its manifest is written last.
    parents: Checksums of what the files were made from, by name.
    facts: Anything else that a loader wants to know.
  """
  entries = {
    path.name: {
      "size_bytes": path.stat().st_size,
      "sha256": files.checksum(path),
    }
    for path in sorted(folder.iterdir())
    if path.is_file() and path.name != paths.MANIFEST
  }
  files.save_json(
    folder / paths.MANIFEST,
    {"facts": dict(facts), "parents": dict(parents), "files": entries},
  )


def check_manifest(folder: pathlib.Path, made_by: str) -> dict[str, Any]:
  """Compares a folder with its manifest.

  Returns:
    The manifest.

  Raises:
    FileNotFoundError: The manifest or a file is missing.
    ValueError: A file differs in size or content.
  """
  manifest = files.load_json(folder / paths.MANIFEST, made_by)
  for name, entry in manifest["files"].items():
    path = folder / name
    if not path.exists():
      raise FileNotFoundError(f"{path} is missing; run --job-type {made_by}")
    size_bytes = path.stat().st_size
    if size_bytes != entry["size_bytes"]:
      raise ValueError(
        f"{path} has {size_bytes} bytes, its manifest says"
        f" {entry['size_bytes']}; run --job-type {made_by} again"
      )
    if files.checksum(path) != entry["sha256"]:
      raise ValueError(
        f"{path} is not the file its manifest describes (checksum differs);"
        f" run --job-type {made_by} again"
      )
  return dict(manifest)


def check_parent(
  manifest: Mapping[str, Any],
  name: str,
  path: pathlib.Path,
  folder: pathlib.Path,
  made_by: str,
) -> None:
  """Refuses a folder that was made from another version of `path`."""
  recorded = manifest["parents"].get(name)
  if recorded is not None and recorded != files.checksum(path):
    raise ValueError(
      f"{folder} was made from another {path}; run --job-type {made_by} again"
    )
