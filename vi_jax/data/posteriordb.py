"""posteriordb: data, and draws of the posterior that long and checked runs of Hamiltonian Monte Carlo left behind."""

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vi_jax.data.find import Container, Source, find
from vi_jax.data.formats import Arrays, read_draws, read_json
from vi_jax.data.sources import GERMAN_CREDIT_REFERENCE

NUM_THINNED = 1000
"""Draws that are kept of each reference: enough to see an error of a tenth of a standard deviation."""

SHA256 = {
    "arK": "169cc6a87c9cd87600a569a13f1a5d82cb12dd9c750a203fac5bc3c406829c62",
    "diamonds": "58b93ae5d39fda24723f3d4c78751d7232c5e83abd4c078f39154b9df824f3ba",
    "eight_schools": "1e499935e248ad07890e12fae3fd68ab6095148d6860c82f28f99d12225f79af",
    "garch": "95e103db00c486929fb6e81ef49720b943dce276720532d1f31d99e4c17846e8",
    "gp_pois_regr": "2f62e69f65c8791b960e654d3fb0b16fbae831063f9a88e448de09b84f3d2c71",
    "kidiq": "2144983540912848c5b82cc0adaf1048212db5602000975af8c44909eb9a501c",
    "low_dim_gauss_mix": "ea6e602faaaa55b6e210f0617e70398bd5599598cf7cf05727021aff2fbff61f",
    "nes1980": "c8bc9d5f6cc73354121cefb72a48b7aed10bc3f17a49510bb7d27b5b586afca9",
}
"""Of the data sets, as JSON with sorted keys and no blanks."""

_SHARED_DRAWS = {"eight_schools-eight_schools_centered": "eight_schools-eight_schools_noncentered"}
"""Posteriors whose reference in posteriordb is that of another parametrization."""


class ReferencePosterior(NamedTuple):
    """What is known of a posterior without variational inference: P constrained numbers, by name.

    Attributes:
      names: P names, as in "mu", "theta[1]"; posteriordb's count from one.
      mean: `[P]` float64.
      sd: `[P]`, standard deviations.
      mcse: `[P]`, Monte Carlo standard errors of `mean`.
      covariance: `[P, P]`, where it is known.
      draws: `[S, P]`, nearly independent, where there are any.
    """

    names: tuple[str, ...]
    mean: np.ndarray
    sd: np.ndarray
    mcse: np.ndarray
    covariance: np.ndarray | None = None
    draws: np.ndarray | None = None


class PosteriorDB(NamedTuple):
    """One posterior of posteriordb.

    Attributes:
      name: "DATA-MODEL".
      data: by the names of the Stan program, arrays and numbers.
      reference: moments of all draws, and 1000 of the draws.
      protocol: what was read, in words, to print beside a result.
    """

    name: str
    data: dict[str, Any]
    reference: ReferencePosterior
    protocol: str


def posteriordb(name: str, path: str | os.PathLike[str] | None = None) -> PosteriorDB:
    """Returns the data and the reference of one posterior of posteriordb.

    `models.posteriordb` has the log-densities of nine; of any other, this gives what to write one from. Magnusson et
    al., "posteriordb: Testing, Benchmarking and Developing Bayesian Inference Algorithms" (arXiv:2407.04967).

    Args:
      name: "DATA-MODEL", as "garch-garch11".
      path: a copy of https://github.com/stan-dev/posteriordb, or a folder with `data/DATA.json`,
        `reference/NAME.summary.json` and `draws_thinned/NAME.npz`. None searches as `data.find` says; nothing is
        downloaded.

    Raises:
      FileNotFoundError: the files are nowhere; the error lists where.
      ValueError: the name has no two parts; a file is damaged, other data than the checksum of the nine names, or
        draws that do not have the means they should.
    """
    data_name, dash, _ = name.partition("-")
    if not dash or not data_name or Path(name).name != name:
        raise ValueError(f"name must be 'DATA-MODEL' as in posteriordb, such as 'garch-garch11', got {name!r}.")
    parts = find(_source(name, data_name), path)
    reference = ReferencePosterior(
        tuple(map(str, parts["names"])), *(parts[key] for key in ("mean", "sd", "mcse", "covariance", "draws"))
    )
    data = {key: _as_array(value) for key, value in json.loads(parts["data"].tobytes()).items()}
    checked = "data verified" if data_name in SHA256 else "data not verified: no checksum is known"
    count = len(reference.draws) if reference.draws is not None else 0
    protocol = f"posteriordb {name}: {checked}; {int(parts['count'])} reference draws, {count} kept"
    return PosteriorDB(name, data, reference, protocol)


