"""Experiments: one question per file, one command line for all of them. See `experiments/README.md`."""

import os

# An experiment compiles many programs and runs each for seconds. On a CPU most of the compilation is LLVM optimising
# the random number generator, for no speed: docs/decisions/0003-compile-time.md has the figures. XLA reads this when it
# first starts, and a level that the reader has set stays.
_LEVEL = "--xla_backend_optimization_level"
if _LEVEL not in os.environ.get("XLA_FLAGS", ""):
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {_LEVEL}=1".strip()
