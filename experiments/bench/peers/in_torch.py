"""The work in PyTorch: eager, and with the loss under `torch.compile`."""

import functools
import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from experiments.bench.peers import ours, work
from experiments.bench.peers.contest import ARITHMETIC, DISPATCH, Contest, Entry, Value, value_of_draws
from experiments.bench.programs import called


def contests(config: work.Config) -> Iterator[Contest]:
    """Yields fits of the regression, and IWAE steps."""
    import torch

    torch.manual_seed(config.seed)
    for num_samples in config.regression_samples:
        yield fits(config, num_samples)
    for num_samples in config.image_samples:
        yield iwae(config, num_samples)


def eager(loss: Callable[..., Any]) -> Callable[..., Any]:
    """Returns the loss as it is."""
    return loss


def compiled(loss: Callable[..., Any]) -> Callable[..., Any]:
    """Returns the loss with its forward and backward pass compiled, for the shapes it is given."""
    import torch

    return torch.compile(loss, dynamic=False)


def device() -> Any:
    """Returns the device of PyTorch that JAX computes on too."""
    import torch

    return torch.device("cuda" if jax.default_backend() == "gpu" else "cpu")


def on_device(array: Any) -> Any:
    """Returns a float32 tensor there."""
    import torch

    return torch.tensor(np.asarray(array), dtype=torch.float32, device=device())


def fits(config: work.Config, num_samples: int) -> Contest:
    """W1: a loop of steps; one timed run does some of them."""
    data, reference = ours.fit_entry(config, num_samples)
    few = min(config.num_loop_steps, config.num_steps)
    entries = [reference]
    for name, make in (("eager", eager), ("torch.compile", compiled)):
        loss = make(functools.partial(negative_elbo, *map(on_device, data), num_samples))
        part, whole = (functools.partial(fit, loss, data, steps) for steps in (few, config.num_steps))
        judge = functools.partial(ours.fit_value, whole, data)
        entries.append(Entry(name, part, (), DISPATCH, judge, called, few / config.num_steps))
    return Contest("W1 fit", num_samples, 1, config.num_steps, tuple(entries))


def negative_elbo(features: Any, labels: Any, num_samples: int, loc: Any, log_scale: Any) -> Any:
    """Returns minus the ELBO, in nats up to a constant, from S draws."""
    import torch
    from torch.nn import functional

    noise = torch.randn(num_samples, loc.shape[0], device=loc.device)
    z = loc + log_scale.exp() * noise
    logits = z @ features.T
    log_likelihood = -functional.binary_cross_entropy_with_logits(
        logits, labels.expand_as(logits), reduction="none"
    ).sum(1)
    return -(log_likelihood - (z**2 - noise**2).sum(1) / 2).mean() - log_scale.sum()


def fit(loss: Callable[..., Any], data: work.Regression, num_steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns loc and log_scale after so many steps of Adam."""
    import torch

    loc, log_scale = (on_device(leaf).requires_grad_() for leaf in work.start(data.features.shape[1]))
    optimizer = torch.optim.Adam([loc, log_scale], lr=work.LEARNING_RATE)
    for _ in range(num_steps):
        optimizer.zero_grad()
        loss(loc, log_scale).backward()
        optimizer.step()
    return loc.detach().cpu().numpy(), log_scale.detach().cpu().numpy()


def iwae(config: work.Config, num_samples: int) -> Contest:
    """W2: steps of a module that holds encoder and decoder."""
    params, x, reference = ours.iwae_entry(config, num_samples)
    num_steps, pixels = work.steps_at_once(num_samples), on_device(x)
    entries = [reference]
    for name, make in (("eager", eager), ("torch.compile", compiled)):
        parts = autoencoder(params)
        loss = make(functools.partial(negative_iwae, parts, num_samples))
        steps = functools.partial(climb, parts, loss, pixels, num_steps)
        judge = functools.partial(bound_value, loss, pixels, work.values_at(config.num_values, num_samples))
        entries.append(Entry(name, steps, (), ARITHMETIC, judge, called))
    return Contest("W2 IWAE step", num_samples, len(x), num_steps, tuple(entries))


def autoencoder(params: Any) -> Any:
    """Returns the networks as a `ModuleDict`: trunk, loc and log_scale of the encoder, and the decoder."""
    from torch import nn

    def linear(layer: Any) -> Any:
        made = nn.Linear(*layer["kernel"].shape, device=device())
        made.weight.data = on_device(layer["kernel"]).T.contiguous()
        made.bias.data = on_device(layer["bias"])
        return made

    def trunk(weights: Any) -> list[Any]:
        return [part for i in range(len(work.HIDDEN)) for part in (linear(weights[f"Dense_{i}"]), nn.Tanh())]

    theta, phi = params
    return nn.ModuleDict(
        {
            "trunk": nn.Sequential(*trunk(phi)),
            "loc": linear(phi["loc"]),
            "log_scale": linear(phi["log_scale"]),
            "decoder": nn.Sequential(*trunk(theta), linear(theta["logits"])),
        }
    )


def negative_iwae(parts: Any, num_samples: int, x: Any) -> Any:
    """Returns minus the mean IWAE bound of a batch, in nats per datum, all draws in one matrix."""
    import torch
    from torch.nn import functional

    hidden = parts["trunk"](x)
    loc, log_scale = parts["loc"](hidden), parts["log_scale"](hidden)
    noise = torch.randn(num_samples, *loc.shape, device=x.device)
    z = loc + log_scale.exp() * noise
    logits = parts["decoder"](z)
    log_likelihood = -functional.binary_cross_entropy_with_logits(logits, x.expand_as(logits), reduction="none").sum(2)
    log_w = log_likelihood - (z**2 - noise**2).sum(2) / 2 + log_scale.sum(1)
    return -(torch.logsumexp(log_w, 0) - math.log(num_samples)).mean()


def climb(parts: Any, loss: Callable[..., Any], x: Any, num_steps: int) -> list[float]:
    """Returns the losses of so many steps of Adam. The parameters go on from run to run."""
    import torch

    optimizer = torch.optim.Adam(parts.parameters(), lr=work.NETWORK_LEARNING_RATE)
    losses = []
    for _ in range(num_steps):
        optimizer.zero_grad()
        value = loss(x)
        value.backward()
        optimizer.step()
        losses.append(value.detach())
    return [float(value) for value in losses]


def bound_value(loss: Callable[..., Any], x: Any, num_values: int) -> Value:
    """Returns the mean of the bound at the parameters of the start: call it before any step."""
    return value_of_draws([-float(loss(x).detach()) for _ in range(num_values)])
