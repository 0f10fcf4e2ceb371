"""A check-up of this machine: versions, cores, number format, GPU, disk. Writes nothing."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from pipeline.system import hardware
from pipeline.system.messages import one_line
from pipeline.system.notes import Note

LIBRARIES = ("tensorflow", "keras", "mlflow", "optuna", "hydra-core")
LOW_BYTES = 2**30  # a sweep's results and checkpoints are tens to hundreds of megabytes
GPU_SECONDS = 60  # TensorFlow's import, and the start of the driver
LIST_GPUS = "import tensorflow as tf; print('GPUs:', *(gpu.name for gpu in tf.config.list_physical_devices('GPU')))"


def version_notes() -> Iterator[Note]:
    """Yield the versions of Python and the libraries, and every package that is not as convsweep requires it."""
    yield Note(f"Python {platform.python_version()} ({sys.executable})")
    try:
        yield Note(f"convsweep {version('convsweep')}")
        required = requires("convsweep") or []
    except PackageNotFoundError:
        yield Note("convsweep is run from its folder, not installed: what it requires is not known")
        required = []
    yield Note(", ".join(f"{name} {_version(name)}" for name in LIBRARIES))
    yield from _mismatches(required)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _mismatches(required: list[str]) -> Iterator[Note]:
    from packaging.requirements import Requirement

    for requirement in map(Requirement, required):
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        found = _version(requirement.name)
        if found == "not installed" or not requirement.specifier.contains(found, prereleases=True):
            wanted = f"{requirement.name}{requirement.specifier}"
            yield Note(f"{requirement.name} is {found}, but {wanted} is required", f"pip install '{wanted}'")


def core_notes() -> Iterator[Note]:
    """Yield how many cores there are, and how many of them this process may use."""
    import psutil

    physical, logical = psutil.cpu_count(logical=False), os.cpu_count()
    yield Note(f"{hardware.processor()}: {physical or 'unknown'} physical, {logical} logical cores")
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else logical
    quota = hardware.QUOTA.read_text().strip() if hardware.QUOTA.exists() else "max"
    limit = "no limit by a container" if quota.startswith("max") else f"a container's limit of {quota} microseconds"
    yield Note(f"{hardware.cores()} are used: {allowed} by affinity, {limit}")


def precision_notes() -> Iterator[Note]:
    """Yield what `trainer.precision=auto` is here, and why."""
    precision = hardware.resolve_precision("auto")
    if hardware.has_gpu():
        least = f"compute capability {hardware.gpu_capability():g}, bfloat16 from {hardware.BFLOAT16_CAPABILITY:g} on"
        why = f"the GPU has {least}"
    elif precision == "float32":
        why = f"the processor has none of {', '.join(sorted(hardware.BFLOAT16_FLAGS))}"
    else:
        why = f"the processor has {', '.join(sorted(hardware.bfloat16_flags()))}"
    yield Note(f"trainer.precision=auto is {precision}: {why}")


def gpu_notes() -> Iterator[Note]:
    """Yield whether a GPU is used, and why not.

    Where there seems to be one, TensorFlow is asked, in a process of its own: what it finds depends on more than files.
    """
    if not hardware.NVIDIA_DRIVER.exists():
        yield Note("no GPU: there is no NVIDIA driver")
        return
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    if hidden in ("", "-1"):
        yield Note(f"no GPU: CUDA_VISIBLE_DEVICES={hidden} hides it")
        return
    if not hardware.has_gpu():
        command = f"pip install 'tensorflow[and-cuda]=={_version('tensorflow')}'"
        yield Note("no GPU: there is an NVIDIA driver, but TensorFlow finds no cuDNN", command)
        return
    asked = [sys.executable, "-c", LIST_GPUS]
    reply = subprocess.run(asked, capture_output=True, text=True, timeout=GPU_SECONDS, check=False)
    names = next((line for line in reply.stdout.splitlines() if line.startswith("GPUs:")), "GPUs:").split()[1:]
    if names:
        yield Note(f"TensorFlow computes on {', '.join(names)}")
    else:
        last = (reply.stderr.strip().splitlines() or ["it does not say why"])[-1]
        command = f"pip install 'tensorflow[and-cuda]=={_version('tensorflow')}'"
        yield Note(f"driver and cuDNN are there, but TensorFlow finds no GPU: {last[:200]}", command)


def disk_notes(folder: Path, what: str, mend: str) -> Iterator[Note]:
    """Yield how much space is left for a folder, which need not exist yet; `mend` is what frees some."""
    place = next(path for path in (folder, *folder.parents) if path.exists())
    try:
        usage = shutil.disk_usage(place)
    except OSError as error:
        yield Note(f"{what} {folder}: {one_line(error)}", mend)
        return
    text = f"{what} {folder}: {usage.free / 2**30:,.1f} of {usage.total / 2**30:,.1f} GiB are free"
    yield Note(text, mend if usage.free < LOW_BYTES else "")
    if not os.access(place, os.W_OK):
        yield Note(f"{what} {folder}: {place} may not be written", f"chmod u+w '{place}'")
