"""Writes docs/estimators.md from the rows of a certificate: `python -m experiments.certified_page RUN_DIR PAGE`.

Nothing on the page is typed in: formulas come from `experiments/claims.py`, figures from the rows, and the cost of each
form of pullback from the compiler, on a 64-100-100-10 autoencoder.
"""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pandas as pd

import vi_jax as vi
from experiments import store
from experiments.claims import BIASED, BOUNDS, ESTIMATORS, FORWARD_KL, PAIRED
from vi_jax import legality, pullback

HEAD = """# Bounds × estimators, certified

Every pair below was measured against an exact gradient; `make certify` writes this page, and fails if a claim does. For
log w_k = log p(x, z_k) − log q(z_k | x), an estimator turns a bound L into three vectors of K coefficients,

    θ̄ = Σ_k model_k ∂_θ log p(x, z_k),   φ̄ = Σ_k score_k ∂_φ log q(z_k | x) + Σ_k path_k ∂_z log w_k ∂_φ z_k

with a = ∇L, h = diag ∇²L and w̃ = softmax(log w). The claims are in `experiments/claims.py`, the method in
`experiments/certify.py`.
"""
GAUSSIAN = """
## Gaussian guide

z-scores of θ̄ and of φ̄ (the worse of its two coordinates) against ∇E[L_K] by quadrature, {draws} draws or more at
every K, shared by all pairs; *paired*: a divergence has no such quadrature, and the z-score is that of the difference
from pathwise on the same draws, which the tests judge by a quadrature over two draws; *bias*: biased as claimed, and
resolved as such; *→KL*: φ̄ follows the forward KL, with a bias of order 1/K (the measured order in parentheses).
Variance of φ̄ relative to pathwise. Operations of one gradient relative to pathwise, as the compiler counts them on a
64-100-100-10 autoencoder at K = 8.

"""
DISCRETE = """
## Discrete guide

Mean and variance by summing over all 3^K tuples of three latent values: *exact* means that the mean is ∇E[L_K] to 1e-9.
Variance of φ̄ relative to the plain score function.

"""


def main(folder: Path, page: Path) -> None:
    """Writes the page."""
    rows = store.read(folder)
    text = HEAD + bounds_table() + estimators_table() + gaussian_table(rows) + discrete_table(rows)
    with store.writing(page):
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(text, encoding="utf-8")


def line(*cells: object) -> str:
    """Returns one row of a Markdown table."""
    return "| " + " | ".join(str(cell) for cell in cells) + " |\n"


def head(*titles: str) -> str:
    """Returns the first two lines of a Markdown table."""
    return line(*titles) + line(*["---"] * len(titles))


def bounds_table() -> str:
    """Returns the bounds with their formulas."""
    text = "\n## Bounds\n\n" + head("bound", "L(log w)", "direction of E[L_K]")
    return text + "".join(line(f"`{name}`", row.formula, row.direction) for name, row in BOUNDS.items())


def estimators_table() -> str:
    """Returns the estimators with their coefficients."""
    text = "\n## Estimators\n\n" + head("estimator", "model, path, score", "guide", "source")
    guides = {True: "reparameterized", False: "any"}
    return text + "".join(
        line(f"`{name}`", row.coefficients, guides[row.reparameterized], row.source) for name, row in ESTIMATORS.items()
    )


def gaussian_table(rows: pd.DataFrame) -> str:
    """Returns one line per pair, with a column per K."""
    here = rows.query("family == 'Gaussian'")
    ks = values_of_k(here)
    titles = [f"{title}, K = {k}" for title in ("z θ̄, z φ̄", "variance") for k in ks]
    text = GAUSSIAN.format(draws=f"{min((here['num_replicates'] * here['num_samples']).tolist()):,}")
    text += head("bound", "estimator", *titles, "operations", "")
    costs = operations()
    for bound, estimator in here[["bound", "estimator"]].drop_duplicates().itertuples(index=False):
        cells = {int(row["num_samples"]): row for row in of_pair(here, bound, estimator)}
        verdicts = [scores(cells[k]) if k in cells else "" for k in ks]
        noise = [f"{cells[k]['relative_variance']:.3g}" if k in cells else "" for k in ks]
        sign = "green" if all(cell["green"] for cell in cells.values()) else "**RED**"
        text += line(f"`{bound}`", f"`{estimator}`", *verdicts, *noise, costs[form_of(bound, estimator)], sign)
    return text


