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
# # A posterior with diagnosis
#
# Before the last flight of the space shuttle Challenger there were 23 flights with a known temperature at launch, and
# on some of them O-rings were damaged. What does that say of a launch at 31 °F? Here is the posterior from one's own
# log-density, the verdict on it, its exact answer, and two ways to go wrong, each with what is said about it.

# %%
import arviz
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from jax.scipy.stats import expon, norm

import vi_jax as vi

# Dalal, Fowlkes and Hoadley, "Risk Analysis of the Space Shuttle", JASA 84 (1989): °F, and whether a ring was damaged.
damaged_at = [53, 57, 58, 63, 70, 70, 75]
sound_at = [66, 67, 67, 67, 68, 69, 70, 70, 72, 73, 75, 76, 76, 78, 79, 81]
temperature = np.array(damaged_at + sound_at, float)
damaged = np.repeat([1.0, 0.0], [len(damaged_at), len(sound_at)])

# %% [markdown]
# The textbooks' maximum likelihood for these data has an intercept of 15.043 and a slope of −0.232 per °F: that checks
# the numbers above.

# %%
design, beta = np.stack([np.ones_like(temperature), temperature - 70], axis=1), np.zeros(2)
for _ in range(10):  # Newton's method
    risk = 1 / (1 + np.exp(-design @ beta))
    beta += np.linalg.solve((design.T * risk * (1 - risk)) @ design, design.T @ (damaged - risk))
np.testing.assert_allclose([beta[0] - 70 * beta[1], beta[1]], [15.043, -0.232], atol=6e-4)

# %% [markdown]
# ## The log-density
#
# Of the parameters as one thinks of them: the logit of the risk at 70 °F, and by how much it falls per degree, which is
# positive and has a log-normal prior. `supports` says so, and the change of variables is added.


# %%
def log_likelihood(p):
    logits = p["at_70"] - p["per_degree"] * (temperature - 70)
    return jnp.sum(damaged * logits - jax.nn.softplus(logits))


def log_density(p):
    log_slope = jnp.log(p["per_degree"])
    log_prior = norm.logpdf(p["at_70"], 0.0, 1.5) + norm.logpdf(log_slope, np.log(0.2), 0.5) - log_slope
    return log_likelihood(p) + log_prior


example, supports = {"at_70": 0.0, "per_degree": 0.1}, {"per_degree": vi.models.supports.positive}

# %% [markdown]
# Two parameters: a grid gives the exact answer.

# %%
at_70, log_slope = np.linspace(-6, 5, 400), np.linspace(-9, 1.5, 500)
grid = {"at_70": at_70[:, None, None], "per_degree": np.exp(log_slope)[:, None]}


def on_grid(prior_of_slope):
    """Posterior probabilities of the nodes, over (at_70, log per_degree), and log p(data) in nats."""
    logits = grid["at_70"] - grid["per_degree"] * (temperature - 70)
    log_p = np.sum(damaged * logits - np.logaddexp(0, logits), axis=-1)
    log_p += np.asarray(norm.logpdf(at_70, 0.0, 1.5), float)[:, None] + prior_of_slope
    cell = (at_70[1] - at_70[0]) * (log_slope[1] - log_slope[0])
    total = np.exp(log_p).sum() * cell
    return np.exp(log_p) * cell / total, np.log(total)


probability, log_evidence = on_grid(np.asarray(norm.logpdf(log_slope, np.log(0.2), 0.5), float))
marginals = {"at_70": (at_70, probability.sum(axis=1)), "per_degree": (np.exp(log_slope), probability.sum(axis=0))}
mean = np.array([values @ p for values, p in marginals.values()])
sd = np.array([np.sqrt((values - values @ p) ** 2 @ p) for values, p in marginals.values()])

# %% [markdown]
# ## One call
#
# `reference` is optional, and usually not to be had: here it lets the verdict say how far off the moments are.

# %%
approximation = vi.approximate(jax.random.key(0), log_density, example, supports, reference=(mean, sd))
diagnosis = approximation.diagnosis
print(approximation)

# %% [markdown]
# Line by line:
#
# - *full_rank …* What was tried. A Gaussian over the unconstrained parameters; were its k̂ not below ½, a flow would
#   follow.
# - *Trusted.* The level. The others are "trusted after importance correction" and "not to be trusted".
# - *k̂ …* The index of the tail of the importance weights p/q. Below 0.7 weighted means can be relied on.
# - *Effective sample size …* How many independent draws the weighted ones are worth, for the worst parameter.
# - *The correction moves …* How far the guide's own moments are from the weighted ones.
# - *In nats …* The evidence between its bounds.
# - *Against the reference …* There because a reference was given.
#
# In the table, `mean`, `sd` and quantiles are corrected by the weights; `q_mean` and `q_sd` are the guide's own.

