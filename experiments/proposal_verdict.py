"""What the rows of `learned_proposal` say."""

import numpy as np
import pandas as pd

from experiments.verdicts import Verdict, agree, every, within

ROUNDING = 1e-4
"""Nats by which float32 may pass an exact optimum."""


def verdict(rows: pd.DataFrame) -> list[Verdict]:
    """Judges the learned q by closed forms, the estimate of log p(x) by the exact one, and θ by maximum likelihood."""
    q = rows.query("part == 'proposal'")
    finite = q[np.isfinite(q["relative_variance"])]
    evidence = agree("log p̂(x) is the exact log p(x) under every q of finite variance", finite["log_evidence_z"])
    return [
        evidence,
        divergence(q.query("objective == 'elbo'")),
        variance(q),
        likelihood(rows.query("part == 'model'")),
    ]


def divergence(rows: pd.DataFrame) -> Verdict:
    """Judges KL(q ‖ p) by the least that an independent q can have."""
    excess = rows["reverse_kl"] - rows["best_gap"]
    holds = every([within(excess, 0.005, 0.1), bool((excess > -ROUNDING).all())])
    found = f"above it by {excess.min():.1e} to {excess.max():.1e} nats at {rows['turn'].nunique()} turns"
    return Verdict("The ELBO learns the q of least KL(q ‖ p(z | x))", found, holds)


def variance(rows: pd.DataFrame) -> Verdict:
    """Judges the exact variance of the weights at the largest turn, where p(z | x) is most correlated."""
    last = rows[rows["turn"] == rows["turn"].max()]
    elbo, iwae = (last.query(f"objective == '{name}'")["relative_variance"] for name in ("elbo", "iwae"))
    found = f"at most {iwae.max():.3g} by IWAE, at least {elbo.min():.3g} by the ELBO"
    claim = "Where p(z | x) is correlated IWAE learns a q of less variance than the ELBO"
    return Verdict(claim, f"Var(w) / p² is {found}", bool(iwae.max() < elbo.min()))


def likelihood(rows: pd.DataFrame) -> Verdict:
    """Judges how far below maximum likelihood θ ends; above it there is nothing."""
    last = rows.query("step == step.max()")
    mean = last.groupby("objective", sort=False)["shortfall"].mean()
    exactly = mean.get("maximum_likelihood", np.nan)
    holds = every([within(mean, 0.003, 0.05), bool((last["shortfall"] > -ROUNDING).all()), exactly <= ROUNDING])
    found = ", ".join(f"{name} {value:.1e}" for name, value in mean.items())
    return Verdict("θ reaches maximum likelihood through every bound", f"below it by {found} nats", holds)
