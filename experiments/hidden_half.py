"""What is behind the visible half?

The bottom half of a real 8×8 digit is visible, the top half and z are hidden. Given z the pixels are independent, so

    p(x_visible) = ∫ p(z) Π_{i visible} p(x_i | z) dz
    p(x_hidden | x_visible) = E_{p(z | x_visible)} Π_{i hidden} p(x_i | z)

    PPCA         10 Gaussian latents, grey pixels, θ by the closed form of maximum likelihood; both exact
    belief net   binary latents, binary pixels, θ by the exact gradient of log p(x); both exact, by enumeration
    VAE          10 Gaussian latents, binary pixels, decoder 100-100, θ by the ELBO; neither is known

For each a guide q(z | x_visible) is learned that sees the visible half alone: by forward KL (wake-φ, Bornschein and
Bengio, arXiv:1406.2751) and, for the VAE, by IWAE too (Burda et al., arXiv:1509.00519). Its importance-weighted draws
estimate log p(x_visible) and the hidden pixels, with standard errors, and are judged by the exact values; for the VAE
the two guides judge each other. Are the hidden pixels calibrated? Of those predicted black with probability p a share p
should be: so it must be, exactly, for images that the model itself draws. Whether it is for real ones says how good the
model is, not how good the inference.

    python -m experiments.hidden_half

Seed 0, training and images in float32, evidence in float64, two shared CPU cores, 1 min, K = 20,000 draws per digit:

    log p(x_visible)   PPCA within 3e-7 nats of the exact value, as its guide can match p(z | x_visible); belief net
                       within 0.013; of these 16 the largest |z| is 3.0. The VAE's two guides differ by 0.015 nats at
                       most, |z| ≤ 1.4; effective sample sizes / K 0.50 by forward KL, 0.54 by IWAE
    hidden pixels      all 16 estimated means within 1.5 standard errors of the exact ones
    calibration        of images drawn from the models: 31 points, the largest |z| is 2.0. Of real digits: binary pixels
                       keep to the diagonal; PPCA's 10 % intervals hold 29 % of the grey pixels and its 95 % ones 93 %:
                       white pixels are all alike, and no Gaussian is

`--quick` (fewer steps, draws and images) takes half a minute.
"""

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

import vi_jax as vi
from experiments import cli, intervals, progress, style
from experiments.half_verdict import verdict
from vi_jax.data import binarize, digits
from vi_jax.data.digits import NUM_TRAIN, SPLIT_SEED

SIDE = 8
NUM_PIXELS = SIDE * SIDE
VISIBLE = np.arange(NUM_PIXELS) >= NUM_PIXELS // 2
LATENT_DIM = 10
HIDDEN = (100, 100)
BINS = np.linspace(0, 1, 11)
REAL, OWN = "real digits", "the model's own"
LEVELS = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99])


@dataclasses.dataclass(frozen=True)
class Config:
    """What the rows depend on.

    Attributes:
      seed: of everything random.
      num_bits: d, latents of the belief net; its sums have 2^d terms.
      num_steps: of Adam, for each model and each guide.
      num_samples: K, draws per datum when a guide is trained.
      num_draws: K of an estimate, for the digits shown.
      num_imputed: K of a VAE's prediction of hidden pixels, where calibration is scored.
      num_shown: digits to show, and to estimate log p(x_visible) of.
      num_calibration: images, real and drawn from the model, whose hidden pixels are scored.
    """

    seed: int = 0
    num_bits: int = 10
    num_steps: int = 4000
    num_samples: int = 16
    num_draws: int = 20_000
    num_imputed: int = 2000
    num_shown: int = 8
    num_calibration: int = 297


QUICK = Config(num_bits=8, num_steps=400, num_samples=8, num_draws=2000, num_imputed=500, num_calibration=100)


Prepare = Callable[[jax.Array, jax.Array], Any]


class Split(NamedTuple):
    """Grey digits in [0, 1] and their fixed binarization: `[N, 64]` each, by the protocol of `digits_split`."""

    train: jax.Array
    test: jax.Array
    test_binary: jax.Array


