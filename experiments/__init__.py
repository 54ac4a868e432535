"""Experiments: one question per file, one command line for all of them. See `experiments/README.md`."""
