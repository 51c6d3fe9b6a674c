"""Behavior log -> clean events -> splits -> records -> batches.

Knows files; knows no model.
"""
