"""What is told of a machine, and what follows from it: on machines that are written down here."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.system import hardware

X86, ARM = "flags\t\t: fpu sse {}\nmodel name : One\n\nflags : other\n", "Features\t: fp asimd {}\n"


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    """Nothing is remembered of another machine, before and after."""
    known = (hardware._cpuinfo, hardware.gpu_capability, hardware._has_cudnn)
    for each in known:
        each.cache_clear()
    yield
    for each in known:
        each.cache_clear()


def machine(monkeypatch: pytest.MonkeyPatch, folder: Path, cpuinfo: str, gpus: str | None = None) -> None:
    """A machine with this /proc/cpuinfo, and what its nvidia-smi prints, if it has one."""
    (folder / "cpuinfo").write_text(cpuinfo)
    monkeypatch.setattr(hardware, "CPUINFO", folder / "cpuinfo")
    monkeypatch.setattr(hardware, "NVIDIA_DRIVER", folder / "nvidia")
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if gpus is not None:
        (folder / "nvidia").mkdir()
        (folder / "nvidia" / "cudnn").mkdir()
        monkeypatch.syspath_prepend(str(folder))
        (folder / "nvidia-smi").write_text(f"#!/bin/sh\nprintf '{gpus}'\n")
        (folder / "nvidia-smi").chmod(0o755)


@pytest.mark.parametrize(
    ("cpuinfo", "gpus", "wanted"),
    [
        (X86.format("amx_bf16"), None, "mixed_bfloat16"),
        (X86.format("avx512f avx512_bf16"), None, "mixed_bfloat16"),
        (X86.format("avx2 avx512f"), None, "float32"),
        (ARM.format("bf16"), None, "mixed_bfloat16"),
        (ARM.format("asimdhp"), None, "float32"),
        ("", None, "float32"),
        (X86.format("avx2"), "8.6\\n", "mixed_bfloat16"),
        (X86.format("avx512_bf16"), "9.0\\n7.5\\n", "float32"),
        (X86.format("avx512_bf16"), "no devices\\n", "float32"),
    ],
)
def test_auto_is_bfloat16_where_it_is_computed_natively(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cpuinfo: str, gpus: str | None, wanted: str
) -> None:
    machine(monkeypatch, tmp_path, cpuinfo, gpus)
    assert hardware.resolve_precision("auto") == wanted
    assert hardware.resolve_precision("float32") == "float32"
    assert hardware.resolve_precision("mixed_bfloat16") == "mixed_bfloat16"


def test_a_gpu_that_tensorflow_cannot_use_decides_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    machine(monkeypatch, tmp_path, X86.format("avx2"), "8.6\\n")
    (tmp_path / "nvidia" / "cudnn").rmdir()
    assert hardware.resolve_precision("auto") == "float32", "without cuDNN it computes on the processor"


def test_a_hidden_gpu_decides_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    machine(monkeypatch, tmp_path, X86.format("avx512_bf16"), "7.5\\n")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert hardware.resolve_precision("auto") == "mixed_bfloat16"


@pytest.mark.parametrize(("told", "most"), [("max 100000\n", 10**6), ("150000 100000\n", 2), ("1000 100000\n", 1)])
def test_a_container_has_the_cores_of_its_quota(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, told: str, most: int
) -> None:
    (tmp_path / "cpu.max").write_text(told)
    monkeypatch.setattr(hardware, "QUOTA", tmp_path / "cpu.max")
    assert hardware.cores() == min(len(os.sched_getaffinity(0)), most)
