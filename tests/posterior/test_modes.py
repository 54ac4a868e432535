"""Modes that a guide excludes: known from ascents, not from its own weights."""

import jax
import jax.numpy as jnp
import pytest
from jax.scipy import stats

import vi_jax as vi
from vi_jax.posterior.modes import Places, missed, uncovered


def two_modes(z):
    each = [jnp.sum(stats.norm.logpdf(z, centre, 1.0)) for centre in (-4.0, 4.0)]
    return jnp.logaddexp(each[0] + jnp.log(0.9), each[1] + jnp.log(0.1))


TARGET = vi.models.unconstrained(two_modes, jnp.zeros(2))
GUIDE = vi.guides.mean_field(2)


def at(centre, scale=1.0):
    return vi.Params((), vi.guides.MeanField(jnp.full(2, centre), jnp.full(2, jnp.log(scale))))


@pytest.mark.parametrize(
    ("params", "place", "log_mass", "found"),
    [
        (at(-4.0), 4.0, jnp.log(0.1), True),
        (at(4.0), -4.0, jnp.log(0.9), True),
        # Its own mode; one that it covers; one that holds nothing; its own, where a narrow guide does not reach.
        (at(-4.0), -4.0, jnp.log(0.9), False),
        (at(0.0, 5.0), 4.0, jnp.log(0.1), False),
        (at(-4.0), 4.0, jnp.log(1e-4), False),
        (at(-4.0, 0.3), -2.5, jnp.log(0.9), False),
    ],
)
def test_a_mode_behind_a_valley_is_reported(params, place, log_mass, found):
    places = Places(jnp.full((1, 2), place), jnp.full(1, log_mass))
    log_evidence = float(jnp.log(0.9 if params.phi.loc[0] < 0 else 0.1))
    findings = missed(TARGET, GUIDE, params, places, log_evidence)
    assert [finding.kind for finding in findings] == ["mode"] * found
    if found:
        assert findings[0].is_fatal
        assert f"z[0] = {place:.4g}" in findings[0].text


def test_diagnose_reports_it_though_its_weights_are_perfect():

    places = Places(jnp.full((1, 2), 4.0), jnp.log(jnp.full(1, 0.1)))
    blind = vi.diagnose(jax.random.key(0), TARGET, GUIDE, at(-4.0), num_draws=1000)
    seeing = vi.diagnose(jax.random.key(0), TARGET, GUIDE, at(-4.0), num_draws=1000, places=places)
    assert blind.verdict.trusted
    assert not seeing.verdict.trusted
    assert "Another mode" in seeing.verdict.text


def spike_in_slab(z):
    each = [jnp.sum(stats.norm.logpdf(z, 0.5, 0.1)), jnp.sum(stats.norm.logpdf(z))]
    return jnp.logaddexp(*each) - jnp.log(2.0)


def test_a_spike_on_a_slab_is_seen_by_the_gaussian_that_is_there():
    """No valley lies before it: the density rises all the way. The slab's weights are all one half."""
    target, guide = vi.models.unconstrained(spike_in_slab, jnp.zeros(10)), vi.guides.mean_field(10)
    slab = vi.Params((), vi.guides.MeanField(jnp.zeros(10), jnp.zeros(10)))
    eye = jnp.eye(10)[None]
    there = Places(jnp.full((1, 10), 0.5), jnp.log(jnp.full(1, 0.5)), 0.1 * eye)
    assert missed(target, guide, slab, there, float(jnp.log(0.5))) == []
    (finding,) = uncovered(target, guide, slab, there, float(jnp.log(0.5)))
    assert "about z[0] = 0.5," in finding.text
    assert "holds at least 1 times the mass" in finding.text
    # Nothing is missed by the slab's own Gaussian, by one that is not known, or by a spike in the guide.
    own = Places(jnp.zeros((1, 10)), jnp.log(jnp.full(1, 0.5)), eye)
    assert uncovered(target, guide, slab, own, float(jnp.log(0.5))) == []
    assert uncovered(target, guide, slab, there._replace(scale_tril=None), float(jnp.log(0.5))) == []
    narrow = vi.Params((), vi.guides.MeanField(jnp.full(10, 0.5), jnp.full(10, jnp.log(0.1))))
    assert uncovered(target, guide, narrow, there, float(jnp.log(0.5))) == []
    seeing = vi.diagnose(jax.random.key(0), target, guide, slab, num_draws=1000, places=there)
    assert not seeing.verdict.trusted
    assert "Mass out of sight" in seeing.verdict.text
