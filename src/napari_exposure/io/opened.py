"""Opens a volume of a file for verbs: the file names the axes and gives the sizes of voxels and of time points."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from napari_exposure.core.chain import Chain
from napari_exposure.core.images import OpenedArray
from napari_exposure.core.typing import Spacing
from napari_exposure.io.files import FileVolume


class OpenedFile(OpenedArray):
    """An opened volume of a file, whose results are one too; the parameters are those of `core.images.opened`."""

    def __init__(
        self, image: FileVolume, *, mask: Any = None, spacing: Spacing = None, rgb: bool | None = None, level: int = 0
    ) -> None:
        self.file, self.given = image, spacing is not None
        sizes = tuple(size for axis, (size, _) in image.sizes.items() if axis in "ZYX")
        # The file says whether it has colors, so that the caller need not.
        super().__init__(
            image.data, mask=mask, spacing=spacing if self.given else sizes, rgb=image.axes.endswith("S"), level=level
        )
        self.name = image.name

    @property
    def unit(self) -> str | None:
        """The unit of the file, which is not that of a spacing that the caller gives."""
        return None if self.given else self.file.unit

    @property
    def labels(self) -> tuple[str, ...]:
        """The letters of the axes, without the color axis."""
        return tuple(self.file.axes.removesuffix("S").lower())

    def time_step(self, axis: int) -> float:
        """Return the time between points in the unit of the file, or 1 where it does not say it."""
        return self.file.scale[axis] if self.file.timed else 1.0

    def check(self, adjustment: Chain) -> None:
        """Raise if the file lacks sizes that an adjustment needs, before any voxel is read."""
        unsized = "" if self.given else self.file.unsized
        if unsized and any(step.needs_spacing for step in adjustment.steps):
            raise ValueError(
                f"{self.name} has no voxel size along {', '.join(unsized.lower())}, so tiles have no size; give "
                "spacing=, one number for each axis of space."
            )
        super().check(adjustment)

    def adjusted(self, adjustment: Chain, fit_on: Any = None) -> FileVolume:
        """Make the result; notes on how the file was made and limits to show it with are those of other data."""
        return replace(self.file, data=super().adjusted(adjustment, fit_on), windows=(), notes={})
