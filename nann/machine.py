"""What machine this is and which versions run on it, for reports."""

import os
import pathlib
import platform
from importlib import metadata

_PACKAGES = (
  "tensorflow",
  "numpy",
  "faiss-cpu",
  "hnswlib",
  "duckdb",
)


def processor() -> str:
  """Returns the name of the processor."""
  cpuinfo = pathlib.Path("/proc/cpuinfo")
  if cpuinfo.exists():
    for line in cpuinfo.read_text().splitlines():
      if line.startswith("model name"):
        return line.split(":", 1)[1].strip()
  return platform.processor() or platform.machine()


def describe() -> dict[str, object]:
  """Returns processor, cores, memory and operating system."""
  pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
  return {
    "processor": processor(),
    "cores": os.cpu_count(),
    "memory_gb": round(pages / 2**30, 1),
    "system": platform.platform(),
  }


def versions() -> dict[str, str]:
  """Returns the versions of Python and of the libraries that matter."""
  found = {"python": platform.python_version()}
  for name in _PACKAGES:
    found[name] = metadata.version(name)
  return found
