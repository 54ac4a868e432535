"""What the gradients cost: `python -m experiments.bench`. See `__main__.py`."""
