from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from pipeline.config.data import DataConfig
from pipeline.config.schema import RunConfig
from pipeline.datasets import dataset as data
from pipeline.datasets.images import ImageError, read_image

Compose = Callable[..., RunConfig]


@pytest.fixture
def folders(tmp_path: Path, config: Compose) -> DataConfig:
    """A small set of red and blue images, 6x6 pixels, as folders."""
    root = tmp_path / "sets" / "colours"
    for part, count in (("train", 4), ("validation", 2)):
        for name, colour in (("red", (250, 0, 0)), ("blue", (0, 0, 250))):
            (root / part / name).mkdir(parents=True)
            for number in range(count):
                Image.new("RGB", (6, 6), colour).save(root / part / name / f"{number}.png")
    base = config(base=["data=horse_or_human", "model=horse_conv"]).data
    told = {"folder": "colours", "shape": [6, 6, 3], "class_names": ["red", "blue"], "train_size": 8, "test_size": 4}
    return replace(base, name="colours", dir=str(tmp_path / "sets"), cache=str(tmp_path / "cache"), **told)


def loaded(config: DataConfig) -> tuple[data.Dataset, list[str]]:
    said: list[str] = []
    return data.load(config, said.append), said


def test_labels_come_from_folder_names(folders: DataConfig) -> None:
    found, said = loaded(folders)
    assert found.train.x.shape == (8, 6, 6, 3)
    assert found.train.y.tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert found.test.y.tolist() == [0, 0, 1, 1]
    assert (found.train.x[0] == [250, 0, 0]).all()
    assert said == ["data=colours: reading 12 images, once"]


def test_images_are_read_once(folders: DataConfig) -> None:
    first, _ = loaded(folders)
    again, said = loaded(folders)
    assert said == []
    assert again.sha256 == first.sha256
    changed = Path(folders.dir or "") / "colours" / "train" / "red" / "0.png"
    Image.new("RGB", (6, 6), (200, 0, 0)).save(changed)
    third, said = loaded(folders)
    assert said == ["data=colours: reading 12 images, once"]
    assert third.sha256 != first.sha256


def test_broken_and_odd_images_are_named_and_stop_nothing(folders: DataConfig) -> None:
    red = Path(folders.dir or "") / "colours" / "train" / "red"
    (red / "0.png").write_bytes((red / "0.png").read_bytes()[:50])
    (red / "notes.txt").write_text("no image")
    (red / ".hidden").write_text("not looked at")
    Image.new("L", (9, 5), 77).save(red / "grey.png")
    for _ in range(2):  # named at every launch, not only at the first
        found, said = loaded(folders)
        told = "\n".join(said)
        assert "left out: " in told
        assert "0.png: no image that can be read" in told
        assert "notes.txt" in told
        assert "1 images were fitted to [6, 6, 3], as red/grey.png (9x5 pixels, colours L)" in told
        assert ".hidden" not in told
        assert found.train.x.shape == (8, 6, 6, 3)
    (red / "grey.png").unlink()
    found, said = loaded(folders)
    assert len(found.train) == 7
    assert "train/ holds 7 images, its config says 8" in "\n".join(said)


def test_a_class_without_images_is_refused(folders: DataConfig) -> None:
    with pytest.raises(data.DataError, match=r"no images of the class green .*there are the folders blue, red"):
        loaded(replace(folders, class_names=["red", "green"]))
    for path in (Path(folders.dir or "") / "colours" / "train" / "red").iterdir():
        path.write_text("broken")
    with pytest.raises(data.DataError, match="no image of red in train/ can be read"):
        loaded(folders)
    assert not list(Path(folders.cache).rglob("arrays.json")), "nothing half read is kept"


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "CMYK", "I;16"])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_kind_of_image_is_read(mode: str, channels: int, tmp_path: Path) -> None:
    path = tmp_path / ("image.tif" if mode == "CMYK" else "image.png")
    image = Image.fromarray(np.full((8, 8), 40000, np.uint16)) if mode == "I;16" else Image.new(mode, (8, 8), 1)
    image.save(path)
    found, _ = read_image(path, (4, 4, channels))
    assert (found.shape, found.dtype) == ((4, 4, channels), np.uint8)
    assert mode != "I;16" or (found == 40000 // 256).all()


def test_a_image_as_large_as_asked_is_not_touched(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "p.png")
    found, odd = read_image(tmp_path / "p.png", (5, 5, 3))
    assert (found == pixels).all()
    assert odd == ""


def test_no_image_says_which_file(tmp_path: Path) -> None:
    (tmp_path / "x.jpg").write_text("hello")
    with pytest.raises(ImageError, match=r"x\.jpg: no image that can be read"):
        read_image(tmp_path / "x.jpg", (4, 4, 1))


@pytest.mark.parametrize("ending", ["png", "jpg", "gif", "bmp", "webp", "tif", "avif", "ppm", "jp2", "dds"])
def test_a_damaged_file_of_any_format_is_a_image_error(ending: str, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    path = tmp_path / f"x.{ending}"
    Image.fromarray(pixels).save(path)
    whole = path.read_bytes()
    if ending != "dds":  # which is a image, of a format that is not read
        assert read_image(path, (40, 40, 3))[0].shape == (40, 40, 3)
    rng = np.random.default_rng(1)
    for _ in range(40):
        damaged = np.frombuffer(whole, np.uint8).copy()
        places = rng.integers(0, min(len(damaged), 200), 4)
        damaged[places] = rng.integers(0, 256, 4)
        path.write_bytes(damaged.tobytes()[: int(rng.integers(1, len(whole) + 1))])
        with suppress(ImageError):
            read_image(path, (8, 8, 3))


def test_what_pillow_raises_is_a_image_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("L", (8, 8)).save(tmp_path / "x.png")
    for raised in (RuntimeError("decoder"), KeyError(5), TypeError(), MemoryError(), OverflowError("\x1b[31m")):

        def fail(image: Image.Image, error: Exception = raised) -> None:
            raise error

        monkeypatch.setattr(PngImageFile, "load", fail)
        with pytest.raises(ImageError, match=r"x\.png: no image that can be read \([ -~]+\)"):
            read_image(tmp_path / "x.png", (8, 8, 1))


def test_postscript_is_not_read_whatever_its_name(tmp_path: Path) -> None:
    Image.new("L", (8, 8)).save(tmp_path / "x.eps")
    (tmp_path / "x.eps").rename(tmp_path / "x.png")
    with pytest.raises(ImageError, match=r"x\.png: no image that can be read \(not recognized as PNG, JPEG, "):
        read_image(tmp_path / "x.png", (8, 8, 1))


def test_what_is_empty_or_no_regular_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"")
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "gone.png").symlink_to("nowhere")
    for name, why in (("x", "it is empty"), ("pipe", "it is no regular file"), ("gone", "No such file or directory")):
        with pytest.raises(ImageError, match=f"{name}.png: no image that can be read .{why}"):
            read_image(tmp_path / f"{name}.png", (4, 4, 1))


