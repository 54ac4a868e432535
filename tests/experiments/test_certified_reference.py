"""Objectives with draws of another distribution: each row against its quadrature, all of them in one program."""

import jax
import numpy as np

from experiments.certified_reference import ROWS
from experiments.claims import UNBIASED

NUM_REPLICATES = 20_000


def test_every_row_is_what_it_claims():
    with jax.enable_x64(True):
        cells = [(row, k, row.build(k)) for row in ROWS for k in row.num_samples]
        keys = jax.random.split(jax.random.key(0), NUM_REPLICATES)
        samples = jax.jit(lambda keys: [jax.vmap(problem.estimate)(keys) for _, _, problem in cells])(keys)
    bias = {}
    for (row, k, problem), found in zip(cells, map(np.asarray, samples), strict=True):
        assert problem.exact.dtype == np.float64
        assert found.shape == (NUM_REPLICATES, problem.exact.size)
        if row.zero_variance:
            np.testing.assert_allclose(found, np.broadcast_to(problem.exact, found.shape), atol=1e-12)
            continue
        error = found.std(axis=0) / np.sqrt(NUM_REPLICATES)
        z = (found.mean(axis=0) - problem.exact) / error
        if row.kind == UNBIASED:
            assert np.abs(z).max() < 5, (row.target, k, z)
        else:
            assert np.abs(z).max() > 10, (row.target, k, z)
            bias[k] = np.linalg.norm(found.mean(axis=0) - problem.exact)
    # One biased row: its bias falls like 1/K, or a little less steeply before that sets in.
    (first, high), (last, low) = sorted(bias.items())
    assert 0.6 < np.log(high / low) / np.log(last / first) < 1.5
