# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # A posterior with diagnosis
#
# The space shuttle Challenger was launched at 31 °F, and its O-rings failed. Of 23 launches before, it was known how
# cold they were and whether O-rings had suffered. What did that say of 31 °F? From one's own log-density to a posterior
# and the verdict on it, with the exact answer beside it; and two ways to go wrong, and what is said of each.

# %%
import arviz
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from jax.scipy.stats import norm

import vi_jax as vi

# Dalal, Fowlkes and Hoadley, "Risk Analysis of the Space Shuttle", JASA 84 (1989): °F at launch, by damage.
damaged_at = [53, 57, 58, 63, 70, 70, 75]
sound_at = [66, 67, 67, 67, 68, 69, 70, 70, 72, 73, 75, 76, 76, 78, 79, 81]
temperature = np.array(damaged_at + sound_at, float)
damaged = np.repeat([1.0, 0.0], [len(damaged_at), len(sound_at)])

# Are they typed correctly? The logistic regression that is known for them is 15.0429 − 0.2322 °F.
design, beta = np.stack([np.ones_like(temperature), temperature - 70], axis=1), np.zeros(2)
for _ in range(10):  # Newton's method
    risk = 1 / (1 + np.exp(-design @ beta))
    beta += np.linalg.solve((design.T * risk * (1 - risk)) @ design, design.T @ (damaged - risk))
np.testing.assert_allclose([beta[0] - 70 * beta[1], beta[1]], [15.0429, -0.2322], atol=5.1e-5)

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
# Two parameters: a grid gives the exact answer, as probabilities of its nodes over (at_70, log per_degree).

# %%
at_70, log_slope = np.linspace(-6, 5, 400), np.linspace(-9, 1.5, 500)
slope, step = np.exp(log_slope), log_slope[1] - log_slope[0]


def on_grid(log_prior_of_log_slope):
    logits = at_70[:, None, None] - slope[:, None] * (temperature - 70)
    log_p = np.sum(damaged * logits - np.logaddexp(0, logits), axis=-1)
    log_p += np.asarray(norm.logpdf(at_70, 0.0, 1.5))[:, None] + np.asarray(log_prior_of_log_slope)
    total = np.exp(log_p).sum()
    return np.exp(log_p) / total, np.log(total * step * (at_70[1] - at_70[0]))


probability, log_evidence = on_grid(norm.logpdf(log_slope, np.log(0.2), 0.5))
marginals = (at_70, probability.sum(axis=1)), (slope, probability.sum(axis=0))
mean = np.array([values @ p for values, p in marginals])
sd = np.array([np.sqrt((values - values @ p) ** 2 @ p) for values, p in marginals])

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
left.contour(at_70, slope, (probability / slope).T, levels=6, colors="black", linewidths=0.8)
left.set(xlim=(-4, 1.5), ylim=(0, 0.65), xlabel="at_70", ylabel="per_degree", title="lines: the exact density")
degrees = np.linspace(31, 85, 100)
risks = 1 / (1 + np.exp(-draws["at_70"][:, None] + draws["per_degree"][:, None] * (degrees - 70)))
right.fill_between(degrees, *np.quantile(risks, [0.05, 0.95], axis=0), alpha=0.3, label="90 % interval")
right.plot(degrees, risks.mean(axis=0), label="mean risk")
right.plot(temperature, damaged, "k|", label="flights")
right.set(xlabel="°F at launch", title="risk of damage, from 31 °F")
right.legend()
plt.show()

at_31 = 1 / (1 + np.exp(-at_70[:, None] + slope * (31 - 70)))
risk, exact_risk = risks[:, 0].mean(), np.sum(probability * at_31)
print(f"risk of damage at 31 °F: {risk:.4f}, exactly {exact_risk:.4f}")
assert abs(risk - exact_risk) < 0.003

# %% [markdown]
# ## A support that was not declared
#
# Without `supports`, guides would put mass on negative slopes, where this density is NaN. That is an error before
# anything is fitted, and it names the parameter and the remedy.

# %%
said = "nothing"
try:
    vi.approximate(jax.random.key(0), log_density, example)
except ValueError as error:
    said = str(error)
print(said)
assert "declare the support of per_degree" in said

# %% [markdown]
# ## A prior that is none
#
# 1/slope is a customary "uninformative" prior. Over log per_degree it is flat, and so is the likelihood where slopes
# are small: the posterior has no integral. `vi.diagnose` judges any guide against any density: here the guide from
# above against this one.


# %%
def improper_density(p):
    return log_likelihood(p) + norm.logpdf(p["at_70"], 0.0, 1.5) - jnp.log(p["per_degree"])


improper = vi.models.unconstrained(improper_density, example, supports)
judged = vi.diagnose(jax.random.key(1), improper, approximation.guide, approximation.params, num_draws=10_000)
print(judged.verdict)
assert not judged.verdict.trusted
assert "improper" in [finding.kind for finding in judged.findings]

figure, axes = plt.subplots(figsize=(5.4, 3.4), layout="constrained")
for name, on_nodes in (("log-normal prior", probability), ("prior 1/slope", on_grid(np.zeros_like(slope))[0])):
    log_marginal = np.log(on_nodes.sum(axis=0))
    axes.plot(log_slope, log_marginal - log_marginal.max(), label=name)
drawn = np.log(judged.draws["per_degree"])
axes.axvspan(drawn.min(), drawn.max(), alpha=0.15, label="where the draws are")
axes.set(xlim=(-8, 0.5), ylim=(-15, 1), xlabel="log per_degree", title="log density, less its maximum, nats")
axes.legend(loc="lower left")
plt.show()

# %% [markdown]
# A proper prior is the remedy, as above. What such a diagnosis cannot see is a mode that no draw has met:
# `vi.approximate` looks for those by ascents from several starts, and `vi.diagnose` by itself does not.
