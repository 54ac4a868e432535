"""How well a measured direction is known, and which gradients need no clock."""

from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

import vi_jax as vi
from vi_jax.measurement import Moments, Reference
from vi_jax.measurement.ranking import Signals
from vi_jax.measurement.signals import Measured, direction, hopeless, measured


def reference(gradient, error) -> Reference:
    """In φ; θ has one number that is known exactly."""
    one = jnp.ones(1)
    return Reference(jnp.zeros(()), vi.Params(one, gradient), jnp.zeros(()), vi.Params(0 * one, error))


def test_a_direction_that_is_exact_has_cosine_one():
    assert direction(reference({"a": jnp.array([3.0, 4.0])}, {"a": jnp.zeros(2)}), 1) == (1.0, 0.0)


def test_the_cosine_of_a_noisy_direction_is_the_one_it_has():
    """Over many draws of the noise: ⟨ĝ, g⟩ / (‖ĝ‖ ‖g‖), and the spread of projections on ĝ's direction."""
    rng, dim = np.random.default_rng(0), 400
    true = rng.normal(size=dim)
    error = 0.6 * np.exp(0.3 * rng.normal(size=dim))
    found, cosines, lengths = [], [], []
    for _ in range(300):
        noisy = true + error * rng.normal(size=dim)
        found.append(direction(reference(jnp.asarray(noisy), jnp.asarray(error)), 1))
        cosines.append(noisy @ true / np.linalg.norm(noisy) / np.linalg.norm(true))
        # What the projection of the truth says of its length, once the angle is divided out.
        lengths.append(noisy @ true / np.linalg.norm(noisy) / found[-1][0])
    stated, errors = np.mean(found, axis=0)
    assert stated == pytest.approx(np.mean(cosines), abs=0.005)
    assert 0.7 < stated < 0.9
    assert np.mean(lengths) == pytest.approx(np.linalg.norm(true), rel=0.01)
    # It states no less than what there is.
    assert np.std(lengths) / np.linalg.norm(true) < 1.3 * errors


@pytest.mark.parametrize("given", [None, reference(jnp.zeros(3), jnp.ones(3)), reference(jnp.zeros(0), jnp.zeros(0))])
def test_a_direction_that_is_lost_or_missing_or_of_no_coordinates_has_cosine_zero(given):
    assert direction(given, 1) == (0.0, np.inf)


def test_what_a_turned_direction_takes_from_a_ratio_is_given_back():
    """⟨g, û⟩ has the mean ρ ‖E g‖: two gradients alike but for the noise of their references have one ratio."""
    count, rng = np.full(5, 40.0), np.random.default_rng(0)
    means = 0.4 + 0.01 * rng.normal(size=5)
    of = lambda scale: np.stack([means, scale * means], axis=1)  # noqa: E731
    exact, noisy = (reference(jnp.array([3.0, 4.0]), jnp.full(2, error)) for error in (0.0, 2.0))
    rho = direction(noisy, 1)[0]
    assert rho == pytest.approx((17 / 25) ** 0.5)
    along = of(rho)[:, None, :, None] * np.array([0.0, 1.0])
    grouped = Moments(count, SimpleNamespace(along=along), SimpleNamespace(along=np.full((5, 1, 2, 2), 39.0)))
    result = SimpleNamespace(objectives=("a", "b"), undefined={}, grouped={8: grouped})
    found = measured(result, lambda name, size: {"a": exact, "b": noisy}[name], {"a": "a", "b": "b"}, 1)
    assert found.cells == (("a", 8), ("b", 8))
    snr, _, _, place, error = found.signals
    assert place.tolist() == [0, 1]
    assert snr[0] == pytest.approx(0.4, rel=0.05)
    # The excess 1/n is taken off before the turn is undone.
    assert snr[1] ** 2 - snr[0] ** 2 == pytest.approx((1 - 1 / rho**2) / 200, rel=1e-3)
    assert error[0] == 0 < error[1]


def block(cells, snr) -> Measured:
    snr = np.asarray(snr, float)
    count = np.full(4, 10.0)
    return Measured(
        tuple(cells), Signals(snr, np.tile(snr[:, None], 4), count, np.zeros(len(snr), int), np.zeros(len(snr))), {}
    )


CELLS = [(name, 8) for name in ("elbo/a", "elbo/b", "miwae/a", "miwae/b", "iwae/a", "iwae/b")]
BOUND_OF = {name: name.partition("/")[0] for name, _ in CELLS}
MARKS = {cell: np.array([-1.0, 2.0, 3.0 + i]) for i, cell in enumerate(CELLS)}
THETA = block(CELLS, [1.0, 1.0, 2.0, 2.0, 3.0, 3.0])


def test_a_tenth_of_the_square_of_another_of_the_same_bound_is_hopeless_in_phi():
    phi = block(CELLS, [10.0, 3.1, 9.0, 8.0, 1.0, 0.4])
    out = hopeless((THETA, phi), BOUND_OF, MARKS)
    assert set(out) == {("elbo/b", 8)}
    assert "less than a tenth of the SNR²" in out["elbo/b", 8]


def test_one_gradient_under_two_names_is_timed_once_and_counts_as_a_rival_all_the_same():
    phi = block(CELLS, [10.0, 9.0, 9.9, 0.4, 10.0, 0.4])
    out = hopeless((THETA, phi), BOUND_OF, MARKS | {("miwae/a", 8): MARKS["elbo/a", 8] * (1 + 1e-6)})
    assert out["miwae/a", 8] == "the same gradient as elbo/a"
    # It has the signal of another by chance, and not its noise.
    assert ("iwae/a", 8) not in out
    assert set(out) == {("miwae/a", 8), ("miwae/b", 8), ("iwae/b", 8)}


def test_where_phi_has_no_direction_theta_decides():
    theta = block(CELLS, [1.0, 0.1, 2.0, 1.9, 3.0, 2.9])
    assert set(hopeless((theta, block([], [])), BOUND_OF, MARKS)) == {("elbo/b", 8)}
