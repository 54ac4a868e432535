"""Whole and in chunks, every row of the certificate has one gradient: K from 1 to 1000, every kind of pytree.

What a row is made of is taken from the library (`gradient._part`: its coefficients, and the form of pullback that they
need), and the rows of one form are pulled back together, so that a program serves many rows.
"""

import functools
from collections import defaultdict
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vi_jax as vi
from experiments import claims
from tests import problems
from vi_jax import gradient, guides, models
from vi_jax.log_weights import Draws, batch_draws, log_weights_of
from vi_jax.pullback import fixed_draws, forward_pass, two_pulls
from vi_jax.streaming import streamed_log_weights, streamed_pullback

KEY = jax.random.key(0)
# {K: chunk sizes}: single draws, chunks that fill K evenly and not, all at once. A program is compiled for each form.
CHUNKS = {1: (1,), 7: (1, 7), 1000: (16,)}
# In float32 the jackknife is claimed up to here (ESTIMATORS, rule 10).
FLOAT32_JACKKNIFE = 64


class Family(NamedTuple):
    """A model and a guide of one kind, with parameters and data; every row that is legal for the guide runs on it."""

    model: vi.Model
    guide: vi.Guide
    params: vi.Params
    x: object


def family(name: str) -> Family:
    if name == "parameters in a dictionary":
        return Family(problems.CURVED, problems.AMORTIZED, problems.curved_params(), problems.curved_data())
    if name == "latents in a dictionary":
        return Family(problems.TREE, problems.PAIRED, problems.tree_params(), problems.tree_data())
    model = models.table(models.THREE_STATES).model
    params = vi.Params(model.init(KEY), jnp.array([0.1, -0.4, 0.3]))
    return Family(model, guides.categorical(3), params, jnp.zeros(2, int))


FAMILIES = ("parameters in a dictionary", "latents in a dictionary", "discrete latents")


def defined_rows(guide: vi.Guide, num_samples: int) -> list[claims.Claim]:
    """The rows of the certificate that are legal here. In float32 the jackknife is claimed up to K = 64 alone."""
    rows = claims.GAUSSIAN if guide.reparameterized else claims.DISCRETE
    exact = jnp.result_type(float) == jnp.float64
    return [
        row
        for row in rows
        if claims.is_defined(row, num_samples)
        and ("jackknife" not in row.bound or exact or num_samples <= FLOAT32_JACKKNIFE)
    ]


class Stack(NamedTuple):
    """The rows of one form: their names, and their coefficients with the row as the leading axis."""

    names: tuple[str, ...]
    coefficients: vi.Coefficients


@functools.cache
def stacks(num_samples: int, dtype: jnp.dtype, rows: tuple[claims.Claim, ...]) -> dict:
    """{form: Stack}, on the log-weights of the first family: a pullback is linear in what it is given, whoever made it.

    Compiling the coefficients of a hundred rows is most of the work here, so that the families share them.
    """
    del dtype  # the programs differ
    here = family(FAMILIES[0])
    draws = batch_draws(KEY, here.x, jnp.arange(num_samples))
    log_w = jax.jit(lambda params: log_weights_of(here.model, here.guide, params, draws))(here.params)
    found = defaultdict(dict)
    for row in rows:
        pair = claims.BOUNDS[row.bound].bound, claims.ESTIMATORS[row.estimator].estimator
        part = gradient._part(here.guide, *pair, num_samples)
        found[part.form][f"{row.bound} × {row.estimator}"] = part.coefficients
    values = jax.jit(lambda log_w: [[rule(log_w) for rule in named.values()] for named in found.values()])(log_w)
    return {
        form: Stack(tuple(named), jax.tree.map(lambda *leaves: jnp.stack(leaves), *of_form))
        for (form, named), of_form in zip(found.items(), values, strict=True)
    }


