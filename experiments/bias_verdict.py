"""What the rows of `bias_variance` say."""

import pandas as pd

from experiments.verdicts import Verdict, against, agree, numbers, z_scores

GROUPS_LESS_ONE = 19
"""Degrees of freedom of every interval: a sweep has 20 groups of replicates."""


def verdict(rows: pd.DataFrame) -> list[Verdict]:
    """Judges biases and their orders in 1/K by the exact ones, and the jackknives beside IWAE."""
    cells = rows.query("part == 'cell'")
    orders = rows.query("part == 'order'").dropna(subset=["order_low", "exact_order"])
    return [
        agree(
            "Every measured bias is the exact one",
            numbers(cells, "z"),
            freedom=GROUPS_LESS_ONE,
            wrong=against(cells, "bias", 0.0, GROUPS_LESS_ONE),
        ),
        agree(
            "The biases have the orders in 1/K of the exact biases at the same K",
            z_scores(orders, "order", "exact_order", GROUPS_LESS_ONE),
            freedom=GROUPS_LESS_ONE,
            wrong=against(orders, "order", 0.0, GROUPS_LESS_ONE),
        ),
        jackknife(cells.query("of == 'value'")),
    ]


def jackknife(rows: pd.DataFrame) -> Verdict:
    """Judges bias and standard deviation of the two jackknives at the largest K."""
    last = rows.query(f"K == {rows['K'].max()}").set_index("objective")
    iwae, others = last.loc["iwae"], last.query("objective.str.startswith('jackknife')")
    found = ", ".join(
        f"order {order}: 1/{iwae['exact'] / row['exact']:.0f} of its bias ({row['bias']:.1e} measured), "
        f"{row['sd'] / iwae['sd']:.3f} of its standard deviation"
        for order, (_, row) in enumerate(others.iterrows(), start=1)
    )
    # What is measured must not be half of IWAE's bias, by the far end of its interval.
    small = others[["bias_low", "bias_high"]].abs().max(axis=1) < iwae["bias"] / 2
    alike = (others["sd"] / iwae["sd"] - 1).abs() < 0.1
    claim = f"At K = {max(rows['K']):.0f} a jackknife has a fraction of IWAE's bias and the same noise"
    if not small.all() and (others["bias"].abs() < iwae["bias"] / 2).all():
        return Verdict(claim, found, holds=None)
    return Verdict(claim, found, bool(small.all() and alike.all()))