# %%
corrected = diagnosis.moments.corrected
assert diagnosis.verdict.trusted
assert np.all(np.abs(corrected.mean - mean) < 4 * corrected.mean_error)
assert np.all(np.abs(corrected.sd / sd - 1) < 0.05)
low, high = diagnosis.evidence.interval
print(f"log p(data): {log_evidence:.3f} exactly, between {low:.3f} and {high:.3f} by the draws")
assert low - 0.01 < log_evidence < high + 0.01

# %% [markdown]
# ## What it says
#
# `to_arviz` hands over draws that are resampled by their weights, for any tool that knows no weights.

# %%
inference_data = vi.posterior.to_arviz(diagnosis)
print(arviz.summary(inference_data, kind="stats", hdi_prob=0.9))
draws = {name: inference_data["posterior"][name].values[0] for name in ("at_70", "per_degree")}

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
left.scatter(draws["at_70"], draws["per_degree"], s=2, alpha=0.2, label="draws")
left.contour(at_70, np.exp(log_slope), (probability / np.exp(log_slope)).T, levels=6, colors="black", linewidths=0.8)
left.set(xlim=(-4, 1.5), ylim=(0, 0.65), xlabel="at_70", ylabel="per_degree", title="Lines: the exact density")
degrees = np.linspace(30, 85, 100)
risks = 1 / (1 + np.exp(-draws["at_70"][:, None] + draws["per_degree"][:, None] * (degrees - 70)))
right.fill_between(degrees, *np.quantile(risks, [0.05, 0.95], axis=0), alpha=0.3, label="90 % interval")
right.plot(degrees, risks.mean(axis=0), label="mean risk")
right.plot(temperature, damaged, "k|", label="flights")
right.axvline(31, color="C3", linestyle=":")
right.set(xlabel="°F at launch", title="Risk of damage; the dotted line is 31 °F")
right.legend()
plt.show()

at_31 = 1 / (1 + np.exp(-grid["at_70"][..., 0] + grid["per_degree"][..., 0] * (31 - 70)))
exact_risk = np.sum(probability * at_31)
risk = np.mean(1 / (1 + np.exp(-draws["at_70"] + draws["per_degree"] * (31 - 70))))
print(f"risk of damage at 31 °F: {risk:.4f}, exactly {exact_risk:.4f}")
assert abs(risk - exact_risk) < 0.003

# %% [markdown]
# ## A support that was not declared
#
# Without `supports`, guides would put mass on negative slopes, where this density is NaN. That is an error before
# anything is fitted, and it names the parameter and the remedy.

# %%
try:
    vi.approximate(jax.random.key(0), log_density, example)
except ValueError as error:
    print(error)
    assert "declare the support of per_degree" in str(error)
else:
    raise AssertionError("the missing support went unnoticed")

# %% [markdown]
# ## A heavier tail
#
# Another prior: an exponential one, which leaves slopes near zero possible. Over log per_degree its left tail falls
# like $e^u$, and the Gaussian that was fitted to the other posterior falls far faster. `vi.diagnose` judges any guide
# against any density, and asks of this one what it is worth here.


# %%
def other_density(p):
    return log_likelihood(p) + norm.logpdf(p["at_70"], 0.0, 1.5) + expon.logpdf(p["per_degree"], scale=0.2)


other = vi.models.unconstrained(other_density, example, supports)
judged = vi.diagnose(jax.random.key(1), other, approximation.guide, approximation.params, num_draws=10_000)
print(judged.verdict)
assert not judged.verdict.trusted and judged.pareto_k > diagnosis.pareto_k
assert "tail" in [finding.kind for finding in judged.findings]

exact, _ = on_grid(np.asarray(expon.logpdf(np.exp(log_slope), scale=0.2), float) + log_slope)
step = log_slope[1] - log_slope[0]
figure, axes = plt.subplots(figsize=(5.4, 3.4), layout="constrained")
u = np.log(draws["per_degree"])
axes.plot(log_slope, exact.sum(axis=0) / step, label="exponential prior")
axes.plot(log_slope, probability.sum(axis=0) / step, label="log-normal prior")
axes.hist(u, bins=60, density=True, alpha=0.3, color="C1", label="draws fitted to it")
axes.set(yscale="log", xlim=(-7, 0.5), ylim=(1e-4, 3), xlabel="log per_degree", title="Marginal posterior density")
axes.legend()
plt.show()
unseen = exact.sum(axis=0)[log_slope < np.log(judged.draws["per_degree"]).min()].sum()
print(f"{unseen:.2%} of the posterior under the exponential prior lies below all draws of the guide")
assert unseen > 0.01

# %% [markdown]
# The verdict is right to refuse: fit that posterior instead. What k̂ cannot see is a mode that no draw has met;
# `vi.approximate` looks for those by ascents, and `vi.diagnose` by itself does not.
