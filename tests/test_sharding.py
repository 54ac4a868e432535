"""Which meshes are refused; and the tests of many devices, in a process of their own that has eight."""

import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from jax.sharding import Mesh

import vi_jax as vi
from tests import problems

HERE = Path(__file__).parent
EIGHT = HERE / "eight_devices.py", HERE / "measurement" / "eight_devices.py"


def test_many_devices_do_what_one_does():
    # A device count is a property of the process: set for all tests, it would have them compile again what the
    # experiments have compiled.
    flags = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", *map(str, EIGHT)]
    # pytest-xdist tells its workers by these who they are.
    own = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    result = subprocess.run(command, env=own | {"XLA_FLAGS": flags}, cwd=HERE.parent, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout[-6000:] + result.stderr[-2000:]
    assert re.search(r"\d\d passed", result.stdout)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"data": 3, "sample": 2}, r"1 × 3 × 2 = 6, and there are 1 devices: .* product is 1, or start more"),
        ({"replicate": 0}, "replicate must be at least 1, got 0"),
    ],
)
def test_a_mesh_of_other_than_the_devices_is_refused(sizes, message):
    with pytest.raises(ValueError, match=message):
        vi.sharding.make_mesh(**sizes, devices=jax.devices()[:1])


def test_an_axis_of_another_name_is_refused_everywhere():
    mesh = Mesh(np.array(jax.devices()[:1]), ("batch",))
    pair = (vi.bounds.iwae, vi.estimators.pathwise)
    message = r"the mesh has axes \('batch',\), and 'batch' is none of \('replicate', 'data', 'sample'\)"
    for make in (vi.value_and_grad, vi.loss):
        for chunk_size in (None, 1):
            with pytest.raises(ValueError, match=message):
                make(problems.CURVED, problems.AMORTIZED, *pair, num_samples=2, chunk_size=chunk_size, mesh=mesh)
    with pytest.raises(ValueError, match=message):
        vi.sharding.shard_data(mesh, np.ones((2, 2)))
    with pytest.raises(TypeError, match="mesh must be a jax.sharding.Mesh, .* got int"):
        vi.sharding.replicated(8, np.ones(2))
