"""What do 10¹² draws take on n devices: operations, bytes on the wire, checkpoints?

Three jobs, whose share on each device stays the same as devices are added: training an autoencoder 784-200-200-50 by
IWAE with the data divided, or with the draws of every datum; and a sweep of the toy with its replicates divided. Every
program is compiled for eight devices, which this machine need not have, and none is run. From the compiled
programs come the operations per draw and the bytes of every collective, which stand beside their formulas. How fast the
machine is, `--flops` and `--bandwidth`, is yours to say: the operations per second that such a program reaches on one
device (`python -m experiments.bench` measures them), and the bytes per second that a device sends.

    compute     operations per draw · draws per device and step / flops
    wire        bytes that a device sends in a step / bandwidth,  by the ring algorithm
    efficiency  compute / (compute + wire):  nothing overlaps, so it is a lower bound

    python -m experiments.scale --devices 64 --flops 1e13 --bandwidth 2e10

A step is a gradient and its update; of a sweep, all that lies between two stops. Half a minute. `docs/devices.md` reads
what comes out.
"""

import dataclasses
import functools
import math
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd
import tyro
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from rich.console import Console

import vi_jax as vi
from experiments import states, tables, zoo
from experiments.collectives import Collective, by_kind, collectives, sent
from vi_jax.measurement import stream
from vi_jax.measurement.sweep import planned
from vi_jax.training import init_state, make_step

COMPILED_FOR = 8
SIZE = 4
"""Bytes of a number: everything is float32."""
REPORTED = 2
"""Numbers that a training step sums over the data for its history: values, and how many are not finite."""


@dataclasses.dataclass(frozen=True)
class Config:
    """The work and the machine.

    Attributes:
      draws: in all, over all data, steps or replicates.
      devices: n.
      flops: operations per second that a device reaches.
      bandwidth: bytes per second that a device sends.
      batch: data per step: of every device if the data are divided, in all if the draws are.
      samples: draws per datum of the training: in all if the data are divided, of every device if the draws are.
      network: the autoencoder: data, two hidden layers, latent.
      model: what is swept, of the zoo.
      sizes: the values of K of the sweep.
      stops: how often the sweep is saved.
    """

    draws: float = 1e12
    devices: int = 64
    flops: float = 1e13
    bandwidth: float = 2e10
    batch: int = 100
    samples: int = 50
    network: tuple[int, int, int, int] = (784, 200, 200, 50)
    model: str = "toy"
    sizes: tuple[int, ...] = (1, 4, 16, 64, 256, 1024)
    stops: int = 20


class Job(NamedTuple):
    """One kind of work, at the same share for each device.

    Attributes:
      name: what it is, and what is divided.
      flops_per_draw: operations of the program for one device.
      draws_per_step: `n -> draws` of one device.
      expected: `n -> collectives` of a step on n devices.
      compiled: those of the program for `COMPILED_FOR` devices.
      checkpoint: `n -> bytes`.
      written: bytes of a checkpoint of `COMPILED_FOR` devices, as measured.
    """

    name: str
    flops_per_draw: float
    draws_per_step: Callable[[int], float]
    expected: Callable[[int], list[Collective]]
    compiled: list[Collective]
    checkpoint: Callable[[int], float]
    written: int


OBJECTIVES = {
    "elbo": (vi.bounds.elbo, vi.estimators.pathwise),
    "iwae": (vi.bounds.iwae, vi.estimators.pathwise),
    "iwae/doubly_reparameterized": (vi.bounds.iwae, vi.estimators.doubly_reparameterized),
}


# --- training ---------------------------------------------------------------------------------------------------------


def data_divided(config: Config) -> Job:
    """Training with B data on every device: the gradient is summed over all, once."""

    def expected(n: int) -> list[Collective]:
        return [Collective("all-reduce", SIZE * (num_parameters(config) + REPORTED), n)]

    mesh = vi.sharding.make_mesh(data=COMPILED_FOR, devices=jax.devices())
    program = training_step(config, mesh, config.batch * COMPILED_FOR, config.samples)
    return training(config, "IWAE, data divided", expected, program)


