"""The same work in other frameworks: `python -m experiments.bench.peers`. See `__main__.py`."""
