"""An exported version folder, served: gRPC, REST, health, metrics.

Speaks the protocol of TensorFlow Serving. Knows exported folders only, nothing
of scorers, graphs or data sets.
"""