class Posed(NamedTuple):
    """A model with its parameters, and what is needed to ask about hidden pixels.

    Attributes:
      name: of the model.
      model: log p(x, z), which scores a `Partial` on its visible pixels.
      theta: its parameters.
      guides: guides and φ by objective, each q(z | x_visible).
      pixels: which of the 64 pixels the model has.
      exact: the exact model, None if there is none.
      hidden_mean: `x_visible -> E[x | x_visible]` exactly, `[D]`, None if unknown.
    """

    name: str
    model: vi.Model
    theta: Any
    guides: dict[str, tuple[vi.Guide, Any]]
    pixels: np.ndarray
    exact: vi.models.ExactModel | None = None
    hidden_mean: Callable[[vi.models.Partial], jax.Array] | None = None


def split_digits() -> Split:
    """Returns the split of `digits_split` with the grey test images beside the binary ones."""
    rng = np.random.default_rng(SPLIT_SEED)
    images = np.asarray(digits())[rng.permutation(len(digits()))]
    test = images[NUM_TRAIN:]
    binary = rng.random(test.shape) < test
    return Split(jnp.asarray(images[:NUM_TRAIN]), jnp.asarray(test), jnp.asarray(binary, jnp.float32))


def run(config: Config, track: progress.Track) -> Iterator[list[dict[str, Any]]]:
    """Yields, model by model: evidence of the visible half, the hidden half as images, calibration."""
    keys = jax.random.split(jax.random.key(config.seed), 2 * len(MODELS))
    data = split_digits()
    shown = slice(config.num_shown)
    yield pixel_rows("truth", {"grey": data.test[shown], "binary": data.test_binary[shown]})
    for number, name in enumerate(track(MODELS, "models")):
        pose, grey = MODELS[name]
        posed = pose(keys[2 * number], config, data.train)
        ask_key, show_key, own_key = jax.random.split(keys[2 * number + 1], 3)
        test = (data.test if grey else data.test_binary)[:, posed.pixels]
        yield list(evidence_rows(ask_key, config, name, posed, half(posed, test[shown])))
        yield shown_rows(show_key, config, name, posed, test[shown])
        own_keys = jax.random.split(own_key, config.num_calibration)
        own, _ = jax.jit(jax.vmap(given(posed.model.sample), in_axes=(0, None)))(own_keys, posed.theta)
        predict, score = predictor(config, posed), coverage_rows if grey else reliability_rows
        for source, images in {REAL: test[: config.num_calibration], OWN: own}.items():
            x = half(posed, images)
            predicted = predict(jax.random.split(ask_key, len(images)), x)
            hidden = ~VISIBLE[posed.pixels]
            yield list(score(name, source, *(np.asarray(a)[..., hidden] for a in (*predicted, images))))


def given(part: Callable[..., Any] | None) -> Callable[..., Any]:
    """Returns the sampler or the likelihood of a model, which all three have."""
    if part is None:
        raise ValueError("hidden pixels are drawn from model.sample and model.likelihood: give the model both.")
    return part


def half(posed: Posed, images: jax.Array) -> vi.models.Partial:
    """Returns the images with their upper half hidden."""
    return vi.models.observe(images, VISIBLE[posed.pixels])


# Three models, each with its half-visible guides.


def pose_ppca(key: jax.Array, config: Config, train: jax.Array) -> Posed:
    """PPCA of the pixels that vary, at maximum likelihood.

    W is turned until the coordinates of p(z | x_visible) are independent. p(x) stays as it is, and the guide can match.
    """
    pixels = np.std(np.asarray(train), axis=0) > 0
    exact = vi.models.ppca(LATENT_DIM, int(pixels.sum()))
    theta = vi.models.ppca_maximum_likelihood(train[:, pixels], LATENT_DIM)
    seen = theta.loadings[VISIBLE[pixels]]
    theta = theta._replace(loadings=theta.loadings @ jnp.linalg.eigh(seen.T @ seen)[1])
    inner = vi.guides.gaussian_encoder(int((pixels & VISIBLE).sum()), LATENT_DIM, hidden=())
    posed = Posed(
        "PPCA", exact.model, theta, {}, pixels, exact, lambda x: vi.models.hidden_given_visible(theta, x).mean
    )
    guide = sees_visible(inner, pixels)
    return learn_guides(key, config, posed, guide, ["forward_kl"], train, whole_images)


