"""Training with discrete latents: the exact judge is right, relaxed problems are problems, and methods order."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import vi_jax as vi
from experiments import belief_net_methods, discrete_latents, mixture_methods, progress, style
from vi_jax import models, objectives

KEY = jax.random.key(0)
NET = belief_net_methods.belief_net(3, np.full(4, 0.4), 5)
CONFIG = dataclasses.replace(
    discrete_latents.QUICK,
    latent_dim=3,
    hidden=5,
    net_steps=400,
    net_rate=0.02,
    net_methods=("REINFORCE(1)", "exact ELBO"),
    mixture_steps=800,
    mixture_rate=0.03,
    mixture_names=("RWS", "exact gradients"),
    num_evaluations=4,
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("discrete")
    return folder, blocks(folder)


def blocks(folder, config=CONFIG):
    return [pd.DataFrame(block) for block in discrete_latents.run(config, progress.silent, folder)]


def point():
    return vi.Params(NET.exact.model.init(KEY), NET.guide.init(jax.random.key(1)))


def test_the_exact_elbo_is_the_enumerated_one_and_the_judge_agrees_with_both():
    x = jnp.array([[0.0, 1, 1, 0], [1, 1, 0, 1]])
    ours = jax.jit(belief_net_methods.exact_elbo(NET))(KEY, point(), x)
    theirs = objectives.enumerated(NET.exact.model, NET.guide)(KEY, point(), x)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-6), ours, theirs)
    found = jax.jit(lambda params: belief_net_methods.judge(NET, x, KEY, params))(point())
    np.testing.assert_allclose(-found["nll"] - found["gap"], ours[0].mean(), rtol=1e-6)
    exact = jax.jit(jax.vmap(lambda x: vi.exact.reverse_kl(NET.exact, NET.guide, point(), x)))(x)
    np.testing.assert_allclose(found["gap"], exact.mean(), rtol=1e-4)


def test_a_relaxed_net_is_a_density_over_pixels_and_the_inside_of_the_square():
    """Midpoints in y, z = sigmoid(y): a density in z is one in y times z (1 − z)."""
    model = belief_net_methods.relaxed_net(models.sigmoid_belief_net(1, 2).model)
    theta = model.init(KEY)._replace(b=jnp.array([0.7]))
    y = jnp.linspace(-30, 15, 4001)
    z = jax.nn.sigmoid(y)
    images = jnp.array(list(itertools.product((0.0, 1.0), repeat=2)))
    log_p = jax.vmap(jax.vmap(lambda x, z: model.log_joint(theta, x, z[None]), (0, None)), (None, 0))(images, z)
    total = jnp.sum(jnp.exp(log_p) * (z * (1 - z))[:, None]) * (y[1] - y[0])
    np.testing.assert_allclose(total, 1, atol=2e-3)


def test_under_a_relaxed_label_x_is_gaussian_around_the_mixed_mean():
    """Between two data the prior of z cancels: log p(x | z) is left, a Gaussian around Σ_c z_c μ_c."""
    model, _ = mixture_methods.relaxed_mixture()
    theta, z = jnp.zeros(20), 0.98 * jax.nn.one_hot(3, 20) + 0.001
    at = [float(model.log_joint(theta, jnp.array([x]), z)) for x in (0.6, 0.7)]
    mean = 0.2 * float(z @ jnp.arange(20.0))
    expected = ((0.6 - mean) ** 2 - (0.7 - mean) ** 2) / (2 * 0.1**2)
    np.testing.assert_allclose(at[1] - at[0], expected, rtol=1e-3)


def test_distances_vanish_at_the_truth_and_see_a_lost_component():
    x = jax.jit(mixture_methods.observe)(KEY, jnp.zeros((4000, 1)))
    mean = 0.2 * sum(z * (z + 5) for z in range(20)) / 290
    assert abs(float(x.mean()) - mean) < 4 * float(x.std()) / 4000**0.5
    phi, true, distances = mixture_methods.GUIDE.init(KEY), mixture_methods.true_logits(), mixture_methods.distances
    # Both points in one program.
    thetas = jnp.stack([true, true.at[4].add(-9)])
    found = jax.jit(jax.vmap(lambda theta: distances(x[:50], KEY, vi.Params(theta, phi))))(thetas)
    assert found["weights_error"][0] < 1e-6 < 1e-2 < found["weights_error"][1]
    assert list(found["lost"]) == [0, 1]
    assert found["guide_error"][0] == found["own_error"][0] > 0.1
    assert found["guide_error"][1] == found["guide_error"][0] != found["own_error"][1]


def test_every_method_is_reported_and_the_exact_gradients_are_ahead(trained):
    _, found = trained
    rows = pd.concat(found)
    assert len(found) == len(CONFIG.net_methods) + len(CONFIG.mixture_names)
    assert set(rows["num_nonfinite"]) == {0}
    net = rows.query("part == 'belief net'").set_index(["method", "step"])
    assert list(net.loc["exact ELBO"].index) == [100, 200, 300, 400]
    # Without noise the guide is nearer to the posterior, and the model to the data.
    exact, noisy = net.loc[("exact ELBO", 400)], net.loc[("REINFORCE(1)", 400)]
    assert exact["nll"] + 0.1 < noisy["nll"]
    assert exact["nll"] < net.loc[("exact ELBO", 100), "nll"]
    np.testing.assert_allclose(net["negative_elbo"], net["nll"] + net["gap"])


def test_reweighted_wake_sleep_with_two_draws_loses_components_that_exact_gradients_keep(trained):
    rows = pd.concat(trained[1]).query("part == 'mixture' and step == 800").set_index("method")
    assert rows.loc["exact gradients", "weights_error"] < 0.2
    assert rows.loc["exact gradients", "lost"] == 0
    assert rows.loc["RWS", "lost"] >= 3
    assert rows.loc["RWS", "guide_error"] > 2 * rows.loc["exact gradients", "guide_error"]


def test_a_second_run_in_the_folder_takes_no_step_and_says_the_same(trained):
    folder, first = trained

    def track(items, phase, **options):
        assert list(items) == [], "trained again"
        return iter(())

    again = [pd.DataFrame(block) for block in discrete_latents.run(CONFIG, track, folder)]
    for one, two in zip(first, again, strict=True):
        pd.testing.assert_frame_equal(one.drop(columns="ms_per_step"), two.drop(columns="ms_per_step"))


def test_the_figure_and_the_table_read_the_rows(trained):
    rows = pd.concat(trained[1], ignore_index=True)
    with style.context():
        drawn = discrete_latents.figure(rows)
    assert [len(axes.get_title(loc="left")) > 0 for axes in drawn.axes] == [True] * 6
    table = discrete_latents.table(rows)
    assert list(table["method"]) == [*CONFIG.net_methods, *CONFIG.mixture_names]


def test_what_cannot_be_run_is_one_line():
    with pytest.raises(SystemExit, match=r"no method NVIL: take of NVIL\(1\), RWS\(5\)"):
        discrete_latents.chosen(("NVIL",), {"NVIL(1)": 1, "RWS(5)": 2})
    for steps, count in ((300, 3), (300, 7), (300, 0), (5, 10)):
        with pytest.raises(SystemExit, match=f"{steps} steps cannot be measured {count} times"):
            discrete_latents.every_of(steps, count)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"net_methods": ("NVIL",)}, "no method NVIL"),
        ({"mixture_names": ("RWS", "rws")}, "no method rws"),
        ({"mixture_samples": (2, 1)}, "vimco compares .* got 1"),
        ({"mixture_samples": ()}, "mixture_samples must not be empty"),
        ({"mixture_steps": 801}, "801 steps cannot be measured 4 times"),
        ({"num_seeds": 0}, "num_seeds must be at least 1, got 0"),
    ],
)
def test_it_is_one_line_before_anything_is_trained(tmp_path, change, message):
    run = discrete_latents.run(dataclasses.replace(CONFIG, **change), progress.silent, tmp_path)
    with pytest.raises(SystemExit, match=message):
        next(run)
    assert not list(tmp_path.iterdir())
