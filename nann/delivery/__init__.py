"""From a trained model to what servers load, and the documented commands.

The commands are thin: each a few lines over the functions beside them.
"""
