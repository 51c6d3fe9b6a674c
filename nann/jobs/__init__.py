"""One file a job: wiring, logging and progress. No job imports another."""
