"""The scorer and its training. Knows tensors only: no data, graph or flags."""
