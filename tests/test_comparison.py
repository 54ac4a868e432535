"""What the README says of NumPyro, TFP and BlackJAX is true of the versions that it names."""

import importlib.metadata
import inspect
import pathlib
import re
from typing import get_args

import pytest

TEXT = (pathlib.Path(__file__).parents[1] / "README.md").read_text()
TABLE = TEXT.split("## Beside NumPyro, TFP and BlackJAX")[1].split("\n## ")[0]


@pytest.mark.parametrize(
    ("title", "package"),
    [("NumPyro", "numpyro"), ("TFP", "tfp-nightly"), ("BlackJAX", "blackjax")],
)
def test_the_versions_are_those_of_the_environment(title, package):
    named = re.search(rf"{title} (\d+\.\d+)", TABLE).group(1)
    assert importlib.metadata.version(package).startswith(f"{named}.")


def test_numpyro_has_these_objectives_and_these_diagnostics():
    from numpyro import infer

    objectives = {name for name, value in vars(infer).items() if inspect.isclass(value) and name.endswith("ELBO")}
    assert objectives == {
        "ELBO",
        "RenyiELBO",
        "Trace_ELBO",
        "TraceEnum_ELBO",
        "TraceGraph_ELBO",
        "TraceMeanField_ELBO",
    }
    assert callable(infer.psis_diagnostic)
    assert callable(infer.calibration.vsbc_diagnostic)
    assert inspect.signature(infer.Trace_ELBO).parameters["vectorize_particles"].default is True


def test_tfp_has_these_estimators_for_any_f_divergence():
    from tensorflow_probability.substrates.jax import vi as tfp_vi

    estimators = {str(name).lower() for name in tfp_vi.GradientEstimators.__members__}
    assert estimators == {"score_function", "reparameterization", "doubly_reparameterized", "vimco"}
    parameters = inspect.signature(tfp_vi.monte_carlo_variational_loss).parameters
    assert {"discrepancy_fn", "importance_sample_size", "gradient_estimator"} <= set(parameters)


def test_blackjax_has_these_objectives_and_this_diagnostic():
    from blackjax import diagnostics
    from blackjax.vi import meanfield_vi

    assert {objective.__name__ for objective in get_args(meanfield_vi.Objective)} == {"KL", "RenyiAlpha"}
    assert "stl_estimator" in inspect.signature(meanfield_vi.step).parameters
    assert callable(diagnostics.psis_weights)
