"""NANN: approximate nearest-neighbor retrieval under a neural metric.

Importing the package loads neither TensorFlow nor any compiled code; import
the module you need (`nann.retrieval`, `nann.model`, ...) and it will.
`nann.Graph`, the search without TensorFlow, is loaded when it is first named.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
  from nann.graph import Graph as Graph

__version__ = "0.1.0"

__all__ = ["Graph", "__version__"]


def __getattr__(name: str) -> Any:
  if name == "Graph":
    from nann.graph import Graph

    return Graph
  raise AttributeError(f"module 'nann' has no attribute '{name}'")
