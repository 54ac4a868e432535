"""Which guide and objective approximate a posterior given as a log-density, and how far may the result be trusted?

    gap = log Z − ELBO = KL(q ‖ p), nats
    worst mean = max_j |m_j − m*_j| / sd*_j,   worst sd = the ratio sd_j / sd*_j that is farthest from 1

of the guide itself, and after importance correction; beside them k̂, the effective sample size, the evidence from below
and above, and the verdict of `vi.diagnose`, which knows no reference. Sixteen posteriors; seven families of guides, six
objectives, four methods that need neither, and the default call, `vi.posterior.approximate_target`. The reference is
exact, or stored (posteriordb, Inference Gym), or four chains of NUTS.

By default every target meets the default call, mean field in its own coordinates and full rank under the reverse KL,
Laplace and Pathfinder; three targets meet all families under the reverse KL, and all objectives with full rank. Any
other GUIDE/OBJECTIVE is a name away:

    python -m experiments.posteriors                        seven targets that need no files
    VI_JAX_DATA=DIR python -m experiments.posteriors        and German credit and posteriordb
    python -m experiments.posteriors --targets garch --methods default flow/iwae spline-flow/chi --thorough-targets

Everything is in float64: gp_pois_regr needs it, and a gap of 0.001 beside an ELBO of −2000 is below float32. A step
costs up to three times as much.

Seed 0, two shared CPU cores: 10 minutes for all sixteen, other work beside it and most programs compiled before (half
an hour with none). Each target has keys of its own: some alone give the same rows. Found:

    known optima   Exact ones in brackets. Mean field: non-centred schools −31.603 (−31.597), centred −33.392 (−33.403),
                   funnel −1.866 (−1.862847), German credit −531.733 (−531.708), with prior N(0, 10²) −587.642
                   (−587.628). Full rank: −31.534 (−31.532), −32.604 (−32.590), German credit −529.204 (−529.202) and
                   −585.067 (−585.069). k̂ of mean field on the schools: 0.55 and 0.81, by one set of 10⁴ weights each
    log Z          Schools, −31.311: ELBO −31.324, weights (−31.316, −31.306), EUBO −31.306, of the default call. German
                   credit, −529.176: ELBO −529.201, weights (−529.201, −529.147)
    default call   kidiq, nes1980, arK, garch, low_dim_gauss_mix, diamonds and German credit twice: trusted as they are,
                   means within 0.030 posterior sd and sds within 3.0 % after correction, k̂ from 0.08 to 0.67. A flow is
                   chosen for garch, for the schools in both forms (centred: means within 0.063, sds within 2.7 %) and
                   for the Gaussian process (k̂ 0.60, corrected sds within 7 %: the effective draws are half). Funnel and
                   banana are not trusted, at 0.06 and 0.03 nats from log Z: k̂ 0.77 and 2.1. The two modes are found,
                   weighed by a mixture, and right to 0.02
    guides         On seven of the nine whose data are files mean field in its own coordinates is 2 to 22 nats below
                   log Z, and not trusted; full rank is within 0.23 of seven, 1.3 below that of the centred schools and
                   1.4 below that of the Gaussian process. On the non-centred schools flow and spline flow leave 0.02
                   and 0.03 of full rank's 0.22 nats
    objectives     A Gaussian posterior is met by all. On the schools full rank is too narrow by the reverse KL (an sd
                   of 0.73), too wide by Rényi's bound (1.4), score climbing (1.9) and IWAE of 16 draws (3.7), which
                   wants a proposal and no approximation: its k̂ is the best, 0.39. χ and wake-φ diverge, untrusted
    trust          What is trusted as it is has means within 0.084 sd and sds within 7.4 %; what is trusted after
                   correction, means within 0.097 sd and sds within 8.6 %, but for Pathfinder on German credit (19 %).
                   Of two modes six sds apart twelve of seventeen fits see one, some with weights all but equal; none
                   is trusted, since the ascents that chose the coordinates have met the other

Magnusson et al. (arXiv:2407.04967), posteriordb; Yao, Vehtari, Simpson and Gelman (arXiv:1802.02538), k̂ as a judge of
variational inference; Hoffman and Gelman (arXiv:1111.4246), NUTS.

`--quick` is mean field and Pathfinder on the non-centred schools, against short chains where no reference
is found: 50 s of CPU time at first, most of it compilation.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

import vi_jax as vi
from experiments import cli, posterior_methods, posterior_targets, progress
from experiments.posterior_methods import ALONE, FAMILIES, OBJECTIVES, Fitted
from experiments.posterior_panels import figure, table
from experiments.posterior_reference import nuts
from experiments.posterior_rows import BLANK, Evidence, evidence_of, judged, known, of_chains, timed
from experiments.posterior_targets import TARGETS, Problem, Reference
from experiments.posterior_verdict import verdict
from vi_jax.posterior.gaussian import begin
from vi_jax.posterior.verdict import UNTRUSTED
from vi_jax.training import Gaussian

Row = dict[str, Any]

DEFAULT = "default"
"""The method that is `vi.posterior.approximate_target`."""


EVERYWHERE = (DEFAULT, "mean-field/reverse-kl", "full-rank/reverse-kl", "full-rank/laplace", "full-rank/pathfinder")
THOROUGHLY = (
    *(f"{guide}/reverse-kl" for guide in FAMILIES if f"{guide}/reverse-kl" not in EVERYWHERE),
    *(f"full-rank/{objective}" for objective in OBJECTIVES if objective != "reverse-kl"),
    "full-rank/batch-and-match",
    "mean-field/deterministic",
)


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings. A method is "default" or GUIDE/OBJECTIVE, of `posterior_methods.FAMILIES` and `OBJECTIVES` or `ALONE`.

    Attributes:
      seed: of everything random.
      targets: names of `posterior_targets.TARGETS`; one whose data are nowhere gets a row that says so.
      methods: on every target. The default call comes first, for its weights to give log Z where none is known.
      thorough_methods: on the targets of `thorough_targets` alone.
      thorough_targets: names of targets that are among `targets`.
      num_draws: S of every diagnosis.
      max_rates: the most rates of a fit, each half of the last.
      num_nuts_steps: of each of four chains, once to adapt and once to keep.
    """

    seed: int = 0
    targets: tuple[str, ...] = tuple(TARGETS)
    methods: tuple[str, ...] = EVERYWHERE
    thorough_methods: tuple[str, ...] = THOROUGHLY
    thorough_targets: tuple[str, ...] = ("linear-regression", "mixture", "eight-schools-noncentred")
    num_draws: int = 10_000
    max_rates: int = 5
    num_nuts_steps: int = 2000


