import dataclasses
import subprocess

from experiments import provenance


@dataclasses.dataclass(frozen=True)
class Config:
    seed: int = 0
    num_samples: tuple[int, ...] = (1, 2)


def git(folder, *arguments):
    who = ("-c", "user.name=a", "-c", "user.email=a@b.c")
    done = subprocess.run(["git", "-C", str(folder), *who, *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def test_the_commit_is_that_of_the_checkout_that_tracks_the_file(tmp_path):
    source, other = tmp_path / "question.py", tmp_path / "other.py"
    source.write_text("1\n")
    nothing = {"commit": None, "dirty": None}
    assert provenance.commit(source) == nothing
    git(tmp_path, "init")
    assert provenance.commit(source) == nothing
    git(tmp_path, "add", "question.py")
    git(tmp_path, "commit", "-m", "question")
    head = git(tmp_path, "rev-parse", "HEAD")
    assert provenance.commit(source) == {"commit": head, "dirty": False}
    other.write_text("2\n")
    assert provenance.commit(source) == {"commit": head, "dirty": True}
    assert provenance.commit(other) == nothing


def test_a_run_is_named_by_its_configuration():
    def suffix(config):
        return provenance.stem(config).partition("-")[2]

    assert suffix(Config()) == suffix(Config())
    assert len({suffix(c) for c in (Config(), Config(seed=1), Config(num_samples=(1,)))}) == 3


def test_only_installed_packages_have_versions(monkeypatch):
    monkeypatch.setattr(provenance, "PACKAGES", ("jax", "no-such-package"))
    assert list(provenance.versions()) == ["jax"]
