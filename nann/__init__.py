"""NANN: approximate nearest-neighbor retrieval under a neural metric.

Importing the package loads neither TensorFlow nor any compiled code; import
the module you need (`nann.retrieval`, `nann.model`, ...) and it will.
"""

__version__ = "0.1.0"