def draws_divided(config: Config) -> Job:
    """Training with K draws of all B data on every device: log-weights are gathered, then the gradient is summed."""

    def expected(n: int) -> list[Collective]:
        log_weights = Collective("all-gather", SIZE * n * config.samples * config.batch, n)
        return [log_weights, Collective("all-reduce", SIZE * num_parameters(config), n)]

    mesh = vi.sharding.make_mesh(sample=COMPILED_FOR, devices=jax.devices())
    program = training_step(config, mesh, config.batch, config.samples * COMPILED_FOR)
    return training(config, "IWAE, draws divided", expected, program)


def training(config: Config, name: str, expected: Callable[[int], list[Collective]], program: Any) -> Job:
    """Puts a job of training together."""
    draws = config.batch * config.samples
    alone = training_step(config, None, config.batch, config.samples)
    state = started(config)
    return Job(
        name=name,
        flops_per_draw=alone.cost_analysis()["flops"] / draws,
        draws_per_step=lambda n: draws,
        expected=expected,
        compiled=collectives(program.as_text()),
        # Parameters and two moments of Adam, whatever the number of devices.
        checkpoint=lambda n: 3 * SIZE * num_parameters(config),
        written=sum(np.asarray(leaf).nbytes for leaf in jax.tree.leaves(state._replace(key=()))),
    )


@functools.cache
def training_step(config: Config, mesh: Mesh | None, batch: int, samples: int) -> Any:
    """Returns one compiled step of Adam on the doubly reparameterized gradient of IWAE."""
    model, guide = autoencoder(config)
    rule = vi.estimators.doubly_reparameterized
    objective = vi.value_and_grad(model, guide, vi.bounds.iwae, rule, num_samples=samples, mesh=mesh)
    x = jax.ShapeDtypeStruct((batch, config.network[0]), jnp.float32)
    return jax.jit(make_step(objective, optax.adam(1e-3))).lower(started(config), x).compile()


def started(config: Config) -> vi.TrainState:
    """Returns the state before the first step."""
    model, guide = autoencoder(config)
    params = vi.Params(model.init(jax.random.key(0)), guide.init(jax.random.key(1)))
    return init_state(jax.random.key(2), optax.adam(1e-3), params)


def autoencoder(config: Config) -> tuple[vi.Model, vi.Guide]:
    """Returns the decoder and the encoder."""
    data_dim, *hidden, latent_dim = config.network
    return (
        vi.models.bernoulli_decoder(latent_dim, data_dim, hidden=tuple(hidden)),
        vi.guides.gaussian_encoder(data_dim, latent_dim, hidden=tuple(hidden)),
    )


def num_parameters(config: Config) -> int:
    """Returns P: of an encoder that ends in mean and scale, and of a decoder."""
    x, a, b, z = config.network
    encoder = (x + 1) * a + (a + 1) * b + (b + 1) * 2 * z
    return encoder + (z + 1) * a + (a + 1) * b + (b + 1) * x


# --- a sweep ----------------------------------------------------------------------------------------------------------


class Swept(NamedTuple):
    """A sweep laid out for a number of devices, before its first replicate."""

    plan: stream.Plan
    problem: tuple[Any, ...]
    num_replicates: int
    state: stream.SweepState


def replicates_divided(config: Config) -> Job:
    """A sweep: nothing is sent but the moments, at every stop to be saved."""
    alone = laid_out(config, None)
    mesh = vi.sharding.make_mesh(replicate=COMPILED_FOR, devices=jax.devices())
    whole = laid_out(config, mesh)
    at_once = alone.plan.at_once * len(zoo.problem(config.model).x) * config.sizes[-1]
    return Job(
        name=f"sweep of the {config.model}",
        flops_per_draw=block(alone).cost_analysis()["flops"] / at_once,
        draws_per_step=lambda n: config.draws / n / config.stops,
        expected=lambda n: [Collective("all-gather", n * moments(config, whole.plan), n)],
        compiled=collectives(block(whole).as_text()) + collectives(gathering(whole, mesh).as_text()),
        checkpoint=lambda n: n * moments(config, whole.plan),
        written=on_file(whole.state),
    )


def laid_out(config: Config, mesh: Mesh | None) -> Swept:
    """Returns the sweep of `OBJECTIVES`."""
    posed = zoo.problem(config.model)
    problem = (jax.random.key(0), posed.model, posed.guide, posed.params, posed.x)
    num_replicates = 1000 * COMPILED_FOR
    plan = planned(problem, OBJECTIVES, config.sizes, num_replicates, vi.Params(None, None), mesh=mesh)
    arrays = (problem[0], posed.params, posed.x, None)
    return Swept(plan, arrays, num_replicates, stream.start(plan, *arrays, num_replicates))


