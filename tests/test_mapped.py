"""Mapped over seeds and data: a gradient has the numbers of its own call, and the second pass stays the exception."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vi_jax as vi
from tests import problems
from vi_jax.mapped import anywhere

KEY = jax.random.key(0)

# One row per element of the map, one edge per datum: no draw without weight, some, one datum impossible, both.
CALM, POISONED, PARTLY, HOPELESS = (-100.0, -100.0), (0.0, -100.0), (100.0, -100.0), (100.0, 200.0)


@pytest.mark.usefixtures("x64")
def test_a_second_pass_for_one_element_leaves_the_numbers_of_the_others():
    objective = vi.value_and_grad(problems.EDGED, problems.FREE, vi.bounds.iwae, vi.estimators.pathwise, num_samples=4)
    params = problems.edged_params()
    mapped = jax.jit(jax.vmap(objective, in_axes=(None, None, 0)))

    def rows(*edges: tuple[float, float]):
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *(problems.edged_data(*pair) for pair in edges))

    together = mapped(KEY, params, rows(CALM, POISONED, PARTLY, HOPELESS))
    jax.tree.map(lambda leaf: np.testing.assert_array_equal(leaf[3], 0.0), together[1])
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(together[1]))
    for i, edges in enumerate((CALM, POISONED, PARTLY)):
        alone = objective(KEY, params, problems.edged_data(*edges))
        jax.tree.map(lambda a, b, i=i: np.testing.assert_allclose(a[i], b, rtol=1e-12), together, alone)
    without = mapped(KEY, params, rows(CALM, CALM, CALM, CALM))
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a[0], b[0]), together, without)


def test_the_data_are_not_copied_for_every_seed_and_the_branch_stays_a_branch():
    model = vi.Model(lambda key: (), lambda theta, x, z: -jnp.sum((x - z[0]) ** 2) - jnp.sum(z**2))
    guide = vi.guides.mean_field(2)
    objective = vi.value_and_grad(model, guide, vi.bounds.iwae, vi.estimators.pathwise, num_samples=3)
    arguments = jax.random.split(KEY, 7), vi.Params((), guide.init(KEY)), jnp.ones((1, 13))
    text = jax.jit(jax.vmap(objective, in_axes=(0, None, None))).lower(*arguments).as_text()
    assert "tensor<7x3x13xf32>" in text
    assert "tensor<7x1x13xf32>" not in text
    assert text.count("stablehlo.case") == 2


def test_all_elements_have_one_answer_under_maps_of_maps():
    flags = jnp.array([[False, False], [False, True]])
    assert bool(anywhere(flags[1, 1]))
    assert not bool(anywhere(flags[0, 0]))
    np.testing.assert_array_equal(jax.vmap(anywhere)(flags[1]), [True, True])
    np.testing.assert_array_equal(jax.vmap(jax.vmap(anywhere))(flags), np.ones((2, 2), bool))
