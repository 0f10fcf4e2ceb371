"""What `predict` makes of odd words and odd files; a stand-in answers for the model."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from pipeline.config.checks import ConfigError
from pipeline.config.schema import RunConfig
from pipeline.inference.predict import check_figure, check_words, predict
from sweeps.cli.main import main

Compose = Callable[..., RunConfig]
LINE = ["data=line", "model=line", "trainer=line", "optimizer=sgd"]


def first_class(x: np.ndarray) -> np.ndarray:
    return np.eye(10)[np.zeros(len(x), int)]


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(3):
        Image.new("L", (8, 8), number).save(folder / f"{number}.png")
    return folder


def said(config: RunConfig, words: list[str], answer: Callable[[np.ndarray], np.ndarray]) -> tuple[int, list[str]]:
    """The exit code and the lines of `predict`."""
    saved: Any = SimpleNamespace(
        config=config, run=SimpleNamespace(run_id="0123456789", tags={}), net=SimpleNamespace(predict_on_batch=answer)
    )
    console = Console(width=140, markup=False)
    with console.capture() as capture:
        code = predict(saved, words, console)
    return code, capture.get().splitlines()


def test_odd_files_are_skipped_with_their_reason(images: Path, config: Compose) -> None:
    whole = (images / "0.png").read_bytes()
    (images / "a\x1b[31m\nb.png").write_bytes(whole)
    (images / "-dash.png").write_bytes(whole)
    (images / "notes.txt").write_text("not looked at")
    (images / "drawing.eps").write_text("not looked at")
    (images / "empty.png").touch()
    (images / os.fsdecode(b"\xff.png")).write_text("no image")
    os.mkfifo(images / "pipe.png")
    code, (_, *lines) = said(config(), [str(images), str(images / "notes.txt")], first_class)
    assert code == 1
    assert len(lines) == 10
    assert all(line.isprintable() for line in lines)
    assert f"{images}/a\\x1b[31m\\nb.png: 0 1.0000, 1 0.0000, 2 0.0000" in lines
    assert f"{images}/-dash.png: 0 1.0000, 1 0.0000, 2 0.0000" in lines
    skipped = [line for line in lines if line.startswith(f"skipped: {images}/")]
    for name, why in (
        ("empty.png", "it is empty"),
        ("pipe.png", "it is no regular file"),
        ("\\udcff.png", "not recognized as PNG"),
        ("notes.txt", "not recognized as PNG"),
    ):
        assert any(f"{name}: no image that can be read ({why}" in line for line in skipped), name


def test_a_file_without_permission_is_skipped(images: Path, config: Compose, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*given: object, **named: object) -> None:
        raise PermissionError(13, "Permission denied", str(images / "0.png"))

    monkeypatch.setattr(Image, "open", refuse)
    code, lines = said(config(), [str(images / "0.png")], first_class)
    assert (code, lines[2:]) == (1, [f"skipped: {images}/0.png: no image that can be read (Permission denied)"])


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/null", "/dev/stdin"])
def test_a_device_is_skipped(device: str, config: Compose) -> None:
    assert said(config(), [device], first_class)[0] == 1


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("nowhere.png", "there is no file or folder nowhere.png"),
        ("x\x1b[31m\n.png", r"there is no file or folder x\x1b[31m\n.png"),
        ("~nobody-of-this-name/x.png", "there is no file or folder ~nobody-of-this-name/x.png"),
        ("a" * 5000, "File name too long"),
        ("loop", "cannot be read: "),
        ("", "there is no file or folder "),
    ],
)
def test_words_that_name_nothing_are_refused(
    word: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop").symlink_to("loop")
    word = word or f"{tmp_path}/nothing\x07"
    assert main(["predict", "some@best", word]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.strip().isprintable()


def test_what_begins_with_a_dash_stands_after_two(
    images: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(images)
    (images / "0.png").rename("-x.png")
    for words in (["./-x.png"], ["-3"], ["1e3"], ["--", "-x.png", "-1e3"]):
        assert main(["predict", "some@best", *words]) == 2
        assert "there is no store in" in capsys.readouterr().err, words
    with pytest.raises(SystemExit) as ended:
        main(["predict", "some@best", "-x.png"])
    assert ended.value.code == 2


def test_numbers_are_taken_as_they_are_written(config: Compose) -> None:
    words = ["7", "1e3", "-2.5e-1", "+.5", "-0"]
    check_words(words)
    code, lines = said(config(base=LINE), words, lambda x: x * 2)
    assert code == 0
    assert lines == ["7: 14.0000", "1e3: 2000.0000", "-2.5e-1: -0.5000", "+.5: 1.0000", "-0: -0.0000"]


@pytest.mark.parametrize("word", ["nan", "inf", "-inf", "1e39", "1e999", "seven", "1,5", "0x10", "\x1b"])
def test_what_is_no_finite_number_is_refused(word: str, config: Compose) -> None:
    with pytest.raises(ConfigError, match="is not allowed: this model takes finite numbers"):
        said(config(base=LINE), ["7", word], lambda x: x)


def test_arrays_are_examples(config: Compose, tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", np.zeros((8, 8, 1)))
    np.save(tmp_path / "three.npy", np.zeros((3, 8, 8, 1), np.uint8))
    code, lines = said(config(), [str(tmp_path / "one.npy"), str(tmp_path / "three.npy")], first_class)
    assert code == 0
    assert [line.rpartition("/")[2] for line in lines] == ["one.npy[0]: 0 1.0000, 1 0.0000, 2 0.0000"] + [
        f"three.npy[{number}]: 0 1.0000, 1 0.0000, 2 0.0000" for number in range(3)
    ]


def test_arrays_and_images_are_given_together(config: Compose, tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", np.zeros((8, 8, 1)))
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "image.png")
    code, lines = said(config(), [str(tmp_path / "image.png"), str(tmp_path / "one.npy")], first_class)
    assert code == 0
    said_of = [line.rpartition("/")[2] for line in lines]
    assert "one.npy[0]: 0 1.0000, 1 0.0000, 2 0.0000" in said_of
    assert "image.png: 0 1.0000, 1 0.0000, 2 0.0000" in said_of


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((8, 8)), r"holds float64 of the shape \(8, 8\); the model takes numbers of the shape \(8, 8, 1\)"),
        (np.zeros((0, 8, 8, 1)), r"of the shape \(0, 8, 8, 1\)"),
        (np.full((8, 8, 1), "a"), "holds <U1"),
        (np.full((8, 8, 1), None), "cannot be read as an array: Object arrays cannot be loaded"),
    ],
)
def test_other_arrays_are_refused(config: Compose, tmp_path: Path, array: np.ndarray, message: str) -> None:
    np.save(tmp_path / "array.npy", array, allow_pickle=True)
    with pytest.raises(ConfigError, match=message):
        said(config(), [str(tmp_path / "array.npy")], first_class)


def test_a_figure_shows_the_images_beside_what_is_said(images: Path, config: Compose, tmp_path: Path) -> None:
    saved: Any = SimpleNamespace(
        config=config(),
        run=SimpleNamespace(run_id="0123456789", tags={}),
        net=SimpleNamespace(predict_on_batch=first_class),
    )
    np.save(tmp_path / "more.npy", np.zeros((2, 8, 8, 1)))
    console = Console(width=140, markup=False)
    with console.capture() as capture:
        assert predict(saved, [str(images), str(tmp_path / "more.npy")], console, tmp_path / "said.png") == 0
    assert capture.get().splitlines()[-1] == f"figure: {tmp_path / 'said.png'}"
    with Image.open(tmp_path / "said.png") as figure:
        assert min(figure.size) > 100


@pytest.mark.parametrize(("name", "message"), [("said.gif", "ends with .png"), ("nowhere/said.png", "no folder")])
def test_a_figure_that_cannot_be_written_is_refused_first(name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        check_figure(tmp_path / name)


def test_numbers_cannot_be_drawn(config: Compose) -> None:
    saved: Any = SimpleNamespace(config=config(*LINE), run=SimpleNamespace(run_id="0123456789", tags={}))
    with pytest.raises(ConfigError, match="takes no images that could be drawn"):
        predict(saved, ["7"], Console(quiet=True), Path("said.png"))
