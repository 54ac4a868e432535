# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Estimators on a toy
#
# How tight is a bound with K draws, and which gradient estimator climbs it with the least noise? The toy answers both
# exactly, so every measurement here stands beside the truth:
#
# $$z \sim N(\mu, 1), \qquad x \mid z \sim N(z, 1), \qquad q(z \mid x) = N(Ax + b, 2).$$
#
# The evidence is $N(x; \mu, 2)$. The guide has four times the variance of the posterior, and cannot lose it.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import vi_jax as vi

jax.config.update("jax_enable_x64", True)
VARIANCE, SIZES = 2.0, (2, 16, 128)
exact = vi.models.linear_gaussian(1)
model, guide = exact.model, vi.guides.affine(1, 1, variance=VARIANCE)

x_key, sweep_key = jax.random.split(jax.random.key(0))
x = np.sqrt(2) * jax.random.normal(x_key, (8, 1))  # eight data of the model with μ = 0
params = vi.Params(jnp.array([0.3]), vi.guides.Affine(A=jnp.array([[0.3]]), b=jnp.array([0.2])))
log_p = jax.vmap(exact.log_evidence, (None, 0))(params.theta, x)
print(f"log p(x) = {log_p.mean():.4f} nats, mean of {len(x)} data")

# %% [markdown]
# ## The truth
#
# A bound sees the problem through its log-weights $\log w = \log p(x, z) - \log q(z \mid x)$ alone. With one latent
# dimension their law is a quadrature over the noise of the guide, and `expected_renyi` makes of it the expected bound
# of K draws: IWAE at $\alpha = 0$, the ELBO at $\alpha = 1$. It is differentiable, so the exact gradient comes with it.

# %%
nodes = jnp.linspace(-12, 12, 1001)
log_prob = jax.nn.log_softmax(-(nodes**2) / 2)


def expected_bound(params, num_samples, alpha):
    def of_datum(x):
        z = params.phi.A @ x + params.phi.b + VARIANCE**0.5 * nodes[:, None]
        log_q = -(nodes**2 + jnp.log(2 * jnp.pi * VARIANCE)) / 2
        log_w = jax.vmap(model.log_joint, (None, None, 0))(params.theta, x, z) - log_q
        return vi.models.expected_renyi(vi.models.WeightLaw(log_w, log_prob), num_samples, alpha=alpha)

    return jnp.mean(jax.lax.map(of_datum, x))


truth = jax.jit(lambda sizes: jax.lax.map(lambda k: jax.value_and_grad(expected_bound)(params, k, 0.0), sizes))
values, gradients = truth(jnp.array(SIZES, float))
iwae = {
    k: vi.measurement.Reference(values[i], jax.tree.map(lambda g, i=i: g[i], gradients)) for i, k in enumerate(SIZES)
}
elbo = expected_bound(params, 1.0, 1.0)

closed_form = jax.vmap(lambda x: vi.models.linear_gaussian_elbo(params.theta, *params.phi, x, variance=VARIANCE))(x)
np.testing.assert_allclose(elbo, closed_form.mean(), rtol=1e-10)  # the quadrature is right

# %% [markdown]
# ## An estimator of one's own
#
# An estimator is a function of the bound and the log-weights `[K, B]` that returns three coefficients for each draw.
# Here is the doubly reparameterized one of IWAE, $\tilde w_k^2$ on the path, with its weights cut at $1.5/K$, which
# should tame its noise.


# %%
@vi.estimators.estimator
def truncated(bound, log_w):
    weights = jnp.minimum(jax.nn.softmax(log_w, axis=0), 1.5 / len(log_w))
    return vi.Coefficients(model=weights, path=weights**2, score=jnp.zeros_like(weights))


# %% [markdown]
# ## One sweep
#
# All estimators that are legal with IWAE and a reparameterized guide, and the new one, on the same draws. `sweep` also
# compares each with the exact gradient, coordinate by coordinate.

# %%
NAMES = (
    *("pathwise", "doubly_reparameterized", "score_function", "leave_one_out", "vimco", "ovis"),
    *("sticking_the_landing", "wake_phi", "wake_phi_doubly_reparameterized"),
)
pairs = {name: (vi.bounds.iwae, getattr(vi.estimators, name)) for name in NAMES}
pairs |= {"truncated": (vi.bounds.iwae, truncated), "ELBO": (vi.bounds.elbo, vi.estimators.pathwise)}
result = vi.sweep(
    sweep_key,
    model,
    guide,
    params,
    x,
    objectives=pairs,
    num_samples=SIZES,
    num_replicates=2000,
    reference=lambda name, k: None if name == "ELBO" else iwae[k],
)
phi = result.to_pandas().query("block == 'phi'").set_index(["objective", "num_samples"])

# %% [markdown]
# ## What K buys: the bound
#
# The gap of IWAE closes like $1/K$; that of the ELBO stays, however many draws it averages.