def pose_belief_net(key: jax.Array, config: Config, train: jax.Array) -> Posed:
    """The belief net, learned by the exact gradient of log p(x)."""
    model_key, fit_key, guide_key = jax.random.split(key, 3)
    exact = vi.models.sigmoid_belief_net(config.num_bits, NUM_PIXELS, mean=train.mean(axis=0))
    objective = vi.objectives.maximum_likelihood(exact)
    start = vi.Params(jax.jit(exact.model.init)(model_key), ())
    theta = fit(fit_key, config, objective, RATES["belief net"], start, train, binarize).theta

    likelihood = given(exact.model.likelihood)

    def hidden_mean(x: vi.models.Partial) -> jax.Array:
        means = jax.vmap(lambda z: likelihood(theta, z).mean())(vi.models.codes(config.num_bits))
        return jnp.where(x.visible, x.values, exact.posterior(theta, x).probabilities() @ means)

    every = np.ones(NUM_PIXELS, bool)
    posed = Posed("belief net", exact.model, theta, {}, every, exact, hidden_mean)
    guide = sees_visible(vi.guides.bernoulli_encoder(int(VISIBLE.sum()), config.num_bits, hidden=HIDDEN), every)
    return learn_guides(guide_key, config, posed, guide, ["forward_kl"], train, binarize)


def pose_vae(key: jax.Array, config: Config, train: jax.Array) -> Posed:
    """The variational autoencoder: θ by the ELBO with a guide that sees all pixels, then two that see half."""
    init_key, fit_key, guide_key = jax.random.split(key, 3)
    model = vi.models.bernoulli_decoder(LATENT_DIM, NUM_PIXELS, hidden=HIDDEN, mean=train.mean(axis=0))
    encoder = vi.guides.gaussian_encoder(NUM_PIXELS, LATENT_DIM, hidden=HIDDEN)
    objective = vi.value_and_grad(model, encoder, vi.bounds.elbo, vi.estimators.pathwise, num_samples=1)
    start = jax.jit(lambda key: vi.Params(model.init(key), encoder.init(key)))(init_key)
    theta = fit(fit_key, config, objective, RATES["VAE"], start, train, binarize).theta
    every = np.ones(NUM_PIXELS, bool)
    posed = Posed("VAE", model, theta, {}, every)
    guide = sees_visible(vi.guides.gaussian_encoder(int(VISIBLE.sum()), LATENT_DIM, hidden=HIDDEN), every)
    return learn_guides(guide_key, config, posed, guide, ["forward_kl", "iwae"], train, binarize)


MODELS = {"PPCA": (pose_ppca, True), "belief net": (pose_belief_net, False), "VAE": (pose_vae, False)}
RATES = {"PPCA": 0.02, "belief net": 0.01, "VAE": 0.003}
"""Of Adam. Linear maps of pixels, as in PPCA's guide and the belief net, have entries near 1: they have far to go."""


def sees_visible(inner: vi.Guide, pixels: np.ndarray) -> vi.Guide:
    """Makes the guide of a `Partial` that hands `inner` its visible pixels alone."""
    # The visible pixels are the last ones.
    first = np.count_nonzero(~VISIBLE[pixels])
    return inner._replace(distribution=lambda phi, x: inner.distribution(phi, x.values[first:]))


def learn_guides(
    key: jax.Array, config: Config, posed: Posed, guide: vi.Guide, names: list[str], train: jax.Array, prepare: Prepare
) -> Posed:
    """Adds q(z | x_visible) learned by each objective, θ held fixed; `prepare` makes whole images of a batch."""
    rate = RATES[posed.name]

    def hide(key: jax.Array, batch: jax.Array) -> vi.models.Partial:
        return half(posed, prepare(key, batch))

    def learn(name: str) -> Any:
        estimator = estimator_of(name, guide)
        objective = vi.value_and_grad(posed.model, guide, vi.bounds.iwae, estimator, num_samples=config.num_samples)

        def of_phi_alone(key: jax.Array, params: vi.Params, x: vi.models.Partial) -> tuple[jax.Array, vi.Params]:
            values, gradient = objective(key, params, x)
            return values, gradient._replace(theta=jax.tree.map(jnp.zeros_like, gradient.theta))

        start = vi.Params(posed.theta, jax.jit(guide.init)(key))
        return fit(key, config, of_phi_alone, rate, start, train[:, posed.pixels], hide).phi

    return posed._replace(guides={name: (guide, learn(name)) for name in names})


