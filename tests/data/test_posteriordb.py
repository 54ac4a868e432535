"""posteriordb's data and references: the same from either layout, and refused where they do not belong together."""

import gzip
import json
import os
import zipfile

import numpy as np
import pytest

from vi_jax import data

needs_data = pytest.mark.skipif("VI_JAX_DATA" not in os.environ, reason="VI_JAX_DATA names no folder of real data")
NAMES = ["tau", "theta[1]"]
DRAWS = np.random.default_rng(0).normal([1.0, -20.0], [0.5, 3.0], (2000, 2))
DATA = {"N": 3, "y": [1, 2.5, -3]}
SUMMARY = {
    "names": NAMES,
    "n_draws": 2000,
    "mean": DRAWS.mean(0).tolist(),
    "sd": DRAWS.std(0, ddof=1).tolist(),
    "mcse_mean": (DRAWS.std(0, ddof=1) / 2000**0.5).tolist(),
    "cov": np.cov(DRAWS.T).tolist(),
}


def write_thinned(root, *, summary=SUMMARY, names=NAMES, draws=DRAWS[::2]):
    for folder in ("data", "reference", "draws_thinned"):
        (root / folder).mkdir()
    (root / "data" / "toy.json.gz").write_bytes(gzip.compress(json.dumps(DATA).encode(), mtime=0))
    (root / "reference" / "toy-model.summary.json").write_text(json.dumps(summary))
    np.savez(root / "draws_thinned" / "toy-model.npz", draws=draws, names=np.array(names))
    return root


def write_official(root):
    chains = [dict(zip(NAMES, chain.T.tolist(), strict=True)) for chain in np.split(DRAWS, 4)]
    for file, content in {"data/data/toy": DATA, "reference_posteriors/draws/draws/toy-model": chains}.items():
        target = root / "posterior_database" / f"{file}.json.zip"
        target.parent.mkdir(parents=True)
        with zipfile.ZipFile(target, "w") as archive:
            archive.writestr(f"{target.stem}", json.dumps(content))
    return root


@pytest.mark.parametrize("write", [write_thinned, write_official])
def test_data_and_reference_are_the_same_from_either_layout(tmp_path, write):
    name, found, reference, protocol = data.posteriordb("toy-model", write(tmp_path))
    assert name == "toy-model"
    assert found["N"] == 3
    np.testing.assert_array_equal(found["y"], [1, 2.5, -3])
    assert reference.names == ("tau", "theta[1]")
    for field, key in dict(mean="mean", sd="sd", mcse="mcse_mean", covariance="cov").items():
        np.testing.assert_allclose(getattr(reference, field), SUMMARY[key], rtol=1e-12)
    np.testing.assert_array_equal(reference.draws, DRAWS[::2])
    assert protocol == (
        "posteriordb toy-model: data not verified: no checksum is known; 2000 reference draws, 1000 kept"
    )


@pytest.mark.parametrize("name", ["toy", "-model", "../toy-model", ""])
def test_a_name_of_another_form_is_refused(name):
    with pytest.raises(ValueError, match=r"name must be 'DATA-MODEL' .*, got '" + name):
        data.posteriordb(name)


def test_a_posterior_that_is_nowhere_is_an_error_that_says_how_to_get_it(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"(?s)garch.json.*github.com/stan-dev/posteriordb.*VI_JAX_DATA=DIR"):
        data.posteriordb("garch-garch11", tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(names=["tau", "phi"]), "names .*other data"),
        (dict(summary=SUMMARY | {"mean": [1.0, 20.0]}), "standard errors from those of the draws"),
        (dict(summary=SUMMARY | {"mean": [1.0]}), r"moments of shapes .* for 2 columns"),
        (dict(summary=SUMMARY | {"cov": [["x"]]}), "no summary of reference draws"),
        (dict(summary={}), "no summary of reference draws: KeyError"),
        (dict(draws=DRAWS[:0]), r"\[0, 2\], are not \[S, P\] finite numbers"),
        (dict(draws=np.full((3, 2), np.nan)), r"are not \[S, P\] finite numbers"),
        (dict(names=NAMES[:1]), "names of 2 columns"),
    ],
)
def test_files_that_do_not_belong_together_are_refused(tmp_path, changes, message):
    with pytest.raises(ValueError, match=f"(?s)toy-model of posteriordb was found, but damaged.*{message}"):
        data.posteriordb("toy-model", write_thinned(tmp_path, **changes))


def test_other_data_than_the_checksum_names_are_refused(tmp_path):
    write_thinned(tmp_path)
    for file in list(tmp_path.rglob("toy*")):
        file.rename(file.with_name(file.name.replace("toy-model", "garch-garch11").replace("toy", "garch")))
    with pytest.raises(ValueError, match="the data data have SHA-256"):
        data.posteriordb("garch-garch11", tmp_path)


def test_a_truncated_file_is_refused(tmp_path):
    file = write_thinned(tmp_path) / "data" / "toy.json.gz"
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(ValueError, match=r"toy.json.gz is no readable json file"):
        data.posteriordb("toy-model", tmp_path)


@needs_data
def test_the_references_of_german_credit_and_of_eight_schools_are_those_that_are_published():
    credit = data.german_credit_reference()
    assert credit.names[-1] == "z[24]"
    np.testing.assert_allclose(credit.mean[[0, -1]], [-0.73510, -1.20334], atol=1e-5)
    schools = data.posteriordb("eight_schools-eight_schools_centered")
    assert schools.reference.draws.shape == (1000, 10)
    assert schools.reference.mean[schools.reference.names.index("mu")] == pytest.approx(4.4, abs=0.1)
    assert "data verified; 10000 reference draws, 1000 kept" in schools.protocol
