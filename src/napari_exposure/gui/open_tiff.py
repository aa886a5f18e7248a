"""File > IO Utilities > Open TIFF volume: with voxel size, a layer for each channel."""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle
from pathlib import Path

import napari
from napari.layers import Layer
from napari.utils.colormaps import ensure_colormap
from napari.utils.colormaps.colormap_utils import CYMRGB, MAGENTA_GREEN
from napari.utils.notifications import show_info
from qtpy.QtWidgets import QFileDialog, QInputDialog

from napari_exposure.core import progress
from napari_exposure.gui.jobs import ActivityJob
from napari_exposure.gui.words import tell
from napari_exposure.io.files import TIFF_SUFFIXES
from napari_exposure.io.reading import read

ALL = "all of them"


def open_tiff() -> None:
    """Ask for files, and add what they hold to the viewer."""
    viewer = napari.current_viewer()
    endings = " ".join(f"*{each}" for each in TIFF_SUFFIXES)
    paths, _ = QFileDialog.getOpenFileNames(
        viewer.window._qt_window, "Open TIFF volume", "", f"TIFF ({endings});;All files (*)"
    )
    for path in paths:
        add_tiff(viewer, path, choose=chosen_images)


def add_tiff(viewer, path, series: int | None = None, choose: Callable | None = None) -> ActivityJob:
    """Read a file in a worker, and add its layers; where it has several images, those that `choose` returns."""
    path = Path(path)

    def work():
        progress.report("reading", 0.0, slow=True)
        return read(path, series=series)

    def done(volume, seconds):
        wanted = [volume.series]
        if volume.images and choose is not None:
            wanted = choose(viewer, path.name, volume.images)
        for number in wanted:
            if number != volume.series:
                add_tiff(viewer, path, number)
                continue
            for each in in_colors(volume.layers()):
                viewer.add_layer(Layer.create(*each))
            for words in untold(path.name, volume, asked=choose is not None or series is not None):
                show_info(words)

    def failed(error):
        tell(error)

    return ActivityJob(f"Opening {path.name}", work, done=done, failed=failed)


def in_colors(channels: list[tuple]) -> list[tuple]:
    """Give the channels of `FileVolume.layers` colors, so that all of them are seen at once and told apart.

    A channel keeps the color that the file says; one without gets another of those that napari gives to channels.
    """
    if len(channels) < 2:
        return channels

    def rgb(color: str) -> tuple[float, ...]:
        return tuple(ensure_colormap(color).colors[-1])

    said = {rgb(options["colormap"]) for _, options, _ in channels if "colormap" in options}
    palette = CYMRGB if said or len(channels) > 2 else MAGENTA_GREEN
    free = cycle([name for name in palette if rgb(name) not in said] or palette)
    return [
        (data, {**options, "colormap": options.get("colormap") or next(free), "blending": "additive"}, kind)
        for data, options, kind in channels
    ]


def chosen_images(viewer, name: str, images: tuple[str, ...]) -> list[int]:
    """Ask which images of a file are wanted, by their numbers; none where the user cancels."""
    items = [f"{number}: {each}" for number, each in enumerate(images)]
    words = f"{name} holds {len(images)} images. Which one is opened?"
    found, sure = QInputDialog.getItem(viewer.window._qt_window, "Open TIFF volume", words, [*items, ALL], 0, False)
    if not sure:
        return []
    return list(range(len(images))) if found == ALL else [items.index(found)]


def untold(name: str, volume, asked: bool = False) -> list[str]:
    """Sentences on what a file does not say, and on images in it that were left out without asking."""
    words = []
    if volume.unit is None:
        words.append(f"{name} does not say how large a voxel is: type it in the row Voxel size of a widget.")
    elif volume.unsized:
        axes = ", ".join(volume.unsized.lower())
        words.append(
            f"{name} does not say how large a voxel is along {axes}: type the voxel size in that row of a widget."
        )
    if volume.guessed:
        words.append(f"{name} does not say what its axes are: {', '.join(volume.guessed.lower())} is a guess.")
    if volume.others and not asked:
        words.append(
            f"{name} holds {len(volume.images)} images; this is the first. The others: {', '.join(volume.others)}."
        )
    return words
