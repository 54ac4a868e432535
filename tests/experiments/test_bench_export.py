"""Every program that the benchmark times lowers for a CPU, a GPU and a TPU. Lowering only: nothing runs."""

import importlib
import re

import jax
import jax.numpy as jnp
import pytest

from experiments.bench import arithmetic, cases, peak, sweeps
from experiments.bench.config import Config
from experiments.bench.programs import of_program
from vi_jax.measurement import stream

PLATFORMS = ("cpu", "cuda", "tpu")
# The default configuration, of the K that differ in nothing but a number the one that has every program.
EVERY = Config(regression_samples=(10,), elbo_samples=(50,), iwae_samples=(50,), long_samples=(32_768,))
# Rounding is inside the networks: one estimator meets it as any other does.
ROUNDED = Config(elbo_samples=(), iwae_samples=(50,), programs=("DReG", "log_evidence"), arithmetic=("bfloat16",))


def lowers(function, *arguments):
    def from_seed(seed, *arguments):
        return function(jax.random.wrap_key_data(seed), *arguments)

    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(jnp.shape(leaf), jnp.result_type(leaf)), arguments)
    seed = jax.random.key_data(jax.random.key(0))
    return jax.export.export(jax.jit(from_seed), platforms=PLATFORMS)(seed, *shapes).platforms == PLATFORMS


def families(config):
    """The cases without their K."""
    return {re.sub("=.*", "", entry.name) for entry in cases.chosen(config)}


def test_no_case_is_left_out():
    assert families(EVERY) == families(Config())


@pytest.mark.parametrize("config", [EVERY, ROUNDED], ids=["full precision", "bfloat16"])
def test_every_program_lowers_for_every_platform(config):
    for entry in cases.chosen(config):
        if not entry.name.startswith("W4"):
            case = cases.build(entry, config)
            for program in case.programs:
                with jax.default_matmul_precision(of_program(case, program).precision):
                    assert lowers(program.call, *program.arguments), (case.name, program.name)


@pytest.mark.parametrize("name", [name for name, kind in arithmetic.KINDS.items() if kind.parameters == "float32"])
def test_the_product_at_the_peak_lowers_in_every_arithmetic(name):
    kind = arithmetic.KINDS[name]
    program = peak.matmul(8, kind)
    with jax.default_matmul_precision(kind.precision):
        assert lowers(program.call, *program.arguments)


def test_a_sweep_lowers_part_by_part(monkeypatch):
    """One pair, the cells of the loop, and the two large programs of `vi.sweep`, whose other work is on the host."""
    alone, swept, _ = sweeps.sweep(Config(sweep_samples=(1, 2)), "", 2, arithmetic.full()).programs
    params, x = alone.arguments
    assert lowers(alone.call, params, x)
    for name in sweeps.OBJECTIVES:
        assert lowers(sweeps.gradient(*sweeps.toy()[:2], name, 2), params, x)
    lowered = []

    def exported(program):
        def instead(plan, key, params, x, *rest):
            lowered.append(lowers(lambda key, *given: program(plan, key, *given, *rest), params, x))
            return rest[-1]

        return instead

    for name in ("block", "pareto_k"):
        monkeypatch.setattr(stream, name, exported(getattr(stream, name)))
    # The package's `sweep` is the function; its module is found by name alone.
    monkeypatch.setattr(importlib.import_module("vi_jax.measurement.sweep"), "assemble", lambda *given: Assembled())
    swept.call(jax.random.key(0), params, x)
    assert lowered == [True, True]


class Assembled:
    quantities = None
