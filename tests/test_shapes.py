"""The shape check names what it was given and what to do."""

import jax.numpy as jnp
import numpy as np
import pytest

from vi_jax.shapes import check_shape


@pytest.mark.parametrize("shape", [(), (2,), (2, 3)])
def test_the_right_shape_passes_unchanged_as_an_array(shape):
    value = np.arange(np.prod(shape, dtype=int), dtype=np.int32).reshape(shape)
    np.testing.assert_array_equal(check_shape("x", value, shape), value)
    assert check_shape("x", value, shape).dtype == jnp.int32


@pytest.mark.parametrize("shape", [(), (1,), (3,), (1, 2), (2, 1)])
def test_any_other_shape_is_refused_though_it_would_broadcast(shape):
    with pytest.raises(ValueError, match=r"z must have shape \(2,\).* got \(.*x\[None\]"):
        check_shape("z", jnp.zeros(shape), (2,))
