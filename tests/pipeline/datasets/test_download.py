"""Every source of a set for real: folders, a server on 127.0.0.1, Debian's package; and everything that goes wrong."""

from __future__ import annotations

import gzip
import multiprocessing
import os
import re
import resource
import shutil
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from hashlib import sha256
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config.checks import ConfigError
from pipeline.config.compose import compose
from pipeline.config.data import DataConfig, FileConfig
from pipeline.config.schema import RunConfig
from pipeline.datasets import download as sources
from pipeline.datasets.cache import DataError
from pipeline.datasets.idx import idx_bytes, read_idx
from tests.conftest import need

PIXELS = np.random.default_rng(0).integers(0, 256, (50, 4, 4), np.uint8)
CONTENT = idx_bytes(PIXELS)
BODY = gzip.compress(CONTENT)
LABELS = idx_bytes(np.arange(50, dtype=np.uint8) % 10)
NAME = "train-images-idx3-ubyte"


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DataConfig:
    """A set of which no source has one file, NAME, yet; every place to look in lies under tmp_path."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setattr(sources, "DEBIAN_DATASETS", tmp_path / "debian")
    cache = tmp_path / "cache" / "small"
    cache.mkdir(parents=True)
    contents = {
        "train_images": (NAME, CONTENT),
        "train_labels": ("train-labels-idx1-ubyte", LABELS),
        "test_images": ("t10k-images-idx3-ubyte", CONTENT),
        "test_labels": ("t10k-labels-idx1-ubyte", LABELS),
    }
    for name, content in contents.values():
        if name != NAME:
            (cache / name).write_bytes(content)
    files = {key: FileConfig(name, sha256(content).hexdigest()) for key, (name, content) in contents.items()}
    places = {"dir": None, "cache": str(tmp_path / "cache"), "urls": [], "debian_package": None, "keras_npz": None}
    sizes = {"shape": [4, 4, 1], "train_size": 50, "test_size": 50}
    published = compose(RunConfig, "train", []).data
    return replace(published, name="small", folder="small", files=files, timeout=5.0, **places, **sizes)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str, list[str]]]:
    """A folder, the address under which it is served, and the requests so far."""
    folder, seen = tmp_path / "served", []
    folder.mkdir()

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *told: object) -> None:
            seen.append(self.path)

        def do_GET(self) -> None:
            manner = getattr(self, self.path.split("/")[1], None)
            with suppress(OSError):  # whoever asked has gone
                manner() if manner else super().do_GET()

        def answer(self, status: int = 200, **headers: str) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()

        def send_without_end(self, part: bytes, pause: float) -> None:
            while not ended.wait(pause):
                self.wfile.write(part)

        def cut(self) -> None:
            self.answer(content_length=str(len(BODY)))
            self.wfile.write(BODY[: len(BODY) // 2])

        def silent(self) -> None:
            ended.wait()

        def drip(self) -> None:
            self.answer()
            self.send_without_end(b"x", 0.02)

        def drip_headers(self) -> None:
            self.wfile.write(b"HTTP/1.0 200 OK\r\nX-Long: ")
            self.send_without_end(b"x", 0.02)

        def endless(self) -> None:
            self.answer()
            self.send_without_end(b"x" * 2**16, 0)

        def huge(self) -> None:
            self.answer(content_length=str(10**15))
            self.wfile.write(BODY)

        def odd_length(self) -> None:
            self.answer(content_length="abc")
            self.wfile.write(BODY)

        def bomb(self) -> None:
            self.answer()
            self.wfile.write(gzip.compress(bytes(10**7)))

        def to_ftp(self) -> None:
            self.answer(302, location="ftp://127.0.0.1/x")

        def to_file(self) -> None:
            self.answer(302, location=(folder / f"{NAME}.gz").as_uri())

        def long_redirect(self) -> None:
            self.answer(302, location=f"/{NAME}.gz")
            self.send_without_end(b"x" * 2**16, 0)

    ended = threading.Event()
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield folder, f"http://127.0.0.1:{server.server_address[1]}", seen
        ended.set()
        server.shutdown()


def put(folder: Path, content: bytes = CONTENT) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{NAME}.gz").write_bytes(gzip.compress(content))
    return folder


def fetched(config: DataConfig) -> tuple[np.ndarray, list[str]]:
    told: list[str] = []
    return read_idx(sources.fetch(config, told.append)["train_images"]), told


@pytest.mark.parametrize("place", ["data", "keras/datasets", "debian"])
def test_found_in_each_folder(small: DataConfig, tmp_path: Path, place: str) -> None:
    put(tmp_path / place / "small")
    folder = str(tmp_path / "data") if place == "data" else None
    found, told = fetched(replace(small, dir=folder))
    assert (found == PIXELS).all()
    assert [line for line in told if "has no" not in line] == []


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
    with pytest.raises(DataError) as refused:
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


@pytest.mark.parametrize(
    ("manner", "why"),
    [
        ("silent", "no answer in 0.3 s|timed out"),
        ("drip", "too slow: "),
        ("drip_headers", "no answer in 0.3 s"),
        ("endless", "too large: more than 66,344 bytes, which is the most"),
        ("huge", "too large: more than 66,344 bytes, which is the most"),
        ("bomb", "too large: more than 66,344 bytes, which is the most"),
        ("to_ftp", "unknown url type: ftp"),
        ("to_file", "file://"),
    ],
)
def test_a_server_that_lies_or_never_ends_is_a_source_that_failed(
    manner: str, why: str, small: DataConfig, served: tuple[Path, str, list[str]]
) -> None:
    folder, address, _ = served
    put(folder)
    hostile, before = replace(small, urls=[f"{address}/{manner}"], timeout=0.3), time.monotonic()
    with pytest.raises(DataError) as refused:
        fetched(hostile)
    assert time.monotonic() - before < 3
    (line,) = (line for line in str(refused.value).splitlines() if f"/{manner}/" in line)
    assert re.search(why, line)
    found, told = fetched(replace(hostile, urls=[*hostile.urls, address]))
    assert (found == PIXELS).all()
    assert any(line.startswith("  which failed: ") and re.search(why, line) for line in told)


@pytest.mark.parametrize("manner", ["odd_length", "long_redirect"])
def test_what_is_odd_about_a_reply_matters_not_where_the_content_is_right(
    manner: str, small: DataConfig, served: tuple[Path, str, list[str]]
) -> None:
    folder, address, _ = served
    put(folder)
    assert (fetched(replace(small, urls=[f"{address}/{manner}"]))[0] == PIXELS).all()


def test_a_server_that_does_not_answer_is_asked_once(
    small: DataConfig, served: tuple[Path, str, list[str]], tmp_path: Path
) -> None:
    for path in (tmp_path / "cache" / "small").iterdir():
        shutil.copy(path, served[0])
        (served[0] / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    put(served[0])
    _, told = fetched(replace(small, urls=[f"{served[1]}/silent", served[1]], timeout=0.3))
    assert len([line for line in told if "/silent/" in line]) == 1
    assert len([path for path in served[2] if "/silent/" not in path]) == 4


def test_only_web_addresses_are_opened(small: DataConfig, tmp_path: Path) -> None:
    place = put(tmp_path / "web").as_uri()
    with pytest.raises(DataError, match="unknown url type: file"):
        fetched(replace(small, urls=[place]))


def test_a_damaged_file_in_the_cache_is_named_and_replaced(small: DataConfig, tmp_path: Path) -> None:
    config = replace(small, dir=str(put(tmp_path / "data" / "small").parent))
    fetched(config)
    path = tmp_path / "cache" / "small" / NAME
    path.write_bytes(CONTENT[:-1] + bytes([CONTENT[-1] ^ 1]))
    found, told = fetched(config)
    assert (found == PIXELS).all()
    assert any(f"{path} is damaged" in line for line in told)


def test_a_damaged_source_is_never_used(small: DataConfig, tmp_path: Path) -> None:
    put(tmp_path / "data" / "small", CONTENT[:-1] + b"x")
    with pytest.raises(DataError, match="damaged"):
        fetched(replace(small, dir=str(tmp_path / "data")))
    (tmp_path / "data" / "small" / f"{NAME}.gz").write_bytes(b"no gzip at all")
    with pytest.raises(DataError, match="Not a gzipped file"):
        fetched(replace(small, dir=str(tmp_path / "data")))
    assert not (tmp_path / "cache" / "small" / NAME).exists()


def _fetch_with_little_space(config: DataConfig, queue: multiprocessing.Queue[str]) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))  # the kernel refuses to write more than 100 bytes
    try:
        sources.fetch(config, lambda line: None)
    except DataError as error:
        queue.put(str(error))


def test_a_full_disk_leaves_no_half_file(small: DataConfig, tmp_path: Path) -> None:
    config = replace(small, dir=str(put(tmp_path / "data" / "small").parent))
    context = multiprocessing.get_context("spawn")
    queue: multiprocessing.Queue[str] = context.Queue()
    process = context.Process(target=_fetch_with_little_space, args=(config, queue))
    process.start()
    assert "Free space or rights there" in queue.get(timeout=60)
    process.join()
    assert {p.name for p in (tmp_path / "cache" / "small").iterdir()} == {
        ".lock",
        *(file.name for file in (small.files or {}).values() if file.name != NAME),
    }


def test_two_processes_at_once_fetch_once(small: DataConfig, served: tuple[Path, str, list[str]]) -> None:
    folder, address, seen = served
    put(folder)
    context = multiprocessing.get_context("spawn")
    with context.Pool(2) as pool:
        paths = pool.map(_fetch_quietly, [replace(small, urls=[address])] * 2)
    assert (read_idx(paths[0]) == PIXELS).all()
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
    assert read_idx(paths["train_images"]).shape == (60_000, 28, 28)
    assert told in ([], ["fetching Debian's package dataset-fashion-mnist"])
    assert sorted(p.name for p in (tmp_path / "cache/fashion-mnist").iterdir()) == sorted(
        [".lock", *(p.name for p in paths.values())]
    )


@pytest.mark.parametrize(
    ("place", "missing"),
    [
        ("nowhere", "there is no folder {0}/nowhere;"),
        ("data", "there is no folder {0}/data/small;"),
        ("partly", "{0}/partly/small has no train-labels-idx1-ubyte, t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte;"),
    ],
)
def test_a_data_folder_without_the_set_is_told(small: DataConfig, tmp_path: Path, place: str, missing: str) -> None:
    put(tmp_path / "keras/datasets/small")
    put(tmp_path / "partly/small")
    (tmp_path / "data").mkdir()
    for _ in range(2):  # where all is in the cache, too
        found, told = fetched(replace(small, dir=str(tmp_path / place)))
        assert (found == PIXELS).all()
        assert [missing.format(tmp_path) in line and "small is taken from elsewhere" in line for line in told] == [True]


@pytest.mark.parametrize("value", ["/my.npz", "my/own.npz", "../my.npz", "~/my.npz", "", ".."])
@pytest.mark.parametrize("key", ["keras_npz", "folder"])
def test_a_path_is_no_name_of_an_archive_or_folder(key: str, value: str) -> None:
    with pytest.raises(ConfigError, match=f"data.{key}=.* a dataset of your own needs a file in conf/data/"):
        compose(RunConfig, "train", [f"data.{key}='{value}'"])


@pytest.mark.parametrize("content", [b"", b"no archive", BODY])
def test_an_archive_that_is_none_is_a_source_that_failed(content: bytes, small: DataConfig, tmp_path: Path) -> None:
    (tmp_path / "keras/datasets").mkdir(parents=True)
    (tmp_path / "keras/datasets/small.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"small\.npz: File is not a zip file"):
        fetched(replace(small, keras_npz="small.npz"))
    np.savez(tmp_path / "keras/datasets/small.npz", x_train=np.zeros((5000, 4, 4), np.uint8))
    with pytest.raises(DataError, match=r"small\.npz: too large"):
        fetched(replace(small, keras_npz="small.npz"))


def test_what_is_no_regular_file_is_not_opened(small: DataConfig, tmp_path: Path) -> None:
    folder = put(tmp_path / "data" / "small")
    (folder / f"{NAME}.gz").unlink()
    os.mkfifo(folder / f"{NAME}.gz")
    os.mkfifo(tmp_path / "cache" / "small" / NAME)
    config = replace(small, dir=str(tmp_path / "data"))
    with pytest.raises(DataError, match="it is no regular file"):
        fetched(config)
    put(tmp_path / "keras/datasets/small")
    assert (fetched(config)[0] == PIXELS).all()


@pytest.mark.parametrize("cache", ["file", "file/within", "/proc/nothing", "loop"])
def test_a_cache_that_cannot_be_used_is_one_message(small: DataConfig, tmp_path: Path, cache: str) -> None:
    put(tmp_path / "data" / "small")
    (tmp_path / "file").write_text("")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(DataError, match=r"^the cache .* cannot be used: .*CONVSWEEP_CACHE_DIR=FOLDER$"):
        fetched(replace(small, dir=str(tmp_path / "data"), cache=str(tmp_path / cache)))


def test_a_cache_may_be_relative(small: DataConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    put(tmp_path / "keras/datasets/small")
    assert sources.fetch(replace(small, cache="cache"))["train_images"] == tmp_path / "cache" / "small" / NAME


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0\0\x08",
        b"\0\0\x08\0",
        b"\0\0\x0d\x01\0\0\0\x01\0\0\0\0",  # floats
        CONTENT[:-1],
        CONTENT + b"\0",
        CONTENT[:7],
        b"\0\0\x08\x03" + b"\xff" * 12,
        b"no image",
    ],
)
def test_what_is_no_idx_file_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(DataError, match=f"{tmp_path}/x (is no IDX file|has .* bytes)"):
        read_idx(tmp_path / "x")


@settings(deadline=None, max_examples=50)
@given(st.binary(max_size=60), st.integers(0, 4))
def test_any_bytes_are_an_idx_file_or_refused(tail: bytes, axes: int) -> None:
    content = bytes([0, 0, 8, axes]) + tail
    with TemporaryDirectory() as folder:
        path = Path(folder, "x")
        path.write_bytes(content)
        with suppress(DataError):
            assert idx_bytes(np.array(read_idx(path))) == content


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=4))
def test_idx_bytes_are_read_back(shape: list[int]) -> None:
    array = np.arange(int(np.prod(shape)), dtype=np.uint8).reshape(shape)
    with TemporaryDirectory() as folder:
        path = Path(folder, "x")
        path.write_bytes(idx_bytes(array))
        found = np.array(read_idx(path))
    assert found.shape == array.shape
    assert (found == array).all()