def discrete_table(rows: pd.DataFrame) -> str:
    """Returns one line per pair, with a column per K."""
    here = rows.query("family == 'discrete'")
    ks = values_of_k(here)
    text = DISCRETE + head("bound", "estimator", "claim", *(f"variance, K = {k}" for k in ks), "")
    for bound, estimator in here[["bound", "estimator"]].drop_duplicates().itertuples(index=False):
        cells = {int(row["num_samples"]): row for row in of_pair(here, bound, estimator)}
        last = cells[max(cells)]
        claim = f"→KL ({last['order']:.2f})" if last["claim"] == FORWARD_KL else "exact"
        noise = [f"{cells[k]['relative_variance']:.3g}" if k in cells else "" for k in ks]
        sign = "green" if all(cell["green"] for cell in cells.values()) else "**RED**"
        text += line(f"`{bound}`", f"`{estimator}`", claim, *noise, sign)
    return text


def values_of_k(rows: pd.DataFrame) -> list[int]:
    """Returns the values of K, in order."""
    return sorted({int(k) for k in rows["num_samples"].tolist()})


def of_pair(rows: pd.DataFrame, bound: str, estimator: str) -> list[dict]:
    """Returns the rows of one pair."""
    return rows.query(f"bound == '{bound}' and estimator == '{estimator}'").to_dict("records")


def scores(row: dict) -> str:
    """Returns the z-scores of a row, or what is known of its bias."""
    if row["claim"] == FORWARD_KL:
        order = "" if pd.isna(row["order"]) else f" ({row['order']:.2f})"
        return f"{row['z_theta']:.1f}, →KL{order}"
    if row["claim"] == PAIRED:
        return "reference" if row["estimator"] == "pathwise" else f"{row['z_phi']:.1f} paired"
    return f"{row['z_theta']:.1f}, " + ("bias" if row["claim"] == BIASED else f"{row['z_phi']:.1f}")


def form_of(bound: str, estimator: str) -> pullback.Form:
    """Returns the form of pullback that the pair needs."""
    guide = vi.guides.mean_field(1)
    rule = ESTIMATORS[estimator].estimator
    return legality.check_pair(guide, BOUNDS[bound].bound, rule, 8)


def operations() -> dict[pullback.Form, str]:
    """Returns the operations of one gradient in each form, relative to pathwise, as the compiler counts them."""
    model = vi.models.bernoulli_decoder(10, 64, hidden=(100, 100))
    guide = vi.guides.gaussian_encoder(64, 10, hidden=(100, 100))
    key = jax.random.key(0)
    params = jax.eval_shape(lambda: vi.Params(model.init(key), guide.init(key)))
    pairs = {
        pullback.fixed_draws: ("iwae", "vimco"),
        pullback.path_equals_model: ("iwae", "pathwise"),
        pullback.path_scaled: ("iwae", "doubly_reparameterized"),
        pullback.two_pulls: ("thermodynamic", "doubly_reparameterized"),
    }
    counted = {}
    for form, (bound, estimator) in pairs.items():
        pair = BOUNDS[bound].bound, ESTIMATORS[estimator].estimator
        objective = vi.value_and_grad(model, guide, *pair, num_samples=8)
        x = jax.ShapeDtypeStruct((20, 64), jnp.float32)
        analysis = jax.jit(objective).lower(key, params, x).compile().cost_analysis()
        assert analysis is not None, "this compiler counts no operations"
        counted[form] = analysis["flops"]
    return {form: f"{count / counted[pullback.path_equals_model]:.2f}" for form, count in counted.items()}


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:3]))
