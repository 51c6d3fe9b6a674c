"""The graph of items. Knows arrays: no TensorFlow, no scorer."""
