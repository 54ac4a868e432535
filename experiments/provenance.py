"""What a number depends on besides the code in front of you: configuration, versions, device, commit."""

import dataclasses
import datetime
import hashlib
import importlib.metadata
import json
import os
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

PACKAGES = (
    *("vi-jax", "jax", "jaxlib", "flax", "optax", "distrax", "chex", "tfp-nightly"),
    *("numpy", "scipy", "scikit-learn", "pandas", "matplotlib", "orbax-checkpoint", "blackjax"),
    *("numpyro", "torch", "pyro-ppl"),
)
JAX_FLAGS = (
    "jax_enable_x64",
    "jax_default_matmul_precision",
    "jax_default_prng_impl",
    "jax_threefry_partitionable",
    "jax_numpy_dtype_promotion",
    "jax_debug_nans",
    "jax_enable_compilation_cache",
    "jax_compilation_cache_dir",
)
ENVIRONMENT = ("XLA_FLAGS", "JAX_PLATFORMS", "LIBTPU_INIT_ARGS", "OMP_NUM_THREADS", "LD_PRELOAD")


def now() -> datetime.datetime:
    """The time, in UTC."""
    return datetime.datetime.now(datetime.UTC)


def versions() -> dict[str, str]:
    """Returns the versions of the installed packages that results depend on."""
    installed = {}
    for name in PACKAGES:
        try:
            installed[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return installed


def jax_flag(name: str) -> Any:
    """Returns the value of a JAX flag; None in a JAX that has no such flag."""
    return getattr(jax.config, name, None)


def device() -> dict[str, Any]:
    """Returns the accelerators of this process, and its host. Starts the JAX backend."""
    devices = jax.devices()
    return {
        "platform": devices[0].platform,
        "kind": devices[0].device_kind,
        "count": len(devices),
        "processes": jax.process_count(),
        "host": platform.platform(),
        "cpu_count": os.cpu_count(),
        "cpu": cpu(),
    }


def cpu() -> str:
    """Returns what the processor calls itself; "" where no one says."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())


def commit(source: Path) -> dict[str, Any]:
    """Returns the git commit that holds `source`, and whether the checkout differs from it.

    Both are None where there is no git, no checkout, or `source` is not a tracked file of it.
    """

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(source.parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", source.name)
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain"))}
    except (OSError, subprocess.SubprocessError):
        return {"commit": None, "dirty": None}


def stem(config: Any) -> str:
    """Returns the name of a run: UTC time and a short hash of the configuration."""
    text = json.dumps(dataclasses.asdict(config), default=str, sort_keys=True)
    return f"{now():%Y%m%dT%H%M%SZ}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def record(experiment: str, source: Path, config: Any, argv: Sequence[str]) -> dict[str, Any]:
    """Returns the provenance of a run that starts now. Its status is "running" until the run ends."""
    return {
        "experiment": experiment,
        "status": "running",
        "started": now().isoformat(timespec="milliseconds"),
        "config": dataclasses.asdict(config),
        "seed": config.seed,
        "argv": list(argv),
        "git": commit(source),
        "python": platform.python_version(),
        "packages": versions(),
        "device": device(),
        "jax": {name: jax_flag(name) for name in JAX_FLAGS},
        "environment": {name: os.environ[name] for name in ENVIRONMENT if name in os.environ},
    }


def ended(running: dict[str, Any], status: str, message: str = "") -> dict[str, Any]:
    """Returns `running`, ended now: "finished", "interrupted" or "failed", and why."""
    finish = now()
    seconds = (finish - datetime.datetime.fromisoformat(running["started"])).total_seconds()
    reason = {"message": message} if message else {}
    times = {"finished": finish.isoformat(timespec="milliseconds"), "seconds": round(seconds, 3)}
    return running | {"status": status} | reason | times
