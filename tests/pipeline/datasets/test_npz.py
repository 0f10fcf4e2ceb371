from __future__ import annotations

import hashlib
import io
import os
import pickle
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest

from pipeline.config.checks import ConfigError
from pipeline.config.compose import compose
from pipeline.config.data import DataConfig
from pipeline.config.groups import use_config_folder
from pipeline.config.schema import RunConfig
from pipeline.datasets import arrays as kept_arrays
from pipeline.datasets import npz
from pipeline.datasets.arrays import WrongDataError
from pipeline.datasets.cache import DataError
from pipeline.datasets.npz import npz_arrays

X, Y = np.arange(30.0).reshape(10, 3), np.arange(10) % 2
SETS: dict[str, Any] = {"x_train": X, "y_train": Y, "x_test": X[:4], "y_test": Y[:4]}


@pytest.fixture
def own(empty: Path) -> Callable[..., DataConfig]:
    """Composes the config of mine.npz, with a cache of its own."""

    def composed(*overrides: str) -> DataConfig:
        named = ["data=npz", "data.name=mine", f"data.cache={empty / 'cache'}", "model=dense", *overrides]
        return compose(RunConfig, "train", named).data

    return composed


def save(path: Path, age: float = 60.0, **changed: Any) -> str:
    """Write an .npz file as if it had been written some seconds ago; return its SHA-256."""
    np.savez(path, **(SETS | changed))
    os.utime(path, (time.time() - age,) * 2)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def quiet(line: str) -> None:
    """Say nothing."""


def count(monkeypatch: pytest.MonkeyPatch, name: str, module: Any) -> list[Any]:
    """Return the list to which every call of a function is added."""
    calls, function = list[Any](), getattr(module, name)

    def counted(*args: Any) -> Any:
        calls.append(args)
        return function(*args)

    monkeypatch.setattr(module, name, counted)
    return calls


def test_a_file_is_hashed_and_read_once(own: Callable[..., DataConfig], monkeypatch: pytest.MonkeyPatch) -> None:
    sha256 = save(Path("mine.npz"))
    hashed, read = count(monkeypatch, "file_digest", hashlib), count(monkeypatch, "_read", npz)
    for _ in range(3):
        monkeypatch.setattr(kept_arrays, "_opened", {})  # as in another process
        arrays, found = npz_arrays(own("data.path=mine.npz"), quiet)
        assert found == sha256
        assert (arrays["x_train"] == X).all()
        assert isinstance(arrays["x_train"], np.memmap)
    assert (len(hashed), len(read)) == (1, 1)


def test_a_changed_file_is_read_again(own: Callable[..., DataConfig]) -> None:
    data = own("data.path=mine.npz")
    for age in (0.0, 0.0, 60.0, 50.0):  # the first two within a tick of the clock, of the same size
        sha256 = save(Path("mine.npz"), age, y_train=Y + int(age))
        arrays, found = npz_arrays(data, quiet)
        assert found == sha256
        assert (arrays["y_train"] == Y + int(age)).all()


def test_a_moved_file_is_the_same_data(own: Callable[..., DataConfig]) -> None:
    save(Path("mine.npz"))
    before = npz_arrays(own("data.path=mine.npz"), quiet)[1]
    Path("mine.npz").rename("yours.npz")
    assert npz_arrays(own("data.path=yours.npz"), quiet)[1] == before


def test_a_damaged_cache_is_made_again(own: Callable[..., DataConfig], monkeypatch: pytest.MonkeyPatch) -> None:
    sha256, told = save(Path("mine.npz")), list[str]()
    npz_arrays(own("data.path=mine.npz"), quiet)
    (Path("cache/arrays") / sha256 / "x_train.npy").write_bytes(b"nothing")
    monkeypatch.setattr(kept_arrays, "_opened", {})
    assert (npz_arrays(own("data.path=mine.npz"), told.append)[0]["x_train"] == X).all()
    assert "is damaged: it is made again" in told[0]


class Opened:
    """Would be made by unpickling it."""

    made = False

    def __reduce__(self) -> Any:
        return (setattr, (Opened, "made", True))


