"""The documented commands. Thin: each a few lines over the jobs."""
