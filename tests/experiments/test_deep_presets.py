"""Presets say what the papers say, and data that are not there end in one line."""

import dataclasses
import os

import jax
import numpy as np
import optax
import pandas as pd
import pytest

import vi_jax as vi
from experiments import deep_generative, deep_presets, deep_training, progress
from experiments.store import as_frame
from vi_jax import data

KEY = jax.random.key(0)


def test_the_eight_stages_are_those_of_the_paper():
    num_steps = 3280 * 3000  # 60,000 images in batches of 20
    schedule = deep_presets.eight_stages(num_steps)
    epochs = np.cumsum([3**i for i in range(8)])
    for stage, end in enumerate(epochs):
        for step in (end * 3000 - 1, end * 3000 - 3**stage * 3000):
            np.testing.assert_allclose(schedule(step), 1e-3 * 10 ** (-stage / 7), rtol=1e-6)


@pytest.mark.parametrize("num_steps", [1, 7, 200])
def test_a_short_run_ends_at_the_last_rate_and_its_rates_never_rise(num_steps):
    schedule = deep_presets.eight_stages(num_steps)
    rates = [float(schedule(step)) for step in range(num_steps)]
    assert rates == sorted(rates, reverse=True)
    np.testing.assert_allclose(rates[-1], 1e-4, rtol=1e-6)
    # Two thirds of the steps, 2187 of 3280, are the last stage.
    np.testing.assert_allclose(np.isclose(rates, 1e-4).mean(), 2187 / 3280, atol=1 / num_steps)


def test_the_shrunk_protocol_is_twelve_thousand_steps():
    digits = deep_presets.PRESETS["digits"]
    assert deep_presets.default_steps(digits, 1500) == 12_000
    rates = [float(digits.rates(12_000)(step)) for step in (0, 3999, 4001, 7999, 8001)]
    np.testing.assert_allclose(rates, [1e-3, 1e-3, 5e-4, 5e-4, 2e-4], rtol=1e-6)


@pytest.mark.parametrize(
    ("layers", "theta", "phi"),
    [
        (1, [(50, 200), (200, 200), (200, 784)], [(784, 200), (200, 200), (200, 50), (200, 50)]),
        (
            2,
            [(100, 200), (200, 200), (200, 784), (50, 100), (100, 100), (100, 100), (100, 100)],
            [(784, 200), (200, 200), (200, 100), (200, 100), (100, 100), (100, 100), (100, 50), (100, 50)],
        ),
    ],
)
def test_the_networks_are_those_of_the_paper(layers, theta, phi):
    preset = deep_presets.PRESETS[f"mnist-{layers}-layer{'s' * (layers > 1)}"]
    mean = np.linspace(0.2, 0.8, 784)
    model, guide = preset.networks(np.broadcast_to(mean, (3, 784)))
    shapes = [
        sorted(leaf.shape for leaf in jax.tree.leaves(jax.eval_shape(init, KEY)) if len(leaf.shape) == 2)
        for init in (model.init, guide.init)
    ]
    assert shapes == [sorted(theta), sorted(phi)]
    assert (preset.batch_size, preset.num_epochs, preset.epsilon) == (20, 3280, 1e-4)


def test_an_unknown_preset_is_answered_with_all_that_there_are():
    with pytest.raises(ValueError, match="no preset 'mnist': choose from digits, mnist-1-layer, static-mnist-1-layer"):
        deep_presets.preset("mnist")


def test_data_that_are_not_there_are_one_line(monkeypatch):
    def nowhere():
        raise FileNotFoundError("MNIST was not found. Tried: a place")

    monkeypatch.setattr(data, "mnist", nowhere)
    with pytest.raises(SystemExit, match="^error: MNIST was not found. Tried: a place$"):
        deep_presets.images(deep_presets.preset("mnist-1-layer"))


@pytest.mark.parametrize("method", deep_training.METHODS)
@pytest.mark.parametrize("layers", ["1-layer", "2-layers"])
def test_every_method_trains_the_full_size_networks(layers, method):
    """Traced, not run: the shapes fit, and no pair of bound and estimator is refused."""
    preset = deep_presets.PRESETS[f"mnist-{layers}"]
    train = np.full((30, 784), 0.3, np.float32)
    model, guide = preset.networks(train)
    posed = deep_training.Problem(preset, deep_presets.Images(train, train, None, ""), model, guide, lambda *_: {})
    optimizer = optax.adam(preset.rates(4), eps=preset.epsilon)

    def run(key):
        params = vi.Params(model.init(key), guide.init(key))
        objective = deep_training.objective(posed, method, 4)
        return vi.fit(key, objective, optimizer, params, train, num_steps=4, batch_size=20, prepare=data.binarize)

    state, history = jax.eval_shape(run, KEY)
    assert history.value.shape == (4,)
    assert jax.tree.structure(state.params) == jax.tree.structure(
        jax.eval_shape(lambda: vi.Params(model.init(KEY), guide.init(KEY)))
    )


@pytest.mark.slow
@pytest.mark.skipif(not os.environ.get("VI_JAX_DATA"), reason="the full-size data sets are not here")
@pytest.mark.parametrize(
    ("name", "shapes", "anew", "layers"),
    [
        ("mnist-1-layer", [60_000, 10_000], True, 1),
        ("static-mnist-2-layers", [50_000, 10_000], False, 2),
        ("omniglot-1-layer", [19_280, 13_180], True, 1),
    ],
)
def test_full_size_presets_train_a_few_steps_and_are_scored(name, shapes, anew, layers, tmp_path):
    posed = deep_training.problem(name)
    assert [len(posed.data.train), len(posed.data.test)] == shapes
    assert (posed.data.prepare is data.binarize) == anew
    assert ("static" in posed.data.protocol) != anew
    config = dataclasses.replace(
        deep_generative.QUICK, preset=name, num_samples=(3,), num_steps=4, num_evaluations=2, num_draws=20, num_test=20
    )
    rows = pd.concat([as_frame(block) for block in deep_generative.run(config, progress.silent, tmp_path)])
    (mean,) = rows.query("part == 'result' and seed == 'mean'").to_dict("records")
    assert 100 < mean["nll"] < mean["minus_elbo"] < 600
    assert np.isnan(mean["active_2"]) == (layers == 1)
    assert mean["protocol"] == posed.data.protocol
    assert {"samples", "reconstructions", "traversals"} <= set(rows["what"].dropna())
