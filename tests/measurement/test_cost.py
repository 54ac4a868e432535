"""Costs of a cell: operations of its own program, seconds where it was timed, straight lines elsewhere."""

import jax
import jax.numpy as jnp
import numpy as np

import vi_jax as vi
from vi_jax.measurement import cell_costs
from vi_jax.measurement.cost import _between

PAIRS = {
    "iwae/pathwise": (vi.bounds.iwae, vi.estimators.pathwise),
    "iwae/vimco": (vi.bounds.iwae, vi.estimators.vimco),
}


def test_costs_are_those_of_each_cell_alone_and_undefined_cells_have_none():
    toy, guide = vi.models.linear_gaussian(3), vi.guides.affine(3, 3, variance=2 / 3)
    params, x = vi.Params(jnp.zeros(3), guide.init(jax.random.key(0))), jnp.ones((1, 3))
    settings = {"objectives": PAIRS, "num_samples": (1, 2)}
    told = []
    costs = cell_costs(
        jax.random.key(0), toy.model, guide, params, x, num_timings=2, progress=lambda *at: told.append(at), **settings
    )
    assert told == [(1, 3), (2, 3), (3, 3)]
    assert np.isnan(costs.flops[1, 0])
    assert np.isnan(costs.seconds[1, 0])
    assert not costs.interpolated.any()
    assert 1.2 < costs.flops[0, 1] / costs.flops[0, 0] < 2.2
    assert np.all(costs.seconds[0] > 0)
    result = vi.sweep(jax.random.key(1), toy.model, guide, params, x, num_replicates=40, **settings)
    table = result._replace(costs=costs).to_pandas()
    assert {"flops", "seconds", "seconds_interpolated"} <= set(table.columns)


def test_seconds_lie_on_straight_lines_between_the_values_of_k_that_were_timed():
    seconds = np.array([1.0, np.nan, 3.0, np.nan, 11.0])
    line = _between([1, 2, 3, 5, 7], seconds, np.ones(5))
    np.testing.assert_allclose(line, [1, 2, 3, 7, 11])
