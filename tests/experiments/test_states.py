"""A state on file is what was written, or it is not used and says why."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vi_jax as vi
from experiments import states
from vi_jax.measurement import SweepState

EXACT = vi.models.table(vi.models.THREE_STATES)
GUIDE = vi.guides.categorical(3)
PARAMS = vi.Params(EXACT.model.init(jax.random.key(0)), jnp.array([0.1, -0.4, 0.3]))
ABOUT = states.context({"seed": 0, "samples": (1, 2)})


@pytest.fixture(scope="module")
def state() -> SweepState:
    """After the second of three stops of a real sweep."""
    seen: list[SweepState] = []
    vi.sweep(
        jax.random.key(0),
        EXACT.model,
        GUIDE,
        PARAMS,
        jnp.zeros(1, int),
        objectives={"iwae/score": (vi.bounds.iwae, vi.estimators.score_function)},
        num_samples=(1,),
        num_replicates=60,
        num_groups=4,
        chunk_size=20,
        num_stops=3,
        save=seen.append,
    )
    return seen[1]


def test_every_bit_and_the_whole_structure_come_back(tmp_path, state):
    path = tmp_path / "folder" / "x.state"
    states.write(path, state, ABOUT, 0.5)
    found = states.read(path, PARAMS, ABOUT)
    assert found.why == ""
    assert found.share == 0.5
    assert jax.tree.structure(found.state) == jax.tree.structure(state)
    for leaf, read in zip(jax.tree.leaves(state), jax.tree.leaves(found.state), strict=True):
        assert np.asarray(leaf).dtype == read.dtype
        assert np.asarray(leaf).tobytes() == read.tobytes()
    assert [file.name for file in path.parent.iterdir()] == ["x.state"]


def test_no_file_is_no_complaint(tmp_path):
    assert states.read(tmp_path / "none", PARAMS, ABOUT) == (None, 0.0, "")


@pytest.mark.parametrize("place", [0, 30, 70, 200, -1])
def test_one_changed_byte_anywhere_is_seen(tmp_path, state, place):
    path = tmp_path / "x.state"
    states.write(path, state, ABOUT, 0.5)
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)
    found = states.read(path, PARAMS, ABOUT)
    assert found.state is None
    assert "is damaged" in found.why


@pytest.mark.parametrize("kept", [0, 10, 66, 300])
def test_a_file_that_was_cut_off_is_seen(tmp_path, state, kept):
    path = tmp_path / "x.state"
    states.write(path, state, ABOUT, 0.5)
    path.write_bytes(path.read_bytes()[:kept])
    assert "is damaged" in states.read(path, PARAMS, ABOUT).why


def test_a_state_of_another_configuration_or_version_is_refused(tmp_path, state):
    path = tmp_path / "x.state"
    states.write(path, state, ABOUT, 0.5)
    assert "differs in config" in states.read(path, PARAMS, states.context({"seed": 1, "samples": (1, 2)})).why
    older = ABOUT | {"packages": {"jax": "0.0.1"}}
    assert "differs in packages" in states.read(path, PARAMS, older).why


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path, state):
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit, match=r"error: cannot write .*x.state"):
        states.write(tmp_path / "file" / "x.state", state, ABOUT, 0.5)
