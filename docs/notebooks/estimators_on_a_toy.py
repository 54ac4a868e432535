# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Estimators on a toy
#
# How tight is a bound with K draws, and which gradient estimator climbs it with the least noise? On this toy both are
# known exactly:
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
log_p = jax.vmap(exact.log_evidence, (None, 0))(params.theta, x).mean()

# %% [markdown]
# ## The truth
#
# A bound sees of a problem only its log-weights $\log w = \log p(x, z) - \log q(z \mid x)$. With one latent dimension
# their law is a quadrature over the noise of the guide, and `expected_renyi` makes of it the expected bound of K draws:
# IWAE at $\alpha = 0$, the ELBO at $\alpha = 1$. It is differentiable, so the exact gradient comes with it.

# %%
noise = jnp.linspace(-12, 12, 1001)


def expected_bound(params, num_samples, alpha):
    def of_datum(x):
        z = params.phi.A @ x + params.phi.b + VARIANCE**0.5 * noise[:, None]
        log_q = -(noise**2 + jnp.log(2 * jnp.pi * VARIANCE)) / 2
        log_w = jax.vmap(model.log_joint, (None, None, 0))(params.theta, x, z) - log_q
        law = vi.models.WeightLaw(log_w, jax.nn.log_softmax(-(noise**2) / 2))
        return vi.models.expected_renyi(law, num_samples, alpha=alpha)

    return jnp.mean(jax.lax.map(of_datum, x))


iwae_at = jax.jit(jax.value_and_grad(lambda params, k: expected_bound(params, k, alpha=0.0)))
iwae = {k: vi.measurement.Reference(*iwae_at(params, float(k))) for k in SIZES}
elbo = expected_bound(params, 1.0, alpha=1.0)

A, b = params.phi
closed_form = jax.vmap(lambda x: vi.models.linear_gaussian_elbo(params.theta, A, b, x, variance=VARIANCE))(x)
np.testing.assert_allclose(elbo, closed_form.mean(), rtol=1e-10)  # the quadrature is right

# %% [markdown]
# ## An estimator of one's own
#
# It is a function of the bound and the log-weights `[K, B]` that returns three coefficients for each draw. This one is
# the doubly reparameterized estimator of IWAE, $\tilde w_k^2$ on the path, with weights cut at $1.5/K$ to tame them.


# %%
@vi.estimators.estimator
def truncated(bound, log_w):
    weights = jnp.minimum(jax.nn.softmax(log_w, axis=0), 1.5 / len(log_w))
    return vi.Coefficients(model=weights, path=weights**2, score=jnp.zeros_like(weights))


# %% [markdown]
# ## One sweep
#
# All estimators that are legal with IWAE for this guide, and the new one, on the same draws, each compared with the
# exact gradient. (`vimco_arithmetic` is missing: under IWAE it is `leave_one_out`.)

# %%
UNBIASED = ("pathwise", "doubly_reparameterized", "score_function", "leave_one_out", "vimco", "ovis")
OTHERS = ("sticking_the_landing", "wake_phi", "wake_phi_doubly_reparameterized")
pairs = {name: (vi.bounds.iwae, getattr(vi.estimators, name)) for name in UNBIASED + OTHERS}
pairs |= {"truncated": (vi.bounds.iwae, truncated), "ELBO": (vi.bounds.elbo, vi.estimators.pathwise)}
result = vi.sweep(
    *(sweep_key, model, guide, params, x),
    objectives=pairs,
    num_samples=SIZES,
    num_replicates=2000,
    reference=lambda name, k: None if name == "ELBO" else iwae[k],
)
phi = result.to_pandas().query("block == 'phi'").set_index(["objective", "num_samples"])
of_cell = phi.to_dict()  # of_cell["variance"]["vimco", 16]

# %% [markdown]
# ## What K buys: the bound
#
# The gap of IWAE closes like $1/K$; that of the ELBO stays, however many draws it averages.

