"""Files from the network, each verified by its SHA-256 before anything reads it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

TIMEOUT = 30
"""Seconds without an answer after which a mirror counts as out of reach."""

Download = Callable[[str, str, Path], None]
"""`(url, sha256, target)`: puts that file there, or raises `OSError`, `ValueError` or `ImportError`."""


class Remote(NamedTuple):
    """One file that can be downloaded: the same bytes at every address, or they are refused."""

    file: str
    sha256: str
    urls: tuple[str, ...]


def retrieve(url: str, sha256: str, target: Path) -> None:
    """Downloads by pooch: into a temporary file, moved to `target` once its SHA-256 is right.

    Raises:
      ModuleNotFoundError: pooch is not installed.
      OSError: no answer, no space, or no right to write.
      ValueError: the file has another checksum.
    """
    try:
        import pooch
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("pooch is not installed: pip install 'vi-jax[experiments]'") from error
    get: Any = pooch.HTTPDownloader(timeout=TIMEOUT)
    pooch.retrieve(url, known_hash=f"sha256:{sha256}", fname=target.name, path=target.parent, downloader=get)


def fetch(remotes: tuple[Remote, ...], folder: Path, download: Download) -> list[str]:
    """Puts every file into the folder, each from the first mirror that gives it.

    Returns:
      Nothing if all went well; else what each mirror said of the first file that none of them gave.
    """
    if not remotes:
        return ["download: not offered, since no checksum of a file is known"]
    for remote in remotes:
        failures = []
        for url in remote.urls:
            try:
                download(url, remote.sha256, folder / remote.file)
                break
            except (OSError, ValueError, ImportError) as error:
                failures.append(f"download {url} into {folder}: {type(error).__name__}: {str(error)[:300]}")
        else:
            return failures
    return []
