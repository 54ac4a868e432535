"""The work in Pyro: `SVI.step` with vectorized particles, and the same with the loss traced by `JitTrace_ELBO`."""

import functools
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from experiments.bench.peers import in_torch, ours, work
from experiments.bench.peers.contest import DISPATCH, Contest, Entry
from experiments.bench.programs import called


def contests(config: work.Config) -> Iterator[Contest]:
    """Yields fits of the regression; one timed run does some of the steps."""
    import pyro
    from pyro import infer

    pyro.set_rng_seed(config.seed)
    pyro.enable_validation(is_validate=False)
    few = min(config.num_loop_steps, config.num_steps)
    for num_samples in config.regression_samples:
        data, reference = ours.fit_entry(config, num_samples)
        entries = [reference]
        for name, elbo in (("SVI.step", infer.Trace_ELBO), ("SVI.step, JitTrace_ELBO", infer.JitTrace_ELBO)):
            loss = elbo(num_particles=num_samples, vectorize_particles=True, max_plate_nesting=0)
            run = fitting(loss, data)
            judge = functools.partial(ours.fit_value, functools.partial(run, config.num_steps), data)
            entries.append(
                Entry(name, functools.partial(run, few), (), DISPATCH, judge, called, few / config.num_steps)
            )
        yield Contest("W1 fit", num_samples, 1, config.num_steps, tuple(entries))


def fitting(loss: Any, data: work.Regression) -> Callable[[int], tuple[np.ndarray, np.ndarray]]:
    """Returns `num_steps -> (loc, log_scale)`, every run from the start. The loss keeps what it has traced."""
    import pyro
    import pyro.distributions as dist
    import torch

    tensors = tuple(map(in_torch.on_device, data))
    loc, log_scale = map(in_torch.on_device, work.start(data.features.shape[1]))

    def model(features: Any, labels: Any) -> None:
        z = pyro.sample("z", dist.Normal(torch.zeros_like(loc), 1.0).to_event(1))
        pyro.sample("y", dist.Bernoulli(logits=z @ features.T).to_event(1), obs=labels)

    def guide(features: Any, labels: Any) -> None:
        del features, labels
        mean, scale = pyro.param("loc", loc.clone), pyro.param("log_scale", log_scale.clone).exp()
        pyro.sample("z", dist.Normal(mean, scale).to_event(1))

    def run(num_steps: int) -> tuple[np.ndarray, np.ndarray]:
        pyro.clear_param_store()
        guide(*tensors)
        svi = pyro.infer.SVI(model, guide, pyro.optim.Adam({"lr": work.LEARNING_RATE}), loss)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # The tracer warns of every Python branch inside Pyro itself.
            for _ in range(num_steps):
                svi.step(*tensors)
        store = pyro.get_param_store()
        mean, log = (store[name].detach().cpu().numpy().copy() for name in ("loc", "log_scale"))
        return mean, log

    return run
