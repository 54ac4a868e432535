"""Facts of the compiled programs that no noisy machine can blur: operations, bytes, traces, targets."""

import functools
import re

import jax
import jax.numpy as jnp
import optax
import pytest

import vi_jax as vi

PAIRS = {
    "elbo/pathwise": (vi.bounds.elbo, vi.estimators.pathwise),
    "elbo/sticking_the_landing": (vi.bounds.elbo, vi.estimators.sticking_the_landing),
    "iwae/pathwise": (vi.bounds.iwae, vi.estimators.pathwise),
    "iwae/sticking_the_landing": (vi.bounds.iwae, vi.estimators.sticking_the_landing),
    "iwae/doubly_reparameterized": (vi.bounds.iwae, vi.estimators.doubly_reparameterized),
    "renyi/doubly_reparameterized": (vi.bounds.renyi(0.5), vi.estimators.doubly_reparameterized),
    "iwae/wake_phi": (vi.bounds.iwae, vi.estimators.wake_phi),
    "iwae/wake_phi_doubly_reparameterized": (vi.bounds.iwae, vi.estimators.wake_phi_doubly_reparameterized),
    "iwae/vimco": (vi.bounds.iwae, vi.estimators.vimco),
    "iwae/vimco_arithmetic": (vi.bounds.iwae, vi.estimators.vimco_arithmetic),
    "elbo/leave_one_out": (vi.bounds.elbo, vi.estimators.leave_one_out),
    "iwae/score_function": (vi.bounds.iwae, vi.estimators.score_function),
}


def network(data_dim: int, hidden: int, latent_dim: int) -> tuple[vi.Model, vi.Guide]:
    return (
        vi.models.bernoulli_decoder(latent_dim, data_dim, hidden=(hidden, hidden)),
        vi.guides.gaussian_encoder(data_dim, latent_dim, hidden=(hidden, hidden)),
    )


def arguments(model: vi.Model, guide: vi.Guide, data_dim: int, batch_size: int):
    params = vi.Params(model.init(jax.random.key(0)), guide.init(jax.random.key(1)))
    return jax.random.key(2), params, jnp.ones((batch_size, data_dim))


def plain_gradient(model: vi.Model, guide: vi.Guide, bound: vi.BoundFn, num_samples: int):
    """What one writes without the library: reparameterize, score, reduce, `jax.grad`."""

    def objective(key, params, x):
        def one_datum(b, x):
            datum_key = jax.random.fold_in(key, b)
            q = guide.distribution(params.phi, x)

            def log_weight(k):
                z = q.sample(seed=jax.random.fold_in(datum_key, k))
                return model.log_joint(params.theta, x, z) - q.log_prob(z)

            return bound(jax.vmap(log_weight)(jnp.arange(num_samples)))

        return jax.vmap(one_datum)(jnp.arange(x.shape[0]), x).mean()

    return jax.value_and_grad(objective, argnums=1)


def compiled(function, *args):
    return jax.jit(function).lower(*args).compile()


@pytest.fixture(scope="module")
def large():
    model, guide = network(784, 200, 50)
    args = arguments(model, guide, 784, batch_size=20)
    plain = {
        bound: compiled(plain_gradient(model, guide, bound, 10), *args).cost_analysis()["flops"]
        for bound in (vi.bounds.elbo, vi.bounds.iwae)
    }
    return model, guide, args, plain


@pytest.mark.parametrize("name", [name for name in PAIRS if "renyi" not in name])
def test_a_gradient_costs_the_operations_of_plain_autodiff(name, large):
    model, guide, args, plain = large
    bound, estimator = PAIRS[name]
    program = compiled(vi.value_and_grad(model, guide, bound, estimator, num_samples=10), *args)
    assert program.cost_analysis()["flops"] <= 1.05 * plain[bound]


def test_the_gradient_of_a_weight_is_one_product_of_two_matrices_as_they_lie(large):
    model, guide, args, _ = large
    program = compiled(vi.value_and_grad(model, guide, *PAIRS["iwae/doubly_reparameterized"], num_samples=10), *args)
    products = [line for line in program.as_text().splitlines() if re.search(r" dot\(", line)]
    assert len(products) == 20  # 7 layers forward, 7 to the weights, 6 to what came into a layer
    assert all(re.search(r"= f32\[\d+,\d+\]", line) for line in products)
    # Over two axes, or over a copy, the rows would not be what is summed in both.
    assert sum("lhs_contracting_dims={0}, rhs_contracting_dims={0}" in line for line in products) == 7


