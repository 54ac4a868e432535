# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # A VAE on digits
#
# A variational autoencoder with two latent dimensions, trained on 8×8 handwritten digits by IWAE with 16 draws and its
# doubly reparameterized gradient: what log p(x) it reaches on test images, how well that is known, and what it has
# learned.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from sklearn.datasets import load_digits

import vi_jax as vi

split = vi.data.digits_split()
print(split.protocol)
x = split.test

# The labels, in the order of the split; training sees none of them.
images, labels = load_digits(return_X_y=True)
order = np.random.default_rng(0).permutation(len(images))
assert np.array_equal(images[order][: len(split.train)] / 16, split.train)
train_labels, test_labels = np.split(labels[order], [len(split.train)])

# %% [markdown]
# ## Model and guide
#
# $z \sim N(0, I)$, and each pixel is Bernoulli with a logit that a network computes from $z$; the guide is a Gaussian
# whose mean and scales a network computes from $x$.

# %%
model = vi.models.bernoulli_decoder(2, 64, hidden=(64, 64), mean=split.train.mean(axis=0))
guide = vi.guides.gaussian_encoder(64, 2, hidden=(64, 64))
objective = vi.value_and_grad(model, guide, vi.bounds.iwae, vi.estimators.doubly_reparameterized, num_samples=16)

init_key, fit_key, test_key, show_key = jax.random.split(jax.random.key(0), 4)
params = vi.Params(model.init(init_key), guide.init(init_key))

# %% [markdown]
# ## Training
#
# One compiled program; `prepare` draws new binary pixels for each minibatch.

# %%
NUM_STEPS = 3000
state, history = vi.fit(
    fit_key,
    objective,
    optax.adam(optax.cosine_decay_schedule(3e-3, NUM_STEPS)),
    params,
    split.train,
    num_steps=NUM_STEPS,
    batch_size=50,
    prepare=vi.data.binarize,
)
theta, phi = state.params

blocks = history.value.reshape(-1, 50)
figure, axes = plt.subplots(figsize=(5, 3), layout="constrained")
axes.plot(50 * (1 + np.arange(len(blocks))), blocks.mean(axis=1))
axes.set(xlabel="step", ylabel="IWAE of 16 draws, nats", title="Minibatches, mean of 50 steps")
plt.show()
assert blocks[-1].mean() > blocks[0].mean() + 3

# %% [markdown]
# ## log p(x) of the test images
#
# $\hat p(x) = \frac1K \sum_k w_k$ from draws of the guide. It has two errors: that of the draws, for these images, and
# that of these images, as a sample of all.

# %%
num_test = len(x)
evidence = vi.log_evidence(test_key, model, guide, state.params, x, num_samples=2000)
log_p = evidence.log_evidence.mean()
by_draws = jnp.sqrt(jnp.sum(evidence.standard_error**2)) / num_test
by_images = evidence.log_evidence.std(ddof=1) / num_test**0.5
print(f"log p(x) = {log_p:.2f} ± {by_draws:.2f} (draws) ± {by_images:.2f} (images) nats")

mean = jnp.clip(split.train.mean(axis=0), 1e-3, 1 - 1e-3)
independent = (x * jnp.log(mean) + (1 - x) * jnp.log1p(-mean)).sum(axis=1).mean()
print(f"independent pixels: {independent:.2f} nats")
assert by_draws < 0.1
assert log_p > independent + 3 * by_images + 3

# %% [markdown]
# ## What draws buy at test time
#
# The same parameters, and $\mathbb{E} \log \frac1K \sum_k w_k$ for growing K: the ELBO at K = 1, and log p(x) in the
# limit. So a test bound without its K says nothing, and bounds at two K do not compare.

# %%
SIZES = (1, 4, 16, 64, 256)
bounds = [vi.log_evidence(test_key, model, guide, state.params, x, num_samples=k).log_evidence.mean() for k in SIZES]
figure, axes = plt.subplots(figsize=(5, 3), layout="constrained")
axes.plot(SIZES, bounds, marker="o")
axes.axhline(float(log_p), color="black", linestyle=":", label="log p(x), 2000 draws")
axes.set(xscale="log", xlabel="draws K at test time", ylabel="nats", title="One model, several bounds")
axes.legend()
plt.show()
print("  ".join(f"K = {k}: {value:.2f}" for k, value in zip(SIZES, bounds, strict=True)))
assert np.all(np.diff(bounds) > 0)
assert log_p - bounds[-1] < 0.1 < log_p - bounds[0]

# %% [markdown]
# ## Reconstructions and draws of the prior
#
# Test images, the pixel probabilities at the guide's mean for each, and those at draws of the prior.

# %%
decode = jax.jit(jax.vmap(lambda z: model.likelihood(theta, z).mean()))
encode = jax.jit(jax.vmap(lambda x: guide.distribution(phi, x).mean()))
from_prior = jax.random.normal(show_key, (24, 2))
rows = [x[:12], decode(encode(x[:12])), *np.split(decode(from_prior), 2)]
figure, axes = plt.subplots(4, 12, figsize=(9, 3.2), layout="constrained")
for image, cell in zip(np.concatenate(rows), axes.flat, strict=True):
    cell.imshow(image.reshape(8, 8), cmap="gray_r", vmin=0, vmax=1)
    cell.set(xticks=[], yticks=[])
for cell, name in zip(axes[:, 0], ("test", "reconstructed", "prior", "prior"), strict=True):
    cell.set_ylabel(name, rotation=0, ha="right", va="center")
plt.show()
error = jnp.mean((decode(encode(x)) - x) ** 2)
assert error < 0.8 * jnp.mean((mean - x) ** 2)

# %% [markdown]
# ## The latent plane
#
# The guide's mean of each training image, coloured by its class. To put a number on it: a test image takes the class
# that the most of its 15 nearest training images have.

# %%
places, test_places = encode(split.train), encode(x)
figure, axes = plt.subplots(figsize=(5.6, 4.6), layout="constrained")
points = axes.scatter(*places.T, c=train_labels, cmap="tab10", s=8, vmin=-0.5, vmax=9.5)
figure.colorbar(points, ticks=range(10), label="class")
axes.set(xlabel="$z_1$", ylabel="$z_2$", aspect="equal")
plt.show()

nearest = np.argsort(np.linalg.norm(test_places[:, None] - places, axis=-1), axis=1)[:, :15]
votes = np.apply_along_axis(np.bincount, 1, train_labels[nearest], minlength=10)
accuracy = np.mean(votes.argmax(axis=1) == test_labels)
print(f"{accuracy:.0%} of the test images, where guessing gives 10 %")
assert accuracy > 0.5