def block(swept: Swept) -> Any:
    """Returns the compiled program that runs between two stops. A loop in it counts once, that is one batch."""
    plan, problem, num_replicates, state = swept
    return stream.block.lower(plan, *problem, num_replicates, 0, 1, state.running).compile()


def gathering(swept: Swept, mesh: Mesh) -> Any:
    """Returns the compiled program that makes the moments of all devices known to each, for the checkpoint."""
    everywhere = NamedSharding(mesh, PartitionSpec())
    return jax.jit(lambda running: running, out_shardings=everywhere).lower(swept.state.running).compile()


def moments(config: Config, plan: stream.Plan) -> float:
    """Returns the bytes of the moments of one device.

    Σ_K 4 (O (2 G + 1) (P + 3) + G),   P numbers of a gradient, 3 more of its cell, O objectives, G groups
    """
    numbers = sum(jnp.size(leaf) for leaf in jax.tree.leaves(zoo.problem(config.model).params)) + 3
    groups = plan.num_groups
    return SIZE * sum(len(row.names) * (2 * groups + 1) * numbers + groups for row in plan.rows())


def on_file(state: stream.SweepState) -> int:
    """Returns the bytes of a state as `states.write` leaves it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sweep.state"
        states.write(path, state, {}, 0.0)
        return path.stat().st_size


# --- the tables -------------------------------------------------------------------------------------------------------


def checked(jobs: list[Job]) -> pd.DataFrame:
    """Returns formula and compiled size of every collective of a step, and of the checkpoint, on eight devices."""
    rows = []
    for job in jobs:
        found = {one[::2]: one.size for one in by_kind(job.compiled)}
        formula = {one[::2]: one.size for one in by_kind(job.expected(COMPILED_FOR))}
        for kind, group in sorted({*found, *formula}):
            rows.append((job.name, kind, formula.get((kind, group), 0), found.get((kind, group), 0)))
        rows.append((job.name, "checkpoint", job.checkpoint(COMPILED_FOR), job.written))
    return pd.DataFrame(rows, columns=["job", f"on {COMPILED_FOR} devices", "formula, bytes", "measured, bytes"])


def plan(config: Config, jobs: list[Job]) -> pd.DataFrame:
    """Returns what the draws take on n devices, a column per job."""
    columns = {job.name: plan_of(config, job) for job in jobs}
    names = {"per step and device": list(columns[jobs[0].name])}
    return pd.DataFrame(names | {name: list(column.values()) for name, column in columns.items()})


def plan_of(config: Config, job: Job) -> dict[str, float]:
    """Returns a column of the plan."""
    n, draws = config.devices, job.draws_per_step(config.devices)
    bytes_sent = sum(map(sent, job.expected(n)))
    compute, wire = job.flops_per_draw * draws / config.flops, bytes_sent / config.bandwidth
    steps = config.draws / draws / n
    return {
        "operations per draw": job.flops_per_draw,
        "draws": float(draws),
        "bytes sent": bytes_sent,
        "compute, s": compute,
        "wire, s": wire,
        "efficiency": compute / (compute + wire),
        "steps in all": float(math.ceil(steps)),
        "hours in all": steps * (compute + wire) / 3600,
        "checkpoint, bytes": job.checkpoint(n),
    }


def jobs_of(config: Config) -> list[Job]:
    """Compiles all programs."""
    return [make(config) for make in (data_divided, draws_divided, replicates_divided)]


def main() -> None:
    """Prints both tables. No accelerator is used, and none is needed."""
    config = tyro.cli(Config, prog="python -m experiments.scale", description=__doc__)
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", COMPILED_FOR)
    jobs, console = jobs_of(config), Console()
    tables.show(checked(jobs), console)
    reached = f"each at {config.flops:.0e} operations per second"
    console.print(
        f"\n{config.draws:.0e} draws on {config.devices} devices, {reached}, sending {config.bandwidth:.0e} bytes/s\n"
    )
    tables.show(plan(config, jobs), console)


if __name__ == "__main__":
    main()