QUICK = Config(
    targets=("eight-schools-noncentred",),
    methods=("mean-field/reverse-kl", "full-rank/pathfinder"),
    thorough_targets=(),
    max_rates=3,
    num_nuts_steps=500,
)


def run(config: Config, track: progress.Track) -> Iterator[list[Row]]:
    """Yields row by row, of each target: the chains where they are the reference, the default call, every method."""
    check(config)
    blocks = in_target_order(config, track)
    while True:
        # Inside, so that the caller's precision is as it was whenever rows are handed over.
        with jax.enable_x64(True):
            block = next(blocks, None)
        if block is None:
            return
        yield [BLANK | row for row in block]


def check(config: Config) -> None:
    """Raises ValueError for a name that there is not, before anything is computed."""
    for name in config.targets:
        posterior_targets.check(name)
    for method in config.methods + config.thorough_methods:
        if method != DEFAULT:
            posterior_methods.check(method)


def in_target_order(config: Config, track: progress.Track) -> Iterator[list[Row]]:
    """Yields the rows of one target after the other, each with keys of its own whatever else is run."""
    for name in track(config.targets, "targets"):
        if name != config.targets[0]:
            # Thousands of programs in one process come to the end of the memory maps that Linux allows it.
            jax.clear_caches()
        try:
            problem = TARGETS[name]()
        except FileNotFoundError:
            yield [{"target": name, "note": "its data are not here: docs/data.md says where they are sought"}]
            continue
        key = jax.random.fold_in(jax.random.key(config.seed), list(TARGETS).index(name))
        methods = config.methods + (config.thorough_methods if name in config.thorough_targets else ())
        for rows in on_target(key, problem, methods, config):
            yield [{"target": name, "dim": problem.target.dim} | row for row in rows]


