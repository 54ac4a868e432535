"""Each refusal names the value and the remedy; what is fine passes, traced or not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vi_jax import checks


@pytest.mark.parametrize("value", [1, np.int64(7), np.uint8(3), jnp.int32(2)])
def test_integers_of_any_library_become_python_integers(value):
    result = checks.check_positive_int("K", value)
    assert type(result) is int
    assert result == value


@pytest.mark.parametrize("value", [True, np.True_, 2.0, np.float32(2.0), "2", None, jnp.ones(1), jnp.float32(1.0)])
def test_what_is_no_integer_is_a_type_error(value):
    with pytest.raises(TypeError, match="num_samples must be a Python integer ≥ 1, got "):
        checks.check_positive_int("num_samples", value)


def test_a_traced_count_is_a_type_error_that_says_so():
    with pytest.raises(TypeError, match=r"int32\[\] \(traced\)"):
        jax.jit(lambda n: checks.check_positive_int("K", n))(3)


@pytest.mark.parametrize("value", [0, -3, np.int32(0)])
def test_counts_below_one_are_value_errors(value):
    with pytest.raises(ValueError, match=f"K must be at least 1, got {value}"):
        checks.check_positive_int("K", value)


def test_one_typed_key_passes_traced_or_not():
    checks.check_key(jax.random.key(0))
    jax.jit(checks.check_key)(jax.random.key(0))
    jax.vmap(checks.check_key)(jax.random.split(jax.random.key(0), 3))


@pytest.mark.parametrize("key", [0, None, jnp.zeros(2, jnp.uint32), np.zeros(2, np.uint32)])
def test_anything_but_a_typed_key_is_a_type_error(key):
    with pytest.raises(TypeError, match=r"typed key, jax\.random\.key\(seed\)"):
        checks.check_key(key)


def test_an_array_of_keys_is_refused():
    with pytest.raises(ValueError, match=r"shape \(3,\).*jax\.vmap"):
        checks.check_key(jax.random.split(jax.random.key(0), 3))


def test_nan_is_found_in_any_floating_leaf_and_counted():
    tree = {
        "fine": np.array([np.inf, -np.inf]),
        "bad": (jnp.array([[jnp.nan, 1.0], [jnp.nan, jnp.nan]], jnp.bfloat16),),
    }
    with pytest.raises(ValueError, match=r"x\['bad'\]\[0\] holds 3 NaN among its 4 numbers: drop or impute"):
        checks.check_no_nan("x", tree)


def test_nan_is_found_in_a_constant_under_a_trace_and_tracers_are_skipped():
    constant = jnp.array([jnp.nan])
    with pytest.raises(ValueError, match="holds 1 NaN"):
        jax.jit(lambda y: checks.check_no_nan("x", constant) or y)(1.0)
    jax.jit(lambda x: checks.check_no_nan("x", x) or x)(constant)


def test_leaves_without_floats_are_no_business_of_the_nan_check():
    checks.check_no_nan("x", {"i": jnp.arange(3), "b": np.array([True]), "none": None, "key": jax.random.key(0)})


def test_the_batch_size_is_the_common_leading_axis():
    assert checks.check_batch("x", {"a": np.zeros((4, 2)), "b": jnp.zeros(4)}) == 4
    assert jax.eval_shape(lambda x: jnp.zeros(checks.check_batch("x", x)), jnp.zeros((3, 1))).shape == (3,)
