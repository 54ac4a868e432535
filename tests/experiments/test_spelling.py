"""Names of bounds and estimators mean what they say, and a wrong one is answered with all that there are."""

import jax.numpy as jnp
import numpy as np
import pytest

import vi_jax as vi
from experiments import spelling

LOG_W = jnp.array([[0.3, -0.2], [-1.0, 0.4], [2.0, 0.1], [0.0, -3.0]])


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("elbo", vi.bounds.elbo),
        ("iwae", vi.bounds.iwae),
        ("eubo", vi.bounds.eubo),
        ("renyi:0.5", vi.bounds.renyi(0.5)),
        ("renyi:-inf", vi.bounds.renyi(-np.inf)),
        ("cubo:2", vi.bounds.cubo(2)),
        ("miwae:2", vi.bounds.miwae(2)),
        ("ciwae:0.3", vi.bounds.ciwae(0.3)),
        ("jackknife:1", vi.bounds.jackknife(1)),
        ("thermodynamic:0,0.1,1", vi.bounds.thermodynamic((0.0, 0.1, 1.0))),
        ("thermodynamic_upper:0,0.1,1", vi.bounds.thermodynamic_upper((0.0, 0.1, 1.0))),
    ],
)
def test_a_bound_means_what_it_says(name, meant):
    np.testing.assert_array_equal(spelling.bound(name)(LOG_W), meant(LOG_W))


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("vimco", vi.estimators.vimco),
        ("piwae:2", vi.estimators.piwae(2)),
        ("minimized:pathwise", vi.estimators.minimized(vi.estimators.pathwise)),
        ("minimized:piwae:2", vi.estimators.minimized(vi.estimators.piwae(2))),
    ],
)
def test_an_estimator_means_what_it_says(name, meant):
    found, expected = (rule(vi.bounds.iwae)(LOG_W)[:3] for rule in (spelling.estimator(name), meant))
    for part, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(part, other)


def test_one_name_is_one_function_so_that_nothing_compiles_twice():
    assert spelling.bound("renyi:0.5") is spelling.bound("renyi:0.5")
    assert spelling.estimator("piwae:4") is spelling.estimator("piwae:4")


@pytest.mark.parametrize("name", ["foo", "Iwae", "", "miwae(4)"])
def test_an_unknown_name_is_answered_with_all_that_there_are(name):
    with pytest.raises(
        ValueError, match=r"there is no bound '.*': choose from elbo, iwae, .*renyi:ALPHA.*miwae:GROUPS"
    ):
        spelling.bound(name)
    with pytest.raises(ValueError, match=r"there is no estimator '.*': choose from pathwise, .*piwae:GROUPS"):
        spelling.estimator(name)


@pytest.mark.parametrize("name", ["renyi", "miwae:two", "miwae:0", "iwae:4", "thermodynamic:0.1", "jackknife:1.5"])
def test_a_wrong_parameter_is_answered_with_the_right_form(name):
    with pytest.raises(ValueError, match=f"bound '{name}' is written {name.partition(':')[0]}"):
        spelling.bound(name)
    with pytest.raises(ValueError, match="there is no estimator 'pathways'"):
        spelling.estimator("minimized:pathways")