def on_target(key: jax.Array, problem: Problem, methods: Sequence[str], config: Config) -> Iterator[list[Row]]:
    """Yields the rows of one target."""
    begin_key, nuts_key, method_key = jax.random.split(key, 3)
    start, evidence, reference = start_of(begin_key, problem.target), known(problem), problem.reference
    if reference is None:
        sampled = problem.sampled or problem.target
        with timed() as clock:
            nearby = start if sampled is problem.target else start_of(begin_key, sampled)
            chains = nuts(nuts_key, sampled, nearby, num_steps=config.num_nuts_steps)
        reference = chains.reference
        yield [of_chains(chains) | clock.columns()]
    for number, method in enumerate(methods):
        key = jax.random.fold_in(method_key, number)
        if method == DEFAULT:
            row, evidence = default_call(key, problem, reference, config)
        else:
            guide, objective = method.split("/")
            row = one_method(key, problem, reference, evidence, start, guide, objective, config)
            row = {"guide": guide, "objective": objective} | row
        yield [row]


def start_of(key: jax.Array, target: vi.models.Target) -> Gaussian:
    """Returns the Gaussian that every method starts from, which is how the default call begins, too."""
    return begin(key, Partial(vi.models.log_density(target)), jnp.asarray(target.start, float)).gaussian


def for_diagnosis(reference: Reference) -> Any:
    """Returns draws, which bound the evidence from above, or else the moments."""
    return (reference.mean, reference.sd) if reference.draws is None else reference.draws


def one_method(
    key: jax.Array,
    problem: Problem,
    reference: Reference,
    evidence: Evidence,
    start: Gaussian,
    guide: str,
    objective: str,
    config: Config,
) -> Row:
    """Returns the row of one method; one that the library refuses, for what its numbers have become, says why."""
    fit_key, diagnosis_key = jax.random.split(key)
    try:
        with timed() as clock:
            fitted = jax.block_until_ready(fit(fit_key, problem.target, start, guide, objective, config))
        diagnosis = vi.diagnose(
            diagnosis_key,
            problem.target,
            fitted.guide,
            fitted.params,
            num_draws=config.num_draws,
            reference=for_diagnosis(reference),
        )
    except ValueError as error:
        return {"level": UNTRUSTED, "note": f"refused: {error}"}
    return judged(problem, reference, diagnosis, evidence, guide, fitted) | clock.columns()


def fit(
    key: jax.Array, target: vi.models.Target, start: Gaussian, guide: str, objective: str, config: Config
) -> Fitted:
    """Runs one method by its names."""
    if objective in ALONE:
        return ALONE[objective][1](key, target, start)
    return posterior_methods.climb(key, target, start, guide, objective, max_stages=config.max_rates)


def default_call(key: jax.Array, problem: Problem, reference: Reference, config: Config) -> tuple[Row, Evidence]:
    """Returns the row of `approximate`, which chooses its guide itself, and log Z as far as it is known after it."""
    with timed() as clock:
        found = vi.posterior.approximate_target(
            key, problem.target, num_draws=config.num_draws, reference=for_diagnosis(reference)
        )
    evidence = evidence_of(problem, found.diagnosis)
    chosen = next(attempt for attempt in found.attempts if attempt.guide is found.guide)
    steps = sum(stage.num_steps for attempt in found.attempts for stage in attempt.fit.stages)
    tried = ", ".join(f"{attempt.name} k̂ {attempt.pareto_k:.2f}" for attempt in found.attempts)
    fitted = Fitted(found.guide, found.params, steps * posterior_methods.NUM_DRAWS, f"tried {tried}")
    guide = chosen.name.replace("_", "-")
    row = judged(problem, reference, found.diagnosis, evidence, guide, fitted)
    return {"guide": guide, "objective": DEFAULT} | row | clock.columns(), evidence


if __name__ == "__main__":
    cli.main(run, figure, Config(), quick=QUICK, table=table, verdict=verdict)
