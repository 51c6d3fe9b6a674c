"""Packaging: `pip install -e .[dev]` makes everything that the jobs need."""

import pathlib
import re

import setuptools

ROOT = pathlib.Path(__file__).parent
VERSION = re.search(
  r'__version__ = "(.+)"', (ROOT / "nann/__init__.py").read_text()
).group(1)

setuptools.setup(
  name="nann",
  version=VERSION,
  description="Approximate nearest-neighbor retrieval under a neural metric",
  long_description=(ROOT / "README.md").read_text(),
  long_description_content_type="text/markdown",
  license="Apache-2.0",
  python_requires=">=3.10",
  packages=setuptools.find_packages(include=["nann", "nann.*"]),
  package_data={"nann": ["templates/*.html", "py.typed"]},
  install_requires=[
    "absl-py>=2.1",
    "duckdb>=1.4",
    "faiss-cpu>=1.9",
    "hnswlib>=0.8",
    "jinja2>=3.1",
    "matplotlib>=3.9",
    "numpy>=1.26",
    "pyarrow>=17",
    "rich>=13",
    "scipy>=1.11",
    "tensorboard>=2.18",
    "tensorflow>=2.21,<2.22",
    "tqdm>=4.66",
  ],
  extras_require={
    "dev": [
      "hypothesis>=6.100",
      "import-linter>=2.1",
      "mypy>=1.13",
      "pytest>=8",
      "pytest-xdist>=3.6",
      "ruff>=0.8",
    ]
  },
)
