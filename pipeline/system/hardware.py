"""What this machine has: cores, processor, GPU, and the number format that it computes natively."""

from __future__ import annotations

import os
import platform
import subprocess
from ctypes.util import find_library
from functools import cache
from importlib.util import find_spec
from math import ceil
from pathlib import Path

BFLOAT16_FLAGS = {"amx_bf16", "avx512_bf16", "bf16"}  # the last is Arm's
BFLOAT16_CAPABILITY = 8.0  # compute capability of NVIDIA's first GPUs with bfloat16 (Ampere, 2020)
QUOTA = Path("/sys/fs/cgroup/cpu.max")  # a container's, as in docker --cpus=2
CPUINFO = Path("/proc/cpuinfo")
NVIDIA_DRIVER = Path("/proc/driver/nvidia")


def cores() -> int:
    """Processor cores that this process may use: its affinity, and a container's quota."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota, period = QUOTA.read_text().split() if QUOTA.exists() else ("max", "")
    return allowed if quota == "max" else max(1, min(allowed, ceil(int(quota) / int(period))))


def has_gpu() -> bool:
    """Whether TensorFlow will compute on an NVIDIA GPU: there, not hidden by CUDA_VISIBLE_DEVICES, and with cuDNN."""
    return NVIDIA_DRIVER.exists() and os.environ.get("CUDA_VISIBLE_DEVICES") not in ("", "-1") and _has_cudnn()


@cache
def _has_cudnn() -> bool:
    """Whether TensorFlow finds cuDNN: installed by pip, as with tensorflow[and-cuda], or with the system."""
    try:
        installed = find_spec("nvidia.cudnn")
    except ModuleNotFoundError:
        installed = None
    return bool(installed or find_library("cudnn"))


@cache
def gpu_capability() -> float:
    """The least compute capability of the GPUs; 0 where nvidia-smi does not tell."""
    query = ["nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader"]
    try:
        output = subprocess.run(query, capture_output=True, text=True, check=True, timeout=20).stdout
        return min(float(line) for line in output.split())
    except (OSError, ValueError, subprocess.SubprocessError):
        return 0.0


@cache
def _cpuinfo() -> dict[str, str]:
    """First value of every key of Linux's /proc/cpuinfo; empty elsewhere."""
    lines = CPUINFO.read_text().splitlines() if CPUINFO.exists() else []
    pairs = [line.split(":", 1) for line in lines if ":" in line]
    return {key.strip(): value.strip() for key, value in reversed(pairs)}


def processor() -> str:
    """The processor's name."""
    return _cpuinfo().get("model name") or platform.processor() or platform.machine()


def resolve_precision(asked: str, auto: str | None = None) -> str:
    """`asked`, with `auto` decided: as given, else mixed_bfloat16 where GPU or processor have instructions for it."""
    if asked != "auto":
        return asked
    if auto:
        return auto
    is_native = gpu_capability() >= BFLOAT16_CAPABILITY if has_gpu() else bfloat16_flags()
    return "mixed_bfloat16" if is_native else "float32"


def bfloat16_flags() -> set[str]:
    """The processor's flags for instructions that compute in bfloat16."""
    flags = _cpuinfo().get("flags") or _cpuinfo().get("Features") or ""
    return BFLOAT16_FLAGS & set(flags.split())
