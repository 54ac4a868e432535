"""Nine posteriors of posteriordb: log-densities, with data and reference draws in `data.posteriordb`.

Each is a function of the data of its Stan program, by the names there, to a `Target`, whose `constrain` gives the
posterior's own parameters in the order of the reference. Proper priors are normalised; a flat prior counts as density 1
and then log Z has its arbitrary constant, so that ELBOs compare within one model only.

Magnusson et al., "posteriordb: Testing, Benchmarking and Developing Bayesian Inference Algorithms" (arXiv:2407.04967).
"""

from collections.abc import Callable, Mapping
from typing import Any

from vi_jax.models.posteriordb.gaussian_process import PoissonProcess as PoissonProcess
from vi_jax.models.posteriordb.gaussian_process import gp_pois_regr as gp_pois_regr
from vi_jax.models.posteriordb.mixtures import TwoNormals as TwoNormals
from vi_jax.models.posteriordb.mixtures import low_dim_gauss_mix as low_dim_gauss_mix
from vi_jax.models.posteriordb.regressions import Centred as Centred
from vi_jax.models.posteriordb.regressions import Weights as Weights
from vi_jax.models.posteriordb.regressions import diamonds as diamonds
from vi_jax.models.posteriordb.regressions import kidiq as kidiq
from vi_jax.models.posteriordb.regressions import nes as nes
from vi_jax.models.posteriordb.schools import SchoolEffects as SchoolEffects
from vi_jax.models.posteriordb.schools import eight_schools_centred as eight_schools_centred
from vi_jax.models.posteriordb.schools import eight_schools_noncentred as eight_schools_noncentred
from vi_jax.models.posteriordb.time_series import Autoregression as Autoregression
from vi_jax.models.posteriordb.time_series import Garch as Garch
from vi_jax.models.posteriordb.time_series import autoregression as autoregression
from vi_jax.models.posteriordb.time_series import garch as garch
from vi_jax.models.unconstrained import Target

POSTERIORS: Mapping[str, Callable[[Mapping[str, Any]], Target]] = {
    "arK-arK": autoregression,
    "diamonds-diamonds": diamonds,
    "eight_schools-eight_schools_centered": eight_schools_centred,
    "eight_schools-eight_schools_noncentered": eight_schools_noncentred,
    "garch-garch11": garch,
    "gp_pois_regr-gp_pois_regr": gp_pois_regr,
    "kidiq-kidscore_interaction": kidiq,
    "low_dim_gauss_mix-low_dim_gauss_mix": low_dim_gauss_mix,
    "nes1980-nes": nes,
}
"""By the name in posteriordb: `data -> Target`."""


def posterior(name: str, data: Mapping[str, Any]) -> Target:
    """Returns the target of one of the nine, for its data or others of the same form.

    Args:
      name: as in `data.posteriordb`.
      data: its `data`.

    Raises:
      ValueError: there is no log-density of this name; or the data lack a name or have another shape.
    """
    if name not in POSTERIORS:
        raise ValueError(
            f"there is no log-density of {name!r}, only of {', '.join(POSTERIORS)}: write it, for models.unconstrained."
        )
    return POSTERIORS[name](data)