def estimator_of(objective: str, guide: vi.Guide) -> vi.Estimator:
    """Returns the least noisy gradient of φ that the guide allows."""
    if objective == "iwae":
        return vi.estimators.doubly_reparameterized
    return vi.estimators.wake_phi_doubly_reparameterized if guide.reparameterized else vi.estimators.wake_phi


def whole_images(key: jax.Array, batch: jax.Array) -> jax.Array:
    """Grey pixels as they are."""
    del key
    return batch


def fit(
    key: jax.Array,
    config: Config,
    objective: vi.Objective,
    rate: float,
    start: vi.Params,
    images: jax.Array,
    prepare: Prepare,
) -> vi.Params:
    """Climbs with Adam, its rate falling to zero along a cosine, on minibatches of 50."""
    optimizer = optax.adam(optax.cosine_decay_schedule(rate, config.num_steps))
    steps = config.num_steps
    return vi.fit(key, objective, optimizer, start, images, num_steps=steps, batch_size=50, prepare=prepare)[0].params


# Questions, the same for every model.


def evidence_rows(
    key: jax.Array, config: Config, name: str, posed: Posed, x: vi.models.Partial
) -> Iterator[dict[str, Any]]:
    """Yields log p(x_visible) per digit by each guide, and exactly; where that is unknown z compares the two guides.

    In float64: where a guide matches p(z | x_visible) the error is smaller than the rounding of float32.
    """
    with jax.enable_x64(True):
        theta, phis, x = jax.tree.map(
            lambda leaf: jnp.asarray(np.asarray(leaf), float if jnp.issubdtype(leaf.dtype, jnp.floating) else bool),
            (posed.theta, {objective: phi for objective, (_, phi) in posed.guides.items()}, x),
        )
        found = {}
        for i, (objective, (guide, _)) in enumerate(posed.guides.items()):
            key, params = jax.random.fold_in(key, i), vi.Params(theta, phis[objective])
            found[objective] = vi.log_evidence(key, posed.model, guide, params, x, num_samples=config.num_draws)
        exact = np.full(len(x.values), np.nan)
        if posed.exact:
            exact = np.asarray(jax.jit(jax.vmap(posed.exact.log_evidence, in_axes=(None, 0)))(theta, x))
    for objective, estimate in jax.tree.map(np.asarray, found).items():
        rival = found[next((other for other in found if other != objective), objective)]
        against, error = (exact, 0.0) if posed.exact else map(np.asarray, (rival.log_evidence, rival.standard_error))
        z = (estimate.log_evidence - against) / np.hypot(estimate.standard_error, error)
        share = estimate.effective_sample_size / config.num_draws
        for digit, value in enumerate(estimate.log_evidence):
            ends = intervals.around("estimate", value, estimate.standard_error[digit])
            ends |= {"exact": exact[digit], "z": float(z[digit]), "ess_share": float(share[digit])}
            yield row("evidence", name, objective, digit=digit, **ends)


class Imputed(NamedTuple):
    """Hidden pixels by weighted draws of z: E[x | x_visible] `[D]`, its standard error, and draws of x `[S, D]`."""

    mean: jax.Array
    standard_error: jax.Array
    draws: jax.Array