# %%
gaps = {"pathwise": np.array([log_p - iwae[k].value for k in SIZES]), "ELBO": np.full(len(SIZES), log_p - elbo)}
figure, axes = plt.subplots(figsize=(5, 3.2), layout="constrained")
for name, exact_gap in gaps.items():
    gap, high, low = (log_p - phi.loc[name][column].to_numpy() for column in ("value", "value_low", "value_high"))
    points = axes.errorbar(SIZES, gap, [gap - low, high - gap], fmt="o", label="ELBO" if name == "ELBO" else "IWAE")
    axes.plot(SIZES, exact_gap, color=points[0].get_color())
axes.set(xscale="log", yscale="log", xlabel="draws K", ylabel="gap to log p(x), nats", title="lines: exact")
axes.legend()
plt.show()
assert 6 < gaps["pathwise"][1] / gaps["pathwise"][2] < 10  # eight times the draws, an eighth of the gap

# %% [markdown]
# ## What K costs: the gradient of the guide
#
# The signal-to-noise ratio of $\bar\varphi$ is $\lVert \mathbb{E} g \rVert / \sqrt{\mathrm{tr\,Cov}\, g}$, here with
# the exact mean. More draws tighten the bound, and by the path or VIMCO they drown the gradient: its mean vanishes like
# $1/K$, its noise only like $1/\sqrt{K}$ (Rainforth et al., arXiv:1802.04537). The noise of the doubly reparameterized
# gradient (Tucker et al., arXiv:1810.04152) and of OVIS (Liévin et al., arXiv:2008.01998) vanishes faster than its
# mean.

# %%
norm = {k: np.linalg.norm(np.concatenate([np.ravel(leaf) for leaf in iwae[k].gradient.phi])) for k in SIZES}
snr = {name: [norm[k] / of_cell["standard_deviation"][name, k] for k in SIZES] for name in UNBIASED}
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
for name, marker in zip(UNBIASED, "osD^vP", strict=True):
    left.plot(SIZES, phi.loc[name]["variance"], marker=marker)
    right.plot(SIZES, snr[name], marker=marker, label=name)
left.set(xscale="log", yscale="log", xlabel="draws K", title="tr Cov of φ̄")
right.set(xscale="log", yscale="log", xlabel="draws K", title="signal-to-noise ratio of φ̄")
right.legend(loc="upper left", bbox_to_anchor=(1, 1))
plt.show()
for name in UNBIASED:
    assert (snr[name][2] > snr[name][1]) == (name in ("doubly_reparameterized", "ovis")), name

# %% [markdown]
# ## Which are unbiased
#
# The largest difference between a coordinate of the mean gradient and the exact one, in standard errors. Sticking the
# landing is unbiased for the ELBO only. The two of wake-φ are not meant to be: their φ follows the forward KL. And the
# new estimator is biased: its cut took away variance and gradient alike.

# %%
for name in (*UNBIASED, *OTHERS, "truncated"):
    z = [of_cell["largest_z"][name, k] for k in SIZES]
    print(f"{name:<32}" + "  ".join(f"K = {k}: {value:5.1f}" for k, value in zip(SIZES, z, strict=True)))
    assert (max(z) < 4) == (name in UNBIASED), name

for k in SIZES:
    bias = of_cell["bias_norm"]["truncated", k] / norm[k]
    ratio = of_cell["variance"]["truncated", k] / of_cell["variance"]["doubly_reparameterized", k]
    print(f"truncated, K = {k}: {ratio:.2f} of the variance, and a bias of {bias:.0%} of the gradient")
    assert ratio < 1 < 20 * bias

# %% [markdown]
# ## What to use
#
# The unbiased ones by their ratio, the highest first:

# %%
for i, k in enumerate(SIZES):
    order = sorted(UNBIASED, key=lambda name: -snr[name][i])
    print(f"K = {k}: " + ", ".join(f"{name} {snr[name][i]:.2g}" for name in order))
    assert order[0] in ("doubly_reparameterized", "ovis")
    assert order[-1] == "score_function"

# %% [markdown]
# Where draws have a derivative, start from the doubly reparameterized estimator; where they have none, from OVIS or
# VIMCO; from the plain score function, never. Which wins depends on the problem and on the price of a draw:
# `vi.recommend` measures that for a model of your own.
