"""File > IO Utilities > Open TIFF volume: with voxel size, a layer for each channel."""

from __future__ import annotations

from pathlib import Path

import napari
from napari.layers import Layer
from napari.utils.notifications import show_error, show_info
from qtpy.QtWidgets import QFileDialog

from napari_exposure.core import progress
from napari_exposure.gui.jobs import ActivityJob
from napari_exposure.tiff import read_tiff


def open_tiff() -> None:
    """Ask for files, and add what they hold to the viewer."""
    viewer = napari.current_viewer()
    paths, _ = QFileDialog.getOpenFileNames(
        viewer.window._qt_window, "Open TIFF volume", "", "TIFF (*.tif *.tiff);;All files (*)"
    )
    for path in paths:
        add_tiff(viewer, path)


def add_tiff(viewer, path) -> ActivityJob:
    """Read a file in a worker, and add its layers."""
    path = Path(path)

    def read():
        progress.report("reading", 0.0, slow=True)
        return read_tiff(path)

    def done(volume, seconds):
        for each in volume.layers():
            viewer.add_layer(Layer.create(*each))
        if volume.unit is None:
            show_info(f"{path.name} does not say how large a voxel is: type it in the row Voxel size of a widget.")

    def failed(error):
        show_error(str(error))

    return ActivityJob(f"Opening {path.name}", read, done=done, failed=failed)