def worst_distances(here: Family, num_samples: int) -> dict[tuple[str, int], float]:
    """{(row, chunk size): the largest difference from the whole, relative to the terms that are added up}."""
    draws = batch_draws(KEY, here.x, jnp.arange(num_samples))
    log_w = jax.jit(lambda params: log_weights_of(here.model, here.guide, params, draws))(here.params)
    steepest = largest_derivative(here, draws, log_w)
    worst = {}
    rows = tuple(defined_rows(here.guide, num_samples))
    for form, stack in stacks(num_samples, log_w.dtype, rows).items():
        forward = functools.partial(forward_pass([form]), here.model, here.guide)

        def whole(params, c, form=form, forward=forward):
            return form(forward(params, draws), c)

        def chunked(chunk_size, params, c, form=form, forward=forward):
            return streamed_pullback(forward, form, chunk_size, params, draws, log_w, c)

        expected = every_row(whole)(here.params, stack.coefficients)
        added_up = np.max([np.abs(c).sum(axis=1).max(axis=1) for c in stack.coefficients[:3]], axis=0)
        for chunk_size in CHUNKS[num_samples]:
            found = every_row(functools.partial(chunked, chunk_size))(here.params, stack.coefficients)
            for f, e in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
                distance = np.abs(np.asarray(f) - np.asarray(e)).reshape(len(added_up), -1).max(axis=1)
                for name, d, scale in zip(stack.names, distance, steepest * added_up, strict=True):
                    worst[name, chunk_size] = max(worst.get((name, chunk_size), 0.0), float(d / scale))
    return worst


def largest_derivative(here: Family, draws: Draws, log_w: jax.Array) -> float:
    """The largest derivative of any one draw, at least 1: the unit of what is added up."""
    form = two_pulls if here.guide.reparameterized else fixed_draws
    forward = functools.partial(forward_pass([form]), here.model, here.guide)
    some = np.unique(np.concatenate([np.argsort(log_w, axis=0)[:8].ravel(), np.argsort(log_w, axis=0)[-8:].ravel()]))
    each = jnp.zeros((some.size, *log_w.shape)).at[np.arange(some.size), some].set(1)

    def one(params, c):
        return form(forward(params, draws), vi.Coefficients(c, c, c))

    return max(1.0, *(float(np.abs(leaf).max()) for leaf in jax.tree.leaves(every_row(one)(here.params, each))))


def every_row(function):
    """(params, coefficients) -> gradients, mapped over the rows."""
    return jax.jit(jax.vmap(function, in_axes=(None, 0)))


# To compile the coefficients of a K is most of the work: each family runs at the K that show something of its own.
CASES = [(FAMILIES[0], num_samples) for num_samples in CHUNKS]
CASES += [(FAMILIES[1], num_samples) for num_samples in (7, 1000)]
CASES += [(FAMILIES[2], num_samples) for num_samples in (1, 7, 1000)]


@pytest.mark.parametrize(("name", "num_samples"), CASES)
def test_whole_and_chunked_gradients_agree(name, num_samples):
    worst = worst_distances(family(name), num_samples)
    assert len(worst) >= (30 if num_samples > 1 else 10)
    assert {key: distance for key, distance in worst.items() if not distance < 1e-5} == {}


def test_the_jackknife_agrees_in_float64_beyond(monkeypatch):
    monkeypatch.setattr(claims, "GAUSSIAN", tuple(row for row in claims.GAUSSIAN if "jackknife" in row.bound))
    with jax.enable_x64(True):
        here = family(FAMILIES[0])
        here = here._replace(params=jax.tree.map(lambda leaf: leaf.astype(float), here.params))
        worst = worst_distances(here, 1000)
    assert len(worst) == len(claims.GAUSSIAN)
    assert max(worst.values()) < 1e-12


def test_streamed_log_weights_are_those_of_all_draws():
    here = family(FAMILIES[1])
    draws = batch_draws(KEY, here.x, jnp.arange(64))
    whole = log_weights_of(here.model, here.guide, here.params, draws)
    for chunk_size in (1, 16, 64):
        part: Draws = batch_draws(KEY, here.x, jnp.arange(chunk_size))
        streamed = streamed_log_weights(here.model, here.guide, here.params, part, 64, chunk_size)
        np.testing.assert_allclose(streamed, whole, rtol=1e-6)


def test_a_chunk_that_is_left_out_would_be_seen():
    """The comparison can fail: one draw's coefficient lost in the last chunk."""
    here = family(FAMILIES[0])
    draws = batch_draws(KEY, here.x, jnp.arange(7))
    log_w = log_weights_of(here.model, here.guide, here.params, draws)
    part = gradient._part(here.guide, vi.bounds.iwae, vi.estimators.doubly_reparameterized, 7)
    forward = functools.partial(forward_pass([part.form]), here.model, here.guide)
    c = part.coefficients(log_w)
    lost = c._replace(model=c.model.at[-1].set(0))
    pull = functools.partial(streamed_pullback, forward, part.form, 4, here.params, draws, log_w)
    right, wrong = (np.asarray(pull(each).theta["mu"]) for each in (c, lost))
    assert np.abs(right - wrong).max() > 1e-3
