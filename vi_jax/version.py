"""The version of the library: `pyproject.toml` reads it here, and a test holds what else names it to this one."""

__version__ = "0.1.0"