def test_an_estimator_without_a_ratio_costs_a_second_backward_pass_over_the_model(large):
    model, guide, args, plain = large
    second = vi.estimators.reparameterize_score(vi.estimators.wake_phi)
    program = compiled(vi.value_and_grad(model, guide, vi.bounds.iwae, second, num_samples=10), *args)
    assert 1.1 < program.cost_analysis()["flops"] / plain[vi.bounds.iwae] < 1.4


def test_estimators_on_the_same_draws_share_the_forward_pass(large):
    model, guide, args, plain = large
    names = ("iwae/pathwise", "iwae/doubly_reparameterized", "iwae/wake_phi")
    program = compiled(vi.shared_gradients(model, guide, {name: PAIRS[name] for name in names}, num_samples=10), *args)
    assert program.cost_analysis()["flops"] < 0.85 * len(names) * plain[vi.bounds.iwae]


@pytest.mark.parametrize("name", ["iwae/pathwise", "iwae/doubly_reparameterized", "iwae/vimco"])
def test_memory_of_a_chunked_gradient_is_flat_in_the_number_of_samples(name):
    model, guide = network(784, 200, 50)
    args = arguments(model, guide, 784, batch_size=1)

    def temporaries(num_samples: int) -> int:
        objective = vi.value_and_grad(model, guide, *PAIRS[name], num_samples=num_samples, chunk_size=512)
        return compiled(objective, *args).memory_analysis().temp_size_in_bytes

    # One chunk is no loop. Beyond, a draw leaves four numbers at most, where the draw alone is fifty.
    few, many = temporaries(1024), temporaries(32_768)
    assert many - few <= 16 * (32_768 - 1024) + 4096  # alignment of a few dozen buffers


def test_memory_of_the_evidence_is_flat_in_the_number_of_samples():
    model, guide = network(64, 50, 10)
    key, params, x = arguments(model, guide, 64, batch_size=4)

    def temporaries(num_samples: int) -> int:
        evidence = functools.partial(vi.log_evidence, num_samples=num_samples, chunk_size=64)
        function = lambda key, params, x: evidence(key, model, guide, params, x)  # noqa: E731
        return compiled(function, key, params, x).memory_analysis().temp_size_in_bytes

    assert temporaries(65_536) <= 1.01 * temporaries(128)


@pytest.mark.parametrize("chunk_size", [None, 3])
@pytest.mark.parametrize("name", PAIRS)
def test_every_objective_exports_for_every_platform(name, chunk_size):
    model, guide = network(6, 5, 2)
    key, params, x = arguments(model, guide, 6, batch_size=2)
    objective = vi.value_and_grad(model, guide, *PAIRS[name], num_samples=4, chunk_size=chunk_size)

    def with_seed(seed, params, x):
        return objective(jax.random.wrap_key_data(seed), params, x)

    exported = jax.export.export(jax.jit(with_seed), platforms=["cpu", "cuda", "tpu"])(
        jax.random.key_data(key), params, x
    )
    assert exported.platforms == ("cpu", "cuda", "tpu")


def test_a_fit_traces_the_model_once():
    model, guide = network(6, 5, 2)
    key, params, x = arguments(model, guide, 6, batch_size=8)
    traces = []

    def log_joint(theta, x, z):
        traces.append(1)
        return model.log_joint(theta, x, z)

    counted = model._replace(log_joint=log_joint)
    objective = vi.value_and_grad(counted, guide, *PAIRS["iwae/doubly_reparameterized"], num_samples=4)
    optimizer = optax.adam(1e-3)
    state, _ = vi.fit(key, objective, optimizer, params, x, num_steps=3)
    first = len(traces)
    for _ in range(3):
        state, _ = vi.fit(None, objective, optimizer, state, x, num_steps=3)
    assert len(traces) == first
    assert int(state.step) == 12