def german_credit_reference(path: str | os.PathLike[str] | None = None) -> ReferencePosterior:
    """Returns means and standard deviations of the weights of `german_credit()` for w ~ N(0, I), intercept last.

    Of `models.logistic_regression(1000, 25)`, from the Inference Gym 0.0.5 (Sountsov, Radul and contributors, 2020).

    Args:
      path: a folder with `german_credit_truth.json`, or such a file. None searches as `data.find` says.

    Raises:
      FileNotFoundError: the file is nowhere; the error lists where.
      ValueError: it is damaged, or other data.
    """
    parts = find(GERMAN_CREDIT_REFERENCE, path)
    names = tuple(f"z[{column}]" for column in range(len(parts["mean"])))
    return ReferencePosterior(names, parts["mean"], parts["sd"], parts["mcse"])


def _source(name: str, data_name: str) -> Source:
    draws_name = _SHARED_DRAWS.get(name, name)
    thinned = (f"reference/{name}.summary.json", f"draws_thinned/{name}.npz")
    official = "posterior_database"
    return Source(
        name=f"The posterior {name} of posteriordb",
        folders=("posteriordb", ""),
        containers=(
            Container((f"data/{data_name}.json", *thinned), _read_thinned),
            Container((f"data/{data_name}.json.gz", *thinned), _read_thinned),
            Container(
                (
                    f"{official}/data/data/{data_name}.json.zip",
                    f"{official}/reference_posteriors/draws/draws/{draws_name}.json.zip",
                ),
                _read_official,
            ),
        ),
        sha256={"data": SHA256[data_name]} if data_name in SHA256 else {},
        home="https://github.com/stan-dev/posteriordb",
    )


def _read_thinned(data: Path, summary: Path, thinned: Path) -> Arrays:
    """The form with a summary of all draws beside some of them."""
    found, archive = read_json(summary), read_draws(thinned)
    try:
        names, count = np.array(found["names"]), np.array(found["n_draws"])
        keys = dict(mean="mean", sd="sd", mcse="mcse_mean", covariance="cov")
        moments = {key: np.array(found[label], float) for key, label in keys.items()}
    except (LookupError, TypeError, ValueError) as error:
        raise ValueError(f"{summary} is no summary of reference draws: {error!r}. Replace it.") from error
    if not np.array_equal(names, archive["names"]):
        raise ValueError(f"{summary} names {list(names)}, but {thinned} {list(archive['names'])}: other data.")
    _check_moments(summary, moments, archive["draws"])
    return {"data": _canonical(data), "names": names, "count": count, "draws": archive["draws"], **moments}


def _read_official(data: Path, draws: Path) -> Arrays:
    """The form of the repository: a list of chains, each with a list of draws for each name."""
    chains = read_json(draws)
    try:
        names = list(chains[0])
        table = np.concatenate([np.array([chain[name] for name in names], float).T for chain in chains])
    except (LookupError, TypeError, ValueError) as error:
        raise ValueError(f"{draws} is no list of chains of draws: {error!r}. Replace it.") from error
    kept = table[:: max(len(table) // NUM_THINNED, 1)]
    moments = dict(mean=table.mean(axis=0), sd=table.std(axis=0, ddof=1), covariance=np.cov(table.T))
    moments["mcse"] = moments["sd"] / len(table) ** 0.5
    return {"data": _canonical(data), "names": np.array(names), "count": np.array(len(table)), "draws": kept, **moments}


def _check_moments(where: Path, moments: Arrays, draws: np.ndarray) -> None:
    size = draws.shape[1]
    shapes = [moments[key].shape for key in ("mean", "sd", "mcse", "covariance")]
    if shapes != [(size,)] * 3 + [(size, size)]:
        raise ValueError(f"{where} has moments of shapes {shapes} for {size} columns of draws: other data.")
    off = np.abs(draws.mean(axis=0) - moments["mean"]) / (moments["sd"] / len(draws) ** 0.5 + moments["mcse"])
    if not np.all(off < 6):
        raise ValueError(f"{where} has means that are {np.max(off):.1f} standard errors from those of the draws.")


def _canonical(file: Path) -> np.ndarray:
    """The bytes of the same data as JSON with sorted keys: equal whatever form they were kept in."""
    content = read_json(file)
    if not isinstance(content, dict):
        raise ValueError(f"{file} is no data set of a Stan program, but a {type(content).__name__}: replace it.")
    return np.frombuffer(json.dumps(content, sort_keys=True, separators=(",", ":")).encode(), np.uint8)


def _as_array(value: Any) -> Any:
    return np.asarray(value) if isinstance(value, list) else value
