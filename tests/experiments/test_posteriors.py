"""Posteriors: known optima, exact posteriors and references, on eight schools and on Gaussians."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vi_jax as vi
from experiments import cli, posterior_methods, posterior_panels, posterior_targets, posteriors, style
from vi_jax.training import Gaussian

CONFIG = dataclasses.replace(posteriors.QUICK, methods=("mean-field/reverse-kl",), num_draws=4000, num_nuts_steps=500)


def without_files(*names, **keywords):
    raise FileNotFoundError


@pytest.fixture(scope="module")
def rows():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vi.data, "posteriordb", without_files)
        return cli.collect(posteriors.run, CONFIG).set_index("objective")


@pytest.fixture(scope="module")
def regression():
    with jax.enable_x64(True):
        return posterior_targets.linear_regression()


def test_mean_field_of_the_non_centred_schools_is_the_known_one_and_the_evidence_in_its_sandwich(rows):
    found = rows.loc["reverse-kl"]
    assert found["elbo_best"] == -31.597
    assert abs(found["elbo_error"]) < 0.05
    assert found["elbo"] + found["gap"] == pytest.approx(-31.31134735)
    assert found["iwae"] - 0.05 < -31.31134735 < found["eubo"]
    assert found["evidence_low"] - 0.02 < -31.31134735 < found["evidence_high"] + 0.02
    assert 0.4 < found["pareto_k"] < 0.8


def test_mean_field_is_too_narrow_and_its_weights_mend_that(rows):
    found = rows.loc["reverse-kl"]
    assert found["sd_ratio"] < 0.8
    assert abs(np.log(found["corrected_sd_ratio"])) < abs(np.log(found["sd_ratio"])) / 2
    assert found["corrected_mean_error"] < 0.15 < found["mean_error"]


def test_chains_say_how_well_they_know_the_posterior(rows):
    chains = rows.loc["nuts"]
    assert chains["r_hat"] < 1.05
    assert 200 < chains["ess"] < 4000
    # The least of the effective sample sizes is that of the largest error.
    assert chains["reference_mcse"] == pytest.approx(chains["ess"] ** -0.5, rel=1e-6)
    assert (rows["reference"] == "NUTS").all()


def test_figure_and_table_read_the_rows(rows):
    drawn = rows.reset_index()
    with style.context():
        assert len(posteriors.figure(drawn).axes) == 2 * len(posterior_panels.METRICS)
    found = rows.loc["reverse-kl"]
    (shown,) = posterior_panels.table(drawn).to_dict("records")
    assert shown["trusted"] == posterior_panels.WORDS[found["level"]]
    assert (shown["mean"], shown["mean*"]) == (found["mean_error"], found["corrected_mean_error"])


@pytest.mark.parametrize("method", ["laplace", "batch-and-match"])
def test_a_gaussian_posterior_is_met_exactly_without_an_objective(method, regression):
    with jax.enable_x64(True):
        start = Gaussian(jnp.zeros(5), jnp.eye(5))
        fitted = posterior_methods.ALONE[method][1](jax.random.key(1), regression.target, start)
        q = fitted.guide.distribution(fitted.params.phi, regression.target.x)
        np.testing.assert_allclose(q.mean(), regression.reference.mean, atol=1e-4)
        np.testing.assert_allclose(q.stddev(), regression.reference.sd, rtol=1e-4)


@pytest.mark.parametrize("objective", ["chi", "score-climbing"])
def test_objectives_whose_optimum_is_the_posterior_find_it(objective):
    with jax.enable_x64(True):
        exact = vi.models.gaussian_target([1.0, -1.0], [[1.0, 0.6], [0.6, 1.0]])
        target = vi.models.as_target(exact.model, np.zeros((1, 1)), 2)
        start = Gaussian(jnp.array([0.5, -0.5]), 1.3 * jnp.eye(2))
        fitted = posterior_methods.climb(jax.random.key(2), target, start, "full-rank", objective, max_stages=2)
        log_w = vi.log_weights(jax.random.key(3), target.model, fitted.guide, fitted.params, target.x, num_samples=500)
    log_w = np.asarray(log_w)
    assert abs(log_w.mean()) < 0.02
    assert log_w.std() < 0.1


def test_draws_of_an_exact_posterior_have_its_moments():
    with jax.enable_x64(True):
        for problem in (posterior_targets.mixture(), posterior_targets.banana()):
            known = problem.reference
            z = (known.draws.mean(axis=0) - known.mean) / (known.sd / len(known.draws) ** 0.5)
            assert np.abs(z).max() < 4
            np.testing.assert_allclose(known.draws.std(axis=0), known.sd, rtol=0.1)


def test_a_target_without_its_data_is_a_row_that_says_so(monkeypatch):
    monkeypatch.setattr(vi.data, "posteriordb", without_files)
    (row,) = cli.collect(posteriors.run, dataclasses.replace(CONFIG, targets=("kidiq",))).to_dict("records")
    assert row["target"] == "kidiq"
    assert "docs/data.md" in row["note"]


def test_unknown_names_are_answered_before_anything_runs():
    with pytest.raises(ValueError, match=r"no target 'radon': choose from linear-regression"):
        cli.collect(posteriors.run, dataclasses.replace(CONFIG, targets=("radon",)))
    with pytest.raises(ValueError, match=r"no method 'flow/laplace': take GUIDE/OBJECTIVE"):
        cli.collect(posteriors.run, dataclasses.replace(CONFIG, methods=("flow/laplace",)))
