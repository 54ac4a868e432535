"""German credit: codings, label, and the evidence that goes with each coding."""

import os

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import logsumexp

from vi_jax import data
from vi_jax.data import credit
from vi_jax.data.find import find, sha256_of
from vi_jax.data.sources import GERMAN_CREDIT

needs_data = pytest.mark.skipif("VI_JAX_DATA" not in os.environ, reason="VI_JAX_DATA names no folder of real data")
TABLE = np.concatenate([np.random.default_rng(0).integers(0, 9, (6, 24)), [[1], [2], [1], [1], [2], [1]]], 1)


@pytest.fixture
def tiny(monkeypatch):
    """The loader, with a table of six rows for the real one."""
    monkeypatch.setattr(
        credit, "GERMAN_CREDIT", GERMAN_CREDIT._replace(sha256={"table": sha256_of(TABLE.astype(np.int16))})
    )


def write_csv(folder):
    header = ",".join(f"x{column}" for column in range(24)) + ",label"
    np.savetxt(folder / "german_credit_numeric.csv", TABLE, "%d", ",", header=header, comments="")
    return folder


def test_the_table_is_the_same_from_csv_and_from_the_original_text(tmp_path, tiny):
    np.savetxt(tmp_path / "german.data-numeric", TABLE, "%4d", "", newline=" \n")
    from_text = find(credit.GERMAN_CREDIT, tmp_path)["table"]
    (tmp_path / "german.data-numeric").unlink()
    np.testing.assert_array_equal(from_text, TABLE)
    np.testing.assert_array_equal(find(credit.GERMAN_CREDIT, write_csv(tmp_path))["table"], TABLE)


def test_columns_are_coded_the_intercept_is_last_and_bad_is_one(tmp_path, tiny):
    x, y, protocol = data.german_credit(write_csv(tmp_path))
    np.testing.assert_allclose(np.mean(x, axis=0), [0] * 24 + [1], atol=1e-6)
    np.testing.assert_allclose(np.mean(x**2, axis=0), 1, rtol=1e-5)
    np.testing.assert_array_equal(y, [0, 1, 0, 0, 1, 0])
    assert "24 columns standardized, intercept last, y = 1 for bad" in protocol
    uncentred = data.german_credit(tmp_path, coding=data.scaled)
    np.testing.assert_allclose(uncentred.x[:, :-1], TABLE[:, :-1] / TABLE[:, :-1].std(0), rtol=1e-6)
    assert "24 columns scaled" in uncentred.protocol


@pytest.mark.parametrize("coding", [lambda columns: columns[:, :3], lambda columns: columns / 0.0])
@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:invalid value")
def test_a_coding_that_loses_columns_or_numbers_is_refused(tmp_path, tiny, coding):
    with pytest.raises(ValueError, match=r"coding=<lambda> must return \(6, 24\) finite numbers"):
        data.german_credit(write_csv(tmp_path), coding=coding)


def test_another_table_is_refused(tmp_path):
    with pytest.raises(ValueError, match="the table data have SHA-256"):
        data.german_credit(write_csv(tmp_path))


def log_evidence(x, y, variance):
    """By importance sampling from the Laplace approximation, which is nearly exact here."""
    x, signs = np.asarray(x, np.float64), 2 * np.asarray(y, np.float64) - 1
    rng, dim = np.random.default_rng(0), x.shape[1]

    def log_joint(w):
        prior = -0.5 * (w**2).sum(-1) / variance - 0.5 * dim * np.log(2 * np.pi * variance)
        return prior - np.logaddexp(0, -signs * (w @ x.T)).sum(-1)

    mode = minimize(lambda w: -log_joint(w), np.zeros(dim)).x
    p = 1 / (1 + np.exp(-x @ mode))
    root = np.linalg.cholesky(np.linalg.inv(x.T @ (x * (p * (1 - p))[:, None]) + np.eye(dim) / variance))
    noise = rng.standard_normal((4000, dim))
    log_q = -0.5 * (noise**2).sum(-1) - 0.5 * dim * np.log(2 * np.pi) - np.log(np.diag(root)).sum()
    return logsumexp(log_joint(mode + noise @ root.T) - log_q) - np.log(len(noise))


@needs_data
@pytest.mark.parametrize(
    ("coding", "variance", "expected"),
    [(data.standardized, 1, -529.176), (data.standardized, 100, -585.041), (data.scaled, 100, -585.098)],
)
def test_real_german_credit_has_the_known_evidence(coding, variance, expected):
    x, y, _ = data.german_credit(coding=coding)
    assert x.shape == (1000, 25)
    assert y.sum() == 300
    assert log_evidence(x, y, variance) == pytest.approx(expected, abs=0.02)
