"""Every source of a set for real: folders, a server on 127.0.0.1, Debian's package; and everything that goes wrong."""

from __future__ import annotations

import gzip
import multiprocessing
import resource
import shutil
import socketserver
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler
from pathlib import Path

import numpy as np
import pytest

from pipeline import sources
from pipeline.config import DataConfig, FileConfig, RunConfig, compose
from tests.conftest import need

PIXELS = np.random.default_rng(0).integers(0, 256, (50, 4, 4), np.uint8)
CONTENT = sources.idx_bytes(PIXELS)
NAME = "train-images-idx3-ubyte"


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DataConfig:
    """A set of one file that no source has yet; every place to look in lies under tmp_path."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setattr(sources, "DEBIAN_DATASETS", tmp_path / "debian")
    (tmp_path / "hash").write_bytes(CONTENT)
    files = {"train_images": FileConfig(NAME, sources.sha256(tmp_path / "hash"))}
    known = compose(RunConfig, "train", []).data
    places = {"dir": None, "cache": str(tmp_path / "cache"), "urls": [], "debian_package": None, "keras_npz": None}
    return replace(known, name="small", folder="small", files=files, timeout=5.0, **places)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str, list[str]]]:
    """A folder, the address under which it is served, and the requests so far."""
    folder, seen = tmp_path / "served", []
    folder.mkdir()

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *told: object) -> None:
            seen.append(self.path)

        def do_GET(self) -> None:
            if self.path.startswith("/cut/"):
                body = (folder / self.path.rsplit("/", 1)[1]).read_bytes()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body[: len(body) // 2])
            else:
                super().do_GET()

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{server.server_address[1]}", seen
        server.shutdown()


def put(folder: Path, content: bytes = CONTENT) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{NAME}.gz").write_bytes(gzip.compress(content))
    return folder


def fetched(config: DataConfig) -> tuple[np.ndarray, list[str]]:
    told: list[str] = []
    return sources.read_idx(sources.fetch(config, told.append)["train_images"]), told


@pytest.mark.parametrize("place", ["data", "keras/datasets", "debian"])
def test_found_in_each_folder(small: DataConfig, tmp_path: Path, place: str) -> None:
    put(tmp_path / place / "small")
    found, told = fetched(replace(small, dir=str(tmp_path / "data")))
    assert (found == PIXELS).all()
    assert told == []


def test_found_in_keras_archive(small: DataConfig, tmp_path: Path) -> None:
    (tmp_path / "keras/datasets").mkdir(parents=True)
    np.savez(tmp_path / "keras/datasets/small.npz", x_train=PIXELS)
    assert (fetched(replace(small, keras_npz="small.npz"))[0] == PIXELS).all()


def test_downloaded_once(small: DataConfig, served: tuple[Path, str, list[str]]) -> None:
    folder, address, seen = served
    put(folder)
    config = replace(small, urls=[address])
    assert (fetched(config)[0] == PIXELS).all()
    assert (fetched(config)[0] == PIXELS).all()
    assert seen == [f"/{NAME}.gz"]


def test_a_cut_off_or_wrong_download_is_told_and_the_next_one_used(
    small: DataConfig, served: tuple[Path, str, list[str]]
) -> None:
    folder, address, _ = served
    put(folder)
    put(folder / "wrong", b"not the content")
    with pytest.raises(sources.DataError) as refused:
        fetched(replace(small, urls=[f"{address}/cut", f"{address}/wrong", f"{address}/missing"]))
    for part in (
        "/cut/",
        "cut off",
        "/wrong/",
        "SHA-256 is not the published",
        "/missing/",
        "404",
        "CONVSWEEP_DATA_DIR",
    ):
        assert part in str(refused.value)
    assert (fetched(replace(small, urls=[f"{address}/cut", address]))[0] == PIXELS).all()


def test_a_damaged_file_in_the_cache_is_named_and_replaced(small: DataConfig, tmp_path: Path) -> None:
    config = replace(small, dir=str(put(tmp_path / "data" / "small").parent))
    fetched(config)
    path = tmp_path / "cache" / "small" / NAME
    path.write_bytes(CONTENT[:-1] + bytes([CONTENT[-1] ^ 1]))
    found, told = fetched(config)
    assert (found == PIXELS).all()
    assert str(path) in told[0]
    assert "damaged" in told[0]


def test_a_damaged_source_is_never_used(small: DataConfig, tmp_path: Path) -> None:
    put(tmp_path / "data" / "small", CONTENT[:-1] + b"x")
    with pytest.raises(sources.DataError, match="damaged"):
        fetched(replace(small, dir=str(tmp_path / "data")))
    (tmp_path / "data" / "small" / f"{NAME}.gz").write_bytes(b"no gzip at all")
    with pytest.raises(sources.DataError, match="Not a gzipped file"):
        fetched(replace(small, dir=str(tmp_path / "data")))
    assert not (tmp_path / "cache" / "small" / NAME).exists()


def test_a_cache_that_cannot_be_written_says_what_helps(small: DataConfig, tmp_path: Path) -> None:
    put(tmp_path / "data" / "small")
    (tmp_path / "file").write_text("")
    with pytest.raises(sources.DataError, match=r"cannot be used.*CONVSWEEP_CACHE_DIR"):
        fetched(replace(small, dir=str(tmp_path / "data"), cache=str(tmp_path / "file" / "cache")))


def _fetch_with_little_space(config: DataConfig, queue: multiprocessing.Queue[str]) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))  # the kernel refuses to write more than 100 bytes
    try:
        sources.fetch(config)
    except sources.DataError as error:
        queue.put(str(error))


def test_a_full_disk_leaves_no_half_file(small: DataConfig, tmp_path: Path) -> None:
    config = replace(small, dir=str(put(tmp_path / "data" / "small").parent))
    context = multiprocessing.get_context("spawn")
    queue: multiprocessing.Queue[str] = context.Queue()
    process = context.Process(target=_fetch_with_little_space, args=(config, queue))
    process.start()
    assert "Free space or rights there" in queue.get(timeout=60)
    process.join()
    assert [p.name for p in (tmp_path / "cache" / "small").iterdir()] == [".lock"]


def test_two_processes_at_once_fetch_once(small: DataConfig, served: tuple[Path, str, list[str]]) -> None:
    folder, address, seen = served
    put(folder)
    context = multiprocessing.get_context("spawn")
    with context.Pool(2) as pool:
        paths = pool.map(_fetch_quietly, [replace(small, urls=[address])] * 2)
    assert (sources.read_idx(paths[0]) == PIXELS).all()
    assert seen == [f"/{NAME}.gz"]


def _fetch_quietly(config: DataConfig) -> Path:
    return sources.fetch(config, lambda line: None)["train_images"]


@pytest.mark.slow
def test_debians_package_without_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need(bool(shutil.which("apt-get") and shutil.which("dpkg-deb")), "this is no Debian")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    known = compose(RunConfig, "train", []).data
    only_debian = replace(known, dir=None, cache=str(tmp_path / "cache"), urls=[])
    told: list[str] = []
    paths = sources.fetch(only_debian, told.append)
    assert sources.read_idx(paths["train_images"]).shape == (60_000, 28, 28)
    assert told in ([], ["fetching Debian's package dataset-fashion-mnist"])
    assert sorted(p.name for p in (tmp_path / "cache/fashion-mnist").iterdir()) == sorted(
        [".lock", *(p.name for p in paths.values())]
    )
