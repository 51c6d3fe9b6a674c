"""Opens pages as a reader would, in a browser without a window."""

import pathlib
import shutil
import subprocess

import pytest

_CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


def dom_of(page: pathlib.Path, profile: pathlib.Path) -> str:
  """Returns the page as the browser has read it.

  Skips the test where there is no browser.

  Args:
    page: The .html file.
    profile: A folder for what the browser keeps.
  """
  if _CHROMIUM is None:
    pytest.skip("no chromium to open the page in")
  shown = subprocess.run(
    [
      _CHROMIUM,
      "--headless",
      "--no-sandbox",
      "--disable-gpu",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      "--no-first-run",
      f"--user-data-dir={profile}",
      "--dump-dom",
      page.as_uri(),
    ],
    capture_output=True,
    text=True,
    timeout=120,
    check=False,
  )
  assert shown.returncode == 0, shown.stderr
  return shown.stdout
