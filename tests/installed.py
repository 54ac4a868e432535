"""What a user gets: run by `make dist` with the Python of an environment that holds the wheel, or the sdist, alone.

It is given the README, whose first example it runs: with what the package itself requires, and no more.
"""

import importlib.metadata
import importlib.resources
import re
import sys
from pathlib import Path


def check_files() -> None:
    """Ends the program unless every installed file is of the library, which is imported from where they are."""
    import vi_jax

    files = importlib.metadata.files("vi-jax") or []
    strays = sorted({path.parts[0] for path in files if not re.match(r"vi_jax(-[0-9.]+\.dist-info)?$", path.parts[0])})
    assert files, "no file is installed"
    assert not strays, f"the wheel holds {strays} beside the library"
    assert Path(vi_jax.__file__).is_relative_to(sys.prefix), f"vi_jax is {vi_jax.__file__}, and not the installed one"
    assert importlib.resources.files("vi_jax").joinpath("py.typed").is_file(), "py.typed is not installed"


def check_metadata() -> None:
    """Ends the program unless the metadata name the version of the code and the licence, and bring its text."""
    import vi_jax

    found = importlib.metadata.metadata("vi-jax")
    assert found["Version"] == vi_jax.__version__, f"{found['Version']} is installed, the code is {vi_jax.__version__}"
    assert found["License-Expression"] == "Apache-2.0", f"the licence is {found['License-Expression']}"
    files = importlib.metadata.files("vi-jax") or []
    assert any(path.name == "LICENSE" for path in files), "the text of the licence is not installed"


def run_first_example(readme: Path) -> None:
    """Trains the model of the README."""
    block = re.search(r"```python\n(.*?)```", readme.read_text(encoding="utf-8"), re.DOTALL)
    assert block, f"{readme} has no block of Python"
    exec(compile(block.group(1), readme.name, "exec"), {})


if __name__ == "__main__":
    check_files()
    check_metadata()
    print("  files and metadata: as they should be, version", importlib.metadata.version("vi-jax"))
    print("  the first example of the README: ", end="", flush=True)
    run_first_example(Path(sys.argv[1]))
