"""Where scorer and graph meet: search, exact scan, metrics."""
