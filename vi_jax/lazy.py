"""Packages that load when they are first used: `import vi_jax` costs little more than `import jax`.

The first guide loads distrax and the first `fit` optax; bounds, estimators and measurements load neither. Flax is
loaded by the modules named `networks`, which are imported where a network is made.
"""

import importlib
from types import ModuleType
from typing import TYPE_CHECKING


class _Package(ModuleType):
    """Stands for a package until one of its attributes is asked for."""

    def __getattr__(self, name: str):
        value = getattr(importlib.import_module(self.__name__), name)
        setattr(self, name, value)
        return value


if TYPE_CHECKING:
    import distrax as distrax
    import optax as optax
    from tensorflow_probability.substrates import jax as tfp
else:
    distrax = _Package("distrax")
    optax = _Package("optax")
    tfp = _Package("tensorflow_probability.substrates.jax")