def imputer(posed: Posed, num_draws: int, num_shown: int) -> Callable[[jax.Array, vi.models.Partial], Imputed]:
    """Makes (keys, data) -> `Imputed` per datum, self-normalised: z_k ~ q(z | x_visible), w̃ = softmax(log w).

        E[x_i | x_visible] ≈ Σ_k w̃_k E[x_i | z_k],   variance ≈ Σ_k w̃_k² (E[x_i | z_k] − Σ_l w̃_l E[x_i | z_l])²

    Draws take z_k with probability w̃_k, then x_hidden ~ p(x | z_k). Visible pixels keep their values.
    """
    (guide, phi), likelihood = posed.guides["forward_kl"], given(posed.model.likelihood)

    def one(key: jax.Array, x: vi.models.Partial) -> Imputed:
        z_key, pick_key, x_key = jax.random.split(key, 3)
        q = guide.distribution(phi, x)
        z = jax.vmap(lambda key: q.sample(seed=key))(jax.random.split(z_key, num_draws))
        log_w = jax.vmap(lambda z: posed.model.log_joint(posed.theta, x, z) - q.log_prob(z))(z)
        weights = jax.nn.softmax(log_w)
        means = jax.vmap(lambda z: likelihood(posed.theta, z).mean())(z)
        mean = weights @ means
        error = jnp.sqrt(weights**2 @ (means - mean) ** 2)
        chosen = z[jax.random.categorical(pick_key, log_w, shape=(num_shown,))]
        drawn = jax.vmap(lambda key, z: likelihood(posed.theta, z).sample(seed=key))(
            jax.random.split(x_key, num_shown), chosen
        )
        mean, drawn = (jnp.where(x.visible, x.values, hidden) for hidden in (mean, drawn))
        return Imputed(mean, jnp.where(x.visible, 0, error), drawn)

    # One datum after the other: all draws of all data at once would not fit.
    return jax.jit(lambda keys, x: jax.lax.map(lambda pair: one(*pair), (keys, x)))


def shown_rows(key: jax.Array, config: Config, name: str, posed: Posed, images: jax.Array) -> list[dict[str, Any]]:
    """Returns conditional means and draws as pixels, and one estimated mean per digit beside the exact one."""
    x = half(posed, images)
    found = imputer(posed, config.num_draws, 2)(jax.random.split(key, len(images)), x)
    exact = posed.hidden_mean and jax.jit(jax.vmap(posed.hidden_mean))(x)
    rows = [] if exact is None else list(hidden_rows(name, found, exact))
    pictures = {
        "mean": found.mean if exact is None else exact,
        "draw 1": found.draws[:, 0],
        "draw 2": found.draws[:, 1],
    }
    return rows + pixel_rows(name, {what: whole(posed, images) for what, images in pictures.items()})


def hidden_rows(name: str, found: Imputed, exact: jax.Array) -> Iterator[dict[str, Any]]:
    """Yields E[x_i | x_visible] at the least certain pixel of each digit: the pixels of one digit err together."""
    for digit, pixel in enumerate(np.argmax(found.standard_error, axis=1)):
        mean, error = found.mean[digit, pixel], found.standard_error[digit, pixel]
        z = float((mean - exact[digit, pixel]) / error)
        ends = intervals.around("estimate", mean, error)
        yield row("hidden pixel", name, "forward_kl", digit=digit, exact=float(exact[digit, pixel]), z=z, **ends)


def predictor(config: Config, posed: Posed) -> Callable[[jax.Array, vi.models.Partial], tuple[jax.Array, ...]]:
    """Makes (keys, data) -> what is predicted of each pixel: mean and standard deviation if grey, else P(x_i = 1)."""
    if isinstance(posed.theta, vi.models.FactorAnalysis):

        def gaussian(keys: jax.Array, x: vi.models.Partial) -> tuple[jax.Array, ...]:
            found = jax.vmap(vi.models.hidden_given_visible, in_axes=(None, 0))(posed.theta, x)
            return found.mean, jnp.sqrt(jnp.diagonal(found.covariance, axis1=1, axis2=2))

        return jax.jit(gaussian)
    if posed.hidden_mean:
        exact = jax.jit(jax.vmap(posed.hidden_mean))
        return lambda keys, x: (exact(x),)
    impute = imputer(posed, config.num_imputed, 1)
    return lambda keys, x: (impute(keys, x).mean,)


def coverage_rows(
    name: str, source: str, mean: np.ndarray, deviation: np.ndarray, images: np.ndarray
) -> Iterator[dict[str, Any]]:
    """Yields the share of hidden pixels inside the central interval of each level; all arrays are `[N, hidden]`."""
    distance = np.abs(images - mean) / deviation
    for level in LEVELS:
        inside = distance < stats.norm.ppf((1 + level) / 2)
        yield calibration_row(name, source, level, *share(inside, np.ones_like(inside, bool)))


