"""The documented commands that write what nann_benchmark reads.

The load generator itself is benchmark/, in C++: it knows exports only.
"""
