"""Modes that a guide excludes: known from ascents, not from its own weights."""

import jax
import jax.numpy as jnp
import pytest
from jax.scipy import stats

import vi_jax as vi
from vi_jax.posterior.modes import Places, missed


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