def test_names_cannot_steer_a_terminal_and_pipes_are_left_out(folders: DataConfig) -> None:
    red = Path(folders.dir or "") / "colours" / "train" / "red"
    (red / "a\x1b[31m\nb.png").write_text("no image")
    Image.new("L", (9, 5), 77).save(red / "odd\x9b.png", "png")
    os.mkfifo(red / "pipe")
    (red / os.fsdecode(b"\xff.png")).write_text("no image")
    told = "\n".join(loaded(folders)[1]).splitlines()
    assert all(line.isprintable() for line in told)
    for part in (r"/a\x1b[31m\nb.png: no image", r"/pipe: no image", r"/\udcff.png: no image", r"odd\x9b.png"):
        assert any(part in line for line in told), part


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "train_x.npy").write_bytes((folder / "train_x.npy").read_bytes()[:-5]),
        lambda folder: (folder / "train_x.npy").write_bytes(b""),
        lambda folder: np.save(folder / "train_x.npy", np.zeros((8, 6, 6, 3), np.uint8)),
        lambda folder: np.save(folder / "validation_y.npy", np.zeros(4, np.uint8)),
        lambda folder: (folder / "validation_y.npy").unlink(),
        lambda folder: (folder / "arrays.json").write_text("[]"),
        lambda folder: (folder / "arrays.json").write_text(""),
    ],
    ids=["cut off", "empty", "zeros", "other labels", "a file gone", "another record", "no record"],
)
def test_damaged_arrays_in_the_cache_are_read_again(folders: DataConfig, damage: Callable[[Path], None]) -> None:
    first, _ = loaded(folders)
    x = np.array(first.train.x)  # mapped, it would be damaged too
    folder = Path(folders.cache) / "colours" / "arrays-6x6x3"
    damage(folder)
    again, said = loaded(folders)
    assert said == [f"{folder} is damaged: its images are read again", "data=colours: reading 12 images, once"]
    assert again.sha256 == first.sha256
    assert (again.train.x == x).all()
    assert loaded(folders)[1] == []


def test_arrays_in_a_cache_that_cannot_be_written_are_used(
    folders: DataConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = loaded(folders)

    def refuse(*given: object, **named: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    assert loaded(folders)[0].sha256 == first.sha256
    Image.new("RGB", (6, 6)).save(Path(folders.dir or "") / "colours" / "train" / "red" / "0.png")
    with pytest.raises(data.DataError, match=r"^the cache .* cannot be used: Permission denied\. Free space"):
        loaded(folders)


def test_a_full_disk_leaves_nothing_half_written(folders: DataConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(path: Path, array: np.ndarray) -> None:
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "save", fill)
    with pytest.raises(data.DataError, match=r"cannot be used: No space left on device\. Free space"):
        loaded(folders)
    assert [path.name for path in (Path(folders.cache) / "colours").iterdir()] == [".lock"]


def test_a_cache_that_is_a_file_is_one_message(folders: DataConfig, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    said: list[str] = []
    with pytest.raises(data.DataError, match=r"^the cache .* cannot be used: Not a directory"):
        data.load(replace(folders, cache=str(tmp_path / "file")), said.append)
    assert said == []
