"""Where the orthogonal planes lie, drawn in the main view."""

from __future__ import annotations

import numpy as np

from napari_exposure.gui.viewer.cursor import place_in
from napari_exposure.gui.viewer.line_overlay import FAINT, LineOverlay, border_lines, box_lines


class CrossHair(LineOverlay):
    """Draws two lines that cross in 2D, and the three planes with their box in 3D."""

    what = "cross-hair"
    # The planes cross here; a change is drawn when a slider moves or `show` is called.
    voxel: tuple[int, ...] = ()
    _drawn: tuple = ()

    def show(self, image, voxel: tuple[int, ...]) -> None:
        """Draw the planes of an image layer that cross at a voxel."""
        if image == self._bared:
            return
        another = self._turn(image)
        self.voxel = voxel
        if another or self._look() != self._drawn:
            self._draw()

    def _look(self) -> tuple:
        return self.voxel, tuple(self._viewer.dims.point), tuple(self._displayed), self._shape

    def _draw(self, event=None) -> None:
        image, dims = self._image, self._viewer.dims
        displayed, shape = self._displayed, self._shape
        if len(displayed) < 2 or len(self.voxel) != image.ndim or len(shape) != image.ndim:
            # The layer is seen from its edge, or its data have changed, and then `show` follows in a moment.
            return
        here = place_in(image, dims.point, dims)
        at = [self.voxel[axis] for axis in displayed]
        ends = [np.array([-0.5, shape[axis] - 0.5]) for axis in displayed]
        if len(displayed) == 2:
            lines = np.array([[(ends[0][0], at[1]), (ends[0][1], at[1])], [(at[0], ends[1][0]), (at[0], ends[1][1])]])
            box = np.empty((0, 2, 2))
        else:
            lines = np.concatenate([_frame(at, ends, axis) for axis in range(3)])
            box = box_lines(*zip(*ends, strict=True))
        found = np.empty((len(box) + len(lines), 2, image.ndim))
        found[:] = here
        found[..., displayed] = np.concatenate([box, lines])
        self._drawn = self._look()
        self._put(found, here, [FAINT] * len(box) + [1.0] * len(lines))


def _frame(at, ends, axis: int) -> np.ndarray:
    """Return the border of the plane across an axis, shape (4, 2, 3)."""
    return np.insert(border_lines([end for other, end in enumerate(ends) if other != axis]), axis, at[axis], axis=-1)