def reliability_rows(name: str, source: str, predicted: np.ndarray, images: np.ndarray) -> Iterator[dict[str, Any]]:
    """Yields, per bin of predicted probability, its mean and the share of black pixels; arrays are `[N, hidden]`."""
    for low, high in itertools.pairwise(BINS):
        chosen = (predicted >= low) & ((predicted < high) | (high == 1))
        if np.count_nonzero(chosen.any(axis=1)) > 1:
            center = predicted[chosen].mean()
            value, error = share(images - predicted, chosen)
            yield calibration_row(name, source, center, center + value, error)


def share(values: np.ndarray, chosen: np.ndarray) -> tuple[float, float]:
    """Returns the mean of the chosen values and its standard error, images drawn independently, their pixels not."""
    counts, sums = chosen.sum(axis=1), (values * chosen).sum(axis=1)
    mean = sums.sum() / counts.sum()
    size = len(counts)
    return mean, np.sqrt(np.sum((sums - mean * counts) ** 2) * size / (size - 1)) / counts.sum()


def calibration_row(name: str, source: str, demanded: float, value: float, error: float) -> dict[str, Any]:
    """Returns one point of a calibration curve. Only of the model's own images is it known that they must lie on it."""
    z = (value - demanded) / error if source == OWN and error > 0 else np.nan
    return row("calibration", name, source, exact=float(demanded), z=z, **intervals.around("estimate", value, error))


def whole(posed: Posed, images: jax.Array) -> np.ndarray:
    """Returns images of all 64 pixels, those that the model leaves out at 0."""
    full = np.zeros((len(images), NUM_PIXELS))
    full[:, posed.pixels] = images
    return full


COLUMNS = ("digit", "pixel", "value", "estimate", "estimate_low", "estimate_high", "exact", "z", "ess_share")


def row(part: str, model: str, what: str, **values: float) -> dict[str, Any]:
    """Returns one row; what a part does not have is NaN, so that every row has the same columns."""
    return {"part": part, "model": model, "what": what, **dict.fromkeys(COLUMNS, np.nan), **values}