# %%
gaps = {"IWAE": ("pathwise", log_p.mean() - values), "ELBO": ("ELBO", jnp.full(len(SIZES), log_p.mean() - elbo))}
figure, axes = plt.subplots(figsize=(5, 3.2), layout="constrained")
for label, (name, exact_gap) in gaps.items():
    gap, high, low = (log_p.mean() - phi.loc[name][column] for column in ("value", "value_low", "value_high"))
    points = axes.errorbar(SIZES, gap, [gap - low, high - gap], fmt="o", label=label)
    axes.plot(SIZES, exact_gap, color=points[0].get_color())
axes.set(
    xscale="log", yscale="log", xlabel="draws K", ylabel="gap to log p(x), nats", title="Lines: exact. Points: 95 %"
)
axes.legend()
plt.show()

iwae_gap = gaps["IWAE"][1]
assert 6 < iwae_gap[1] / iwae_gap[2] < 10  # eight times the draws, an eighth of the gap

# %% [markdown]
# ## What K costs: the gradient of the guide
#
# The signal-to-noise ratio of $\bar\varphi$ under IWAE, $\lVert \mathbb{E} g \rVert / \sqrt{\mathrm{tr\,Cov}\, g}$. More draws tighten the
# bound, and by the path or VIMCO they drown the gradient: its mean vanishes like $1/K$, its noise only like
# $1/\sqrt{K}$ (Rainforth et al., arXiv:1802.04537). The doubly reparameterized gradient (Tucker et al.,
# arXiv:1810.04152) and OVIS (Liévin et al., arXiv:2008.01998) have a noise that vanishes faster than their mean.

# %%
UNBIASED = NAMES[:6]
norm = {k: np.linalg.norm(np.concatenate([np.ravel(g) for g in jax.tree.leaves(iwae[k].gradient.phi)])) for k in SIZES}
snr = {name: [norm[k] / phi.loc[name, k]["standard_deviation"] for k in SIZES] for name in UNBIASED}
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
for name, marker in zip(UNBIASED, "osD^vP", strict=True):
    left.plot(SIZES, phi.loc[name]["variance"], marker=marker)
    right.plot(SIZES, snr[name], marker=marker, label=name)
left.set(xscale="log", yscale="log", xlabel="draws K", title="tr Cov of φ̄")
right.set(xscale="log", yscale="log", xlabel="draws K", title="SNR of φ̄")
figure.legend(loc="outside right")
plt.show()

for name in ("doubly_reparameterized", "ovis"):
    assert snr[name][2] > snr[name][1], name
for name in ("pathwise", "vimco", "leave_one_out", "score_function"):
    assert snr[name][2] < snr[name][1], name

# %% [markdown]
# ## Which are unbiased
#
# z is the largest difference between a coordinate of the mean gradient and the exact one, in standard errors.

# %%
z = phi["largest_z"].unstack().drop("ELBO")
print(z.round(1).to_string())
figure, axes = plt.subplots(figsize=(6, 3.4), layout="constrained")
axes.barh(z.index[::-1], z[SIZES[1]][::-1], color=["C0" if name in UNBIASED else "C1" for name in z.index[::-1]])
axes.axvline(4, color="black", linestyle=":")
axes.set(xscale="log", title=f"z of φ̄ against ∇E[IWAE], K = {SIZES[1]}")
plt.show()

for name in z.index:
    assert (z.loc[name].max() < 4) == (name in UNBIASED), name

# %% [markdown]
# The six above the line in the sweep are unbiased for IWAE. Sticking the landing is so for the ELBO only. The two of
# wake-φ are not meant to be: their φ follows the forward KL. And the new estimator is biased: the cut took variance
# and signal alike.

# %%
variance = phi["variance"]
for k in SIZES:
    bias, sd = phi.loc["truncated", k][["bias_norm", "standard_deviation"]]
    ratio = variance["truncated", k] / variance["doubly_reparameterized", k]
    print(f"truncated, K = {k}: {ratio:.2f} of the variance; bias {bias / norm[k]:.0%} of the exact gradient")
    assert ratio < 1 and phi.loc["truncated", k]["bias_norm_low"] > 0.05 * norm[k]

# %% [markdown]
# ## What to use
#
# The unbiased estimator with the highest ratio, at the K that one can pay for:

# %%
for i, k in enumerate(SIZES):
    order = sorted(UNBIASED, key=lambda name: -snr[name][i])
    print(f"K = {k}: " + ", ".join(f"{name} {snr[name][i]:.2g}" for name in order))
    assert order[0] in ("doubly_reparameterized", "ovis")
    assert order[-1] == "score_function"

# %% [markdown]
# Where draws have a derivative, start from the doubly reparameterized estimator; without one, from OVIS or VIMCO. Never
# take the plain score function. Which wins depends on the problem and on the price of a draw: `vi.recommend` measures
# that for a model of your own.
