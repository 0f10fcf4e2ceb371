"""What this machine has: cores, processor, and the number format that it computes natively."""

from __future__ import annotations

import os
import platform
from functools import cache
from pathlib import Path

BFLOAT16_FLAGS = {"amx_bf16", "avx512_bf16", "bf16"}  # the last is Arm's


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def _cpuinfo() -> dict[str, str]:
    """First value of every key of Linux's /proc/cpuinfo; empty elsewhere."""
    path = Path("/proc/cpuinfo")
    pairs = [line.split(":", 1) for line in path.read_text().splitlines() if ":" in line] if path.exists() else []
    return {key.strip(): value.strip() for key, value in reversed(pairs)}


def processor() -> str:
    """The processor's name."""
    return _cpuinfo().get("model name") or platform.processor() or platform.machine()


def resolve_precision(asked: str) -> str:
    """`asked`, with `auto` decided: mixed_bfloat16 where the processor has instructions for it, else float32."""
    if asked != "auto":
        return asked
    flags = _cpuinfo().get("flags") or _cpuinfo().get("Features") or ""
    return "mixed_bfloat16" if BFLOAT16_FLAGS & set(flags.split()) else "float32"