def write_damaged(path: Path) -> None:
    save(path)
    content = bytearray(path.read_bytes())
    content[200:210] = b"\xff" * 10
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "mine.npz cannot be read: No such file or directory.*folder of the project"),
        (lambda path: path.mkdir(), "cannot be read: it is no regular file"),
        (lambda path: os.mkfifo(path), "cannot be read: it is no regular file"),
        (lambda path: path.write_bytes(b""), "it is damaged, or no .npz file. np.savez"),
        (lambda path: path.write_bytes(pickle.dumps(Opened())), "it is damaged, or no .npz file"),
        (lambda path: save(path) and path.write_bytes(path.read_bytes()[:500]), "it is damaged, or no .npz file"),
        (write_damaged, "x_train cannot be read: .*The file is damaged"),
        (lambda path: save(path, y_test=np.array([Opened()], object)), "y_test holds pickled Python objects"),
        (lambda path: np.savez(path, x_train=X, labels=Y), "has no y_train, x_test, y_test; it has x_train, labels"),
        (lambda path: save(path, x_train=X * np.nan), "mine.npz: x_train has nan in row 0"),
        (lambda path: save(path, y_test=Y[:3]), r"mine.npz: y_test has the shape \(3,\); 4 examples need \(4,\)"),
    ],
)
def test_files_that_cannot_be_used_are_refused(
    own: Callable[..., DataConfig], make: Callable[[Path], object], message: str
) -> None:
    make(Path("mine.npz"))
    with pytest.raises(WrongDataError, match=f"data=mine: .*{message}"):
        npz_arrays(own("data.path=mine.npz"), quiet)
    assert not Opened.made
    assert not list(Path("cache").rglob("*.npy"))


def test_a_file_other_than_the_config_says_is_refused(own: Callable[..., DataConfig]) -> None:
    sha256 = save(Path("mine.npz"))
    with pytest.raises(WrongDataError, match=f"is another file, or damaged: its SHA-256 is {sha256}, not 00"):
        npz_arrays(own("data.path=mine.npz", "data.sha256='" + "0" * 64 + "'"), quiet)
    assert npz_arrays(own("data.path=mine.npz", f"data.sha256='{sha256}'"), quiet)[1] == sha256


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([], "data.path=null is not allowed: data.path must be the path of an .npz file, or data.url its address"),
        (["data.path=a.npz", "data.url='https://b.org/c.npz'"], "data.url=.* must be null with data.path=a.npz"),
        (["data.url='https://b.org/c.npz'"], "data.sha256=null is not allowed: data.sha256 must be the SHA-256"),
        (["data.url='ftp://b.org/c.npz'", "data.sha256=" + "a" * 64], "data.url=.* must be an address as in https"),
        (["data.path=a.npz", "data.sha256=abc"], "data.sha256=abc is not allowed: data.sha256 must be 64 digits"),
        (["data.path=a.npz", "data.loader=a:b"], "data.loader=a:b is not allowed: data.loader must be null with"),
        (["data.path=a.npz", "data.shape=[1,2,3,4,5]"], "data.shape=.* must be one to four sizes"),
    ],
)
def test_a_config_from_which_no_file_can_be_had_is_refused(
    own: Callable[..., DataConfig], overrides: list[str], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        own(*overrides)


class Server(BaseHTTPRequestHandler):
    content = b""
    requests = 0

    def do_GET(self) -> None:
        Server.requests += 1
        self.send_response(200)
        self.send_header("Content-Length", str(len(Server.content)))
        self.end_headers()
        self.wfile.write(Server.content)

    def log_message(self, *words: Any) -> None:
        return None


def test_a_file_elsewhere_is_fetched_once_and_checked(
    own: Callable[..., DataConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = io.BytesIO()
    np.savez(made, **SETS)
    Server.content, Server.requests = made.getvalue(), 0
    sha256 = hashlib.sha256(Server.content).hexdigest()
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        url = f"data.url='http://127.0.0.1:{server.server_port}/mine.npz'"
        with pytest.raises(WrongDataError, match=f"comes from .* is {sha256}, not 00"):
            npz_arrays(own(url, "data.sha256='" + "0" * 64 + "'"), quiet)
        for _ in range(2):
            monkeypatch.setattr(kept_arrays, "_opened", {})
            arrays, found = npz_arrays(own(url, f"data.sha256='{sha256}'"), quiet)
            assert found == sha256
            assert (arrays["x_test"] == X[:4]).all()
        server.shutdown()
    assert Server.requests == 2
    with pytest.raises(DataError, match=r"data=mine cannot be had: http://127.0.0.1:.*refused"):
        npz_arrays(own(url, "data.sha256='" + "1" * 64 + "'"), quiet)


def test_a_relative_path_begins_in_the_folder_of_the_project(
    project: Callable[[str, str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = f"defaults: [npz]\nname: mine\npath: mine.npz\ncache: {tmp_path / 'cache'}\n"
    conf = project("data/mine.yaml", text).parents[1]
    sha256 = save(tmp_path / "mine.npz")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    use_config_folder(conf)
    assert npz_arrays(compose(RunConfig, "train", ["data=mine"]).data, quiet)[1] == sha256
