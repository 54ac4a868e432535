"""What the rows of `learned_proposal` say."""

import numpy as np
import pandas as pd

from experiments.verdicts import Verdict, agree, every, numbers, where, within

ROUNDING = 1e-4
"""Nats by which float32 may pass an exact optimum."""


def verdict(rows: pd.DataFrame) -> list[Verdict]:
    """Judges the learned q by closed forms, the estimate of log p(x) by the exact one, and θ by maximum likelihood."""
    q = rows.query("part == 'proposal'")
    z = numbers(where(q, np.isfinite(numbers(q, "relative_variance"))), "log_evidence_z")
    return [
        agree("log p̂(x) is the exact log p(x) under every q of finite variance", z),
        divergence(q.query("objective == 'elbo'")),
        variance(q),
        likelihood(rows.query("part == 'model'")),
    ]


def divergence(rows: pd.DataFrame) -> Verdict:
    """Judges KL(q ‖ p) by the least that an independent q can have."""
    claim = "The ELBO learns the q of least KL(q ‖ p(z | x))"
    excess = numbers(rows, "reverse_kl") - numbers(rows, "best_gap")
    if not excess.size:
        return Verdict(claim, "no q was learned", holds=None)
    found = f"above it by {excess.min():.1e} to {excess.max():.1e} nats at {len(set(rows['turn']))} turns"
    return Verdict(claim, found, every([within(excess, 0.005, 0.1), bool((excess > -ROUNDING).all())]))


def variance(rows: pd.DataFrame) -> Verdict:
    """Judges the exact variance of the weights at the largest turn, where p(z | x) is most correlated."""
    claim = "Where p(z | x) is correlated IWAE learns a q of less variance than the ELBO"
    last = rows.query("turn == turn.max()")
    elbo, iwae = (numbers(last.query(f"objective == '{name}'"), "relative_variance") for name in ("elbo", "iwae"))
    if not (elbo.size and iwae.size):
        return Verdict(claim, "no q was learned by both", holds=None)
    least = f"{elbo.min():.3g}" if np.isfinite(elbo.min()) else "infinite"
    return Verdict(
        claim, f"Var(w) / p² is {iwae.max():.3g} at most by IWAE, {least} by the ELBO", bool(iwae.max() < elbo.min())
    )


def likelihood(rows: pd.DataFrame) -> Verdict:
    """Judges how far below maximum likelihood θ ends; above it there is nothing."""
    claim = "θ reaches maximum likelihood through every bound, and by its exact gradient to rounding"
    last = rows.query("step == step.max()")
    names = dict.fromkeys(last["objective"])
    if "maximum_likelihood" not in names:
        return Verdict(claim, "not learned to the end", holds=None)
    short = {name: numbers(last.query(f"objective == '{name}'"), "shortfall") for name in names}
    mean = {name: float(values.mean()) for name, values in short.items()}
    below = all((values > -ROUNDING).all() for values in short.values())
    found = ", ".join(f"{name.replace('_', ' ')} {value:.1e}" for name, value in mean.items())
    exactly = mean["maximum_likelihood"] <= ROUNDING
    return Verdict(
        claim, f"below it by {found} nats", every([within(list(mean.values()), 0.003, 0.05), below, exactly])
    )
