"""The verdict on guides whose distance from the posterior is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vi_jax as vi
from tests.posterior import known
from vi_jax.models import supports
from vi_jax.posterior.parameters import flatten
from vi_jax.posterior.verdict import verdict


def within(found, truth, error, factor=4.0):
    assert np.all(np.abs(found - truth) < factor * np.asarray(error))


def test_the_posterior_itself_is_trusted():
    d = known.diagnosis()
    assert d.names == ("a.mu", "theta[0]", "theta[1]")
    assert d.verdict.trusted
    assert d.verdict.level == "trusted"
    assert d.findings == ()
    np.testing.assert_allclose(d.evidence.log_evidence.value, known.LOG_Z, atol=1e-4)
    mean, sd = known.moments()
    within(d.moments.raw.mean, mean, d.moments.raw.mean_error)
    within(d.moments.raw.sd, sd, d.moments.raw.sd_error)
    np.testing.assert_array_equal(d.draws["theta"], jnp.exp(d.unconstrained[:, 1:]))


def test_a_parameter_whose_own_tail_is_heavy_is_excepted_at_either_level():
    for d in (known.diagnosis(), known.diagnosis(0.25, 0.9)):
        heavy = d.moments._replace(sd_pareto_k=jnp.array([0.2, 0.9, 0.2]))
        judged = verdict(d.names, d.threshold, d.evidence, heavy, None, ())
        assert judged.level == d.verdict.level
        assert "Except mean or sd of theta[0], whose own k̂" in judged.text
        assert "Except" not in d.verdict.text


def test_a_guide_that_is_nearly_right_is_mended_by_its_weights():
    d = known.diagnosis(0.25, 0.9)
    assert d.verdict.trusted
    assert d.verdict.level == "trusted after importance correction"
    mean, sd = known.moments()
    within(d.moments.corrected.mean, mean, d.moments.corrected.mean_error)
    within(d.moments.corrected.sd, sd, d.moments.corrected.sd_error)
    assert np.max(np.abs((d.moments.raw.mean - mean) / sd)) > 0.2
    low, high = d.evidence.interval
    assert low < known.LOG_Z < high < low + 0.2
    # ELBO = log Z − KL(q ‖ p), in closed form.
    divergence = 3 * (0.9**2 / 2 - 0.5 - np.log(0.9) + 0.25**2 / 2)
    within(d.evidence.elbo.value, known.LOG_Z - divergence, d.evidence.elbo.standard_error)


def test_a_guide_that_is_far_too_narrow_is_not_trusted():
    d = known.diagnosis(0.0, 0.2)
    assert not d.verdict.trusted
    assert d.verdict.level == "not to be trusted"
    # k̂ of so few effective draws may lie below the threshold by chance; the interval may not.
    assert d.effective_sample_size < 100
    assert d.evidence.interval[0] < known.LOG_Z
    assert d.evidence.interval[1] == np.inf
    assert "richer guide" in d.verdict.text


def test_a_reference_in_any_form_gives_the_same_errors_and_its_draws_an_upper_bound():
    noise = jax.random.normal(jax.random.key(7), (known.NUM_DRAWS, 3))
    draws = jax.vmap(known.TARGET.constrain)(known.LOC + noise @ known.SCALE.T)
    rows = flatten(draws)
    moments = (rows.mean(axis=0), rows.std(axis=0, ddof=1))

    def against(reference):
        p = known.params(0.25, 0.9)
        return vi.diagnose(
            jax.random.key(0), known.TARGET, known.GUIDE, p, num_draws=known.NUM_DRAWS, reference=reference
        )

    tree, array, pair = map(against, (draws, rows, moments))
    for other in (array, pair):
        for one, two in zip(jax.tree.leaves(tree.errors), jax.tree.leaves(other.errors), strict=True):
            np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-5)
    assert tree.errors.corrected.rms_mean < 0.1 < tree.errors.raw.rms_mean
    # EUBO = log Z + KL(p ‖ q), in closed form.
    divergence = 3 * ((1 + 0.25**2) / 0.9**2 / 2 - 0.5 + np.log(0.9))
    within(tree.evidence.eubo.value, known.LOG_Z + divergence, tree.evidence.eubo.standard_error)
    np.testing.assert_allclose(array.evidence.eubo.value, tree.evidence.eubo.value, rtol=1e-5)
    assert pair.evidence.eubo is None
    assert "Against the reference: raw means within" in tree.verdict.text


def test_numbers_that_cannot_vary_do_not_speak_against_a_guide():
    """L of a correlation matrix [2, 2] has one free number r: (1 + r)/2 ~ Beta(5, 5), so that r has variance 1/11."""
    target = vi.models.unconstrained(lambda L: 4 * jnp.log1p(-(L[1, 0] ** 2)), np.eye(2), supports.correlation_cholesky)
    guide = vi.guides.mean_field(1)
    p = vi.Params((), guide.init(jax.random.key(0))._replace(log_scale=jnp.full(1, jnp.log(0.5))))
    r = 2 * np.random.default_rng(0).beta(5, 5, 1000) - 1
    rows = np.stack([np.ones(1000), np.zeros(1000), r, np.sqrt(1 - r**2)], axis=1)
    d = vi.diagnose(jax.random.key(0), target, guide, p, num_draws=2000, reference=rows)
    assert d.verdict.trusted, d.verdict.text
    within(d.moments.corrected.sd[2], 11**-0.5, d.moments.corrected.sd_error[2])
    assert d.errors.corrected.largest_mean < 0.2
    assert "inf" in str(d)


def test_a_support_that_is_too_wide_is_named_in_the_verdict():
    def log_density(parameters):
        return jnp.where(parameters["sigma"] > 0, -parameters["sigma"], -jnp.inf) - parameters["mu"] ** 2 / 2

    target = vi.models.unconstrained(log_density, {"mu": 0.0, "sigma": 1.0})
    guide = vi.guides.mean_field(2)
    p = vi.Params((), guide.init(jax.random.key(0)))
    d = vi.diagnose(jax.random.key(0), target, guide, p, num_draws=200)
    assert not d.verdict.trusted
    assert [finding.kind for finding in d.findings] == ["support"]
    assert "because of sigma (in [-" in d.verdict.text
    assert "of mu" not in d.verdict.text
    assert d.evidence.elbo.value == -jnp.inf


def test_what_does_not_fit_is_refused():
    p = known.params()
    arguments = (jax.random.key(0), known.TARGET, known.GUIDE, p)
    with pytest.raises(ValueError, match="at least 100"):
        vi.diagnose(*arguments, num_draws=99)
    with pytest.raises(ValueError, match=r"shapes \[\(5, 2\)\]"):
        vi.diagnose(*arguments, reference=np.zeros((5, 2)))
    with pytest.raises(ValueError, match="NaN"):
        vi.diagnose(*arguments, reference=np.full((5, 3), np.nan))
    with pytest.raises(ValueError, match="phi"):
        vi.diagnose(jax.random.key(0), known.TARGET, vi.guides.mean_field(3), p)
