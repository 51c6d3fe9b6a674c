"""What a process uses, as Linux tells it: memory, shared pages, processor."""

import os
import pathlib
import re


def resident_bytes(pid: int) -> int:
  """Returns the resident memory of a process."""
  return _sum(pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text(), "Rss")


def processor_seconds(pid: int) -> float:
  """Returns the processor time that a process has used."""
  fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1]
  user, system = fields.split()[11:13]
  return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def shared_pages(pid: int) -> dict[str, float]:
  """Returns MiB of the mapped arrays of all versions together.

  Two versions whose arrays are the same files map the same pages: Rss counts
  them twice, Pss once.
  """
  text = pathlib.Path(f"/proc/{pid}/smaps").read_text()
  mappings = re.split(r"\n(?=[0-9a-f]+-[0-9a-f]+ )", text)
  arrays = [x for x in mappings if x.split("\n", 1)[0].endswith(".npy")]
  mib = 2**20
  return {
    "two_versions_mappings": len(arrays),
    "two_versions_rss_mb": sum(_sum(x, "Rss") for x in arrays) / mib,
    "two_versions_pss_mb": sum(_sum(x, "Pss") for x in arrays) / mib,
  }


def _sum(text: str, name: str) -> int:
  """Returns the bytes of all lines of a name."""
  lines = re.findall(rf"^{name}:\s+(\d+) kB", text, re.MULTILINE)
  return sum(int(x) for x in lines) << 10