def pixel_rows(model: str, pictures: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns one row per pixel of images `[N, 64]`, by what they show."""
    return [
        row("image", model, what, digit=digit, pixel=pixel, value=float(value))
        for what, images in pictures.items()
        for digit, image in enumerate(np.asarray(images))
        for pixel, value in enumerate(image)
    ]


def table(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns log p(x_visible) of the first digits, and the calibration of images that the model itself draws."""
    evidence = rows.query("part == 'evidence' and digit < 4")
    pixels = rows.query("part == 'hidden pixel' and digit < 2")
    own = rows.query("part == 'calibration' and what == @OWN")
    every_third = [own.query(f"model == '{model}'").iloc[::3] for model in MODELS]
    kept = pd.concat([evidence, pixels, *every_third])
    kept = kept.assign(what=[TITLES[pair] for pair in zip(kept["part"], kept["what"], strict=True)])
    # No narrower than a tenth of a millinat: more digits would push other columns off the screen.
    low = np.minimum(kept["estimate_low"], kept["estimate"] - 1e-4)
    high = np.maximum(kept["estimate_high"], kept["estimate"] + 1e-4)
    return kept.assign(estimate_low=low, estimate_high=high).drop(columns=["part", "pixel", "value"])


TITLES = {
    ("evidence", "forward_kl"): "log p̂, fwd KL",
    ("evidence", "iwae"): "log p̂, IWAE",
    ("hidden pixel", "forward_kl"): "hidden pixel",
    ("calibration", OWN): "calibration",
}
LINES = (
    ("truth, grey", "truth", "grey"),
    ("PPCA: mean", "PPCA", "mean"),
    ("draw", "PPCA", "draw 1"),
    ("draw", "PPCA", "draw 2"),
    ("truth, binary", "truth", "binary"),
    ("belief net: mean", "belief net", "mean"),
    ("draw", "belief net", "draw 1"),
    ("draw", "belief net", "draw 2"),
    ("VAE: mean", "VAE", "mean"),
    ("draw", "VAE", "draw 1"),
    ("draw", "VAE", "draw 2"),
)
BACKGROUND = 0.15
"""Light grey: what is white in an image is seen to be part of it."""
COLOURS = {"PPCA": style.GREEN, "belief net": style.BLUE, "VAE": style.VERMILLION}


def figure(rows: pd.DataFrame) -> Figure:
    """Draws the hidden halves beside the truth, how calibrated they are, and the errors of log p(x_visible)."""
    drawn = Figure(figsize=(style.TEXT_WIDTH, 5.6), layout="constrained")
    left, right = np.asarray(drawn.subfigures(1, 2, width_ratios=(1.35, 1)))
    images(left.subplots(), rows.query("part == 'image'"))
    panels = right.subplots(3, 1)
    calibration = rows.query("part == 'calibration'")
    curves(panels[0], calibration.query("model != 'PPCA'"))
    panels[0].set(xlabel="predicted P(pixel is black)", ylabel="share that is black", title="binary hidden pixels")
    curves(panels[1], calibration.query("model == 'PPCA'"))
    panels[1].set(xlabel="level of the central interval", ylabel="share inside", title="grey hidden pixels")
    errors(panels[2], rows.query("part == 'evidence'"))
    style.legend(drawn)
    return drawn


def images(axes: Axes, rows: pd.DataFrame) -> None:
    """Draws one line per model and what it shows, one column per digit; a line of colour parts hidden from visible."""
    grid = rows.set_index(["model", "what", "digit", "pixel"])["value"].unstack("pixel")
    step, digits_shown = SIDE + 2, sorted(rows["digit"].unique())
    mosaic = np.full((step * len(LINES), step * len(digits_shown)), BACKGROUND)
    for line, (_, model, what) in enumerate(LINES):
        for column, digit in enumerate(digits_shown):
            top, left = step * line + 1, step * column + 1
            mosaic[top : top + SIDE, left : left + SIDE] = grid.loc[(model, what, digit)].to_numpy().reshape(SIDE, SIDE)
            axes.plot([left - 0.5, left + SIDE - 0.5], [top + SIDE / 2 - 0.5] * 2, color=style.ORANGE, linewidth=0.8)
    style.picture(axes, mosaic)
    axes.set_yticks([step * (line + 0.5) for line in range(len(LINES))], [name for name, _, _ in LINES])
    axes.tick_params(length=0)
    axes.set_title("above the line: hidden from the model; below: seen")


def curves(axes: Axes, rows: pd.DataFrame) -> None:
    """Draws calibration curves with 95 % intervals: real digits filled, the model's own open on a dashed line."""
    axes.plot([0, 1], [0, 1], color=style.BLACK, linewidth=0.8)
    cells = rows.drop_duplicates(["model", "what"])
    for model, what in zip(cells["model"], cells["what"], strict=True):
        here = rows.query("model == @model and what == @what")
        own = {"linestyle": style.DASHES[1], "markerfacecolor": "white", "markeredgewidth": 0.8} if what == OWN else {}
        look = {"color": COLOURS[model], "marker": "o", "label": f"{model}: {what}", "linestyle": "-"} | own
        style.bars(axes, here, "exact", "estimate", **look)
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))


def errors(axes: Axes, rows: pd.DataFrame) -> None:
    """Draws log p̂(x_visible) − exact per digit; for the VAE − the other guide's, both errors in the interval."""
    rival = rows.query("model == 'VAE' and what == 'iwae'").set_index("digit")
    axes.axhline(0, color=style.BLACK, linewidth=0.8)
    for place, (model, color) in enumerate(COLOURS.items()):
        here = rows.query(f"model == '{model}' and what == 'forward_kl'").set_index("digit")
        exact, half = here["exact"], here["estimate_high"] - here["estimate"]
        if np.any(np.isnan(exact)):
            exact, half = rival["estimate"], np.hypot(half, rival["estimate_high"] - rival["estimate"])
        error = here["estimate"] - exact
        drawn = pd.DataFrame({"error": error, "error_low": error - half, "error_high": error + half})
        drawn = drawn.reset_index()
        drawn["digit"] += 1 + 0.2 * (place - 1)
        style.bars(axes, drawn, "digit", "error", color=color, marker="s", linestyle="", markersize=3)
    axes.set(xlabel="digit, from the left", ylabel="nats", title="log p̂(x_visible) − exact (VAE: − IWAE's)")


if __name__ == "__main__":
    cli.main(run, figure, Config(), quick=QUICK, table=table, verdict=verdict)
