"""What the rows of `evidence_estimators` say."""

import pandas as pd

from experiments.verdicts import Verdict, above, against, agree, below, difference, ends, every, numbers, text

HONEST = 0.05
"""The relative variance of p̂ below which a standard error is to cover what it says."""


def verdict(rows: pd.DataFrame) -> list[Verdict]:
    """Judges the means of p̂ and log p̂ by their exact laws, the learned proposal, and the reported standard errors.

    Measured variances are left to the table: the weight that has not been drawn yet makes their z-scores anything but
    normal.
    """
    kept = rows.query("quantity in ('mean', 'log_bias', 'log_rmse')")
    claim = "p̂ is unbiased, and mean and error of log p̂ are those of the exact law"
    # Without noise p̂ / p were 1, its logarithm 0, and so its error.
    certain = kept["quantity"].eq("mean").astype(float)
    means = agree(claim, numbers(kept, "z"), wrong=against(kept, "estimate", certain))
    return [means, learned(rows), *coverage(rows)]


def learned(rows: pd.DataFrame) -> Verdict:
    """Judges the measured bias of log p̂ under the learned proposal beside the others, at the smallest K."""
    here = rows.query("model == 'belief_net' and quantity == 'log_bias'")
    claim = "The learned proposal has the least bias of log p̂ at the smallest K"
    if here.empty:
        return Verdict(claim, "nothing was drawn", holds=None)
    k = here["num_samples"].min()
    by_name = here[here["num_samples"] == k].set_index("proposal")
    bias = {name: ends(by_name.loc[name], "estimate") for name in ("learned", "prior", "uniform")}
    holds = every(above(difference(bias["learned"], bias[name])) for name in ("prior", "uniform"))
    found = ", ".join(f"{name} {text(value)} nats" for name, value in bias.items())
    return Verdict(claim, f"{found} at K = {k}", holds)


def coverage(rows: pd.DataFrame) -> list[Verdict]:
    """Judges how often ±1.96 standard errors cover log p(x), where the exact variance is small and where it is not."""
    net = rows.query("model == 'belief_net'").set_index(["proposal", "num_samples"])
    here = net.query("quantity == 'coverage'")
    here = here.assign(variance=net.query("quantity == 'variance'")["exact"])
    many, few = here.query(f"variance <= {HONEST}"), here.query(f"variance > {HONEST}")
    sides = (above, 0.9), (below, 0.98)
    honest = every(side(ends(row, "estimate"), bound) for _, row in many.iterrows() for side, bound in sides)
    short = every(below(ends(row, "estimate"), 0.95) for _, row in few.iterrows())
    return [
        Verdict(f"Standard errors cover 90 to 98 % where Var p̂ / p² ≤ {HONEST}", spread(many), honest),
        Verdict(f"Standard errors cover less than 95 % where Var p̂ / p² > {HONEST}", spread(few), short),
    ]


def spread(rows: pd.DataFrame) -> str:
    """Returns the smallest and the largest coverage."""
    if rows.empty:
        return "no such K"
    return f"{100 * rows['estimate'].min():.0f} to {100 * rows['estimate'].max():.0f} % in {len(rows)} cells"
