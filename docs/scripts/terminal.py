"""Record a command in a terminal of fixed size as an animated SVG, which asks no other host for anything.

python docs/scripts/terminal.py [COMMAND] writes docs/images/terminal.svg; COMMAND is what follows `convsweep`.
"""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Iterator, Sequence
from html import escape
from itertools import groupby
from pathlib import Path

import pyte

ROOT = Path(__file__).resolve().parents[2]
TARGET = ROOT / "docs" / "images" / "terminal.svg"
COLUMNS, ROWS = 100, 32
MOST_FRAMES, FRAME_SECONDS, LAST_SECONDS = 30, 0.5, 10.0
STILL_SECONDS = 4.0  # for which the last frame is shown first, so that who looks briefly sees what came out
SIZE, WIDTH, HEIGHT = 14, 8.43, 17  # of the font, a character and a line, in pixels
BACKGROUND, FOREGROUND = "#1b1f24", "#d7dce2"
COLORS = {
    "black": "#6b7480", "red": "#ff7b72", "green": "#7ee787", "brown": "#e3b341", "blue": "#79c0ff",
    "magenta": "#d2a8ff", "cyan": "#76e3ea", "white": "#f0f3f6",
}  # fmt: skip

Cell = tuple[str, str, bool]  # character, color, whether it is bold
Frame = tuple[tuple[Cell, ...], ...]  # rows


def record(words: Sequence[str], folder: str) -> list[Frame]:
    """Run convsweep in the folder and return what its terminal shows, at every change, at most ten a second."""
    screen = pyte.Screen(COLUMNS, ROWS)
    stream = pyte.ByteStream(screen)
    stream.feed(f"\x1b[32m$\x1b[0m convsweep {' '.join(words)}\r\n".encode())
    terminal, inside = pty.openpty()
    fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TERM": "xterm-256color", "COLUMNS": str(COLUMNS)}
    command = [sys.executable, "-m", "sweeps.cli.main", *words]
    frames = [frame_of(screen, folder)]
    with subprocess.Popen(command, cwd=folder, env=environment, stdin=inside, stdout=inside, stderr=inside):
        os.close(inside)
        while data := _read(terminal):
            stream.feed(data)
            if (frame := frame_of(screen, folder)) != frames[-1]:
                frames.append(frame)
    os.close(terminal)
    return frames


def _read(terminal: int) -> bytes:
    """Return what comes within a tenth of a second after something has come; nothing at the end."""
    data, end = b"", None
    try:
        while end is None or (left := end - time.monotonic()) > 0:
            if select.select([terminal], [], [], None if end is None else left)[0]:
                data += os.read(terminal, 65536)
                end = end or time.monotonic() + 0.1
    except OSError:  # how Linux says that the other side is closed
        pass
    return data


def frame_of(screen: pyte.Screen, folder: str) -> Frame:
    """Return the screen's rows, without empty ends; the folder is called `~`."""
    rows = []
    for number in range(ROWS):
        cells = [screen.buffer[number][column] for column in range(COLUMNS)]
        row = [(cell.data, color_of(cell.fg), cell.bold) for cell in cells]
        text = "".join(cell[0] for cell in row)
        if (at := text.find(folder)) >= 0:
            row[at : at + len(folder)] = [("~", row[at][1], row[at][2])]
        while row and row[-1][0] == " ":
            row.pop()
        rows.append(tuple(row))
    return tuple(rows)


def color_of(name: str) -> str:
    """Return a color of pyte's as SVG has it."""
    if name == "default":
        return FOREGROUND
    return COLORS.get(name.removeprefix("bright"), f"#{name}")


def chosen(frames: Sequence[Frame]) -> list[Frame]:
    """Return at most MOST_FRAMES of the frames, evenly, the first and the last among them."""
    count = min(MOST_FRAMES, len(frames))
    return [frames[round(number * (len(frames) - 1) / max(1, count - 1))] for number in range(count)]


def svg(frames: Sequence[Frame], label: str) -> str:
    """Return frames as an SVG that shows one after the other; the last one alone to who wants no motion."""
    rows = {
        row: f"r{number}" for number, row in enumerate(dict.fromkeys(row for frame in frames for row in frame if row))
    }
    width, height = COLUMNS * WIDTH + 32, ROWS * HEIGHT + 28
    seconds = FRAME_SECONDS * (len(frames) - 1) + LAST_SECONDS
    style = [
        f'text {{ font: {SIZE}px "DejaVu Sans Mono", Menlo, Consolas, monospace }}',
        "text { white-space: pre } .b { font-weight: bold }",
        ".f { visibility: hidden } .f:last-child { visibility: visible }",
        "@media (prefers-reduced-motion: no-preference) {",
    ]
    for number in range(len(frames)):
        shown, hidden = (FRAME_SECONDS * at / seconds * 100 for at in (number, number + 1))
        end = "" if number == len(frames) - 1 else f" {hidden:.2f}% {{ visibility: hidden }}"
        style.append(
            f"@keyframes k{number} {{ 0% {{ visibility: hidden }} {shown:.2f}% {{ visibility: visible }}{end} }}"
        )
        style.append(
            f"#f{number} {{ animation: k{number} {seconds:g}s {STILL_SECONDS - seconds:g}s step-end infinite }}"
        )
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height}" role="img">',
        f"<title>{escape(label)}</title>",
        f"<style>{' '.join(style)} }}</style>",
        f'<rect width="100%" height="100%" rx="8" fill="{BACKGROUND}"/>',
        "<defs>",
        *("".join([f'<g id="{name}">', *texts(row), "</g>"]) for row, name in rows.items()),
        "</defs>",
        f'<g transform="translate(16 26)" fill="{FOREGROUND}">',
    ]
    for number, frame in enumerate(frames):
        uses = [f'<use href="#{rows[row]}" y="{at * HEIGHT}"/>' for at, row in enumerate(frame) if row]
        lines.append(f'<g class="f" id="f{number}">{"".join(uses)}</g>')
    return "\n".join([*lines, "</g>", "</svg>", ""])


def texts(row: Sequence[Cell]) -> Iterator[str]:
    """Yield the parts of a row that look alike, each at its place, so that no font shifts what follows."""
    at = 0
    for (color, bold), group in groupby(row, key=lambda cell: cell[1:]):
        text = "".join(cell[0] for cell in group)
        left = len(text) - len(text.lstrip(" "))
        if inked := text.strip(" "):
            attributes = f' fill="{color}"' * (color != FOREGROUND) + ' class="b"' * bold
            place = f'x="{(at + left) * WIDTH:g}" textLength="{len(inked) * WIDTH:g}"'
            yield f'<text {place} lengthAdjust="spacingAndGlyphs"{attributes}>{escape(inked)}</text>'
        at += len(text)


if __name__ == "__main__":
    words = sys.argv[1:] or ["ablate", "demo"]
    with tempfile.TemporaryDirectory() as folder:
        frames = chosen(record(words, folder))
    TARGET.write_text(svg(frames, f"convsweep {' '.join(words)} in a terminal"))
    print(f"written: {TARGET.relative_to(ROOT)}, {TARGET.stat().st_size / 1024:.0f} KiB, {len(frames)} frames")
