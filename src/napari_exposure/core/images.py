"""What a verb may be given: arrays of any kind, and what other packages have for images, such as napari's layers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from napari_exposure.core import progress
from napari_exposure.core.adjustment import Adjustment, warn_constant
from napari_exposure.core.blocks import Volume
from napari_exposure.core.chain import FittedRecipe, check_chain, fit_chain
from napari_exposure.core.transform import BlockMap

__all__ = ["adjust"]

# Classes of other packages, and what opens their instances.  It is imported when the first one is met, so that core
# needs none of these packages.
OPENERS = {"napari.layers.base.base.Layer": "napari_exposure.layers:OpenedLayer"}


class OpenedArray:
    """An array with what its caller says of it, as verbs take images; parameters as `opened` has them."""

    name = ""

    def __init__(self, image, *, mask=None, spacing=None, rgb=None, level=0):
        if level != 0:
            raise ValueError(f"level is for multiscale layers; an array has none, so level must be 0, got {level!r}.")
        self.array, self.mask, self.spacing, self.rgb = image, mask, spacing, bool(rgb)

    def in_range(self, value):
        """An input range as adjustments take it."""
        return value

    def volume(self, ignore_zeros: bool = False) -> Volume:
        """What is counted."""
        return Volume(self.array, self.mask, ignore_zeros, self.rgb)

    @contextmanager
    def bar(self) -> Iterator[None]:
        """Show the progress of the work inside."""
        with progress.bar():
            yield

    @staticmethod
    def montage(image, step, columns, axis, *, gap, fill, rgb, level):
        """Planes in rows and columns; parameters as `montage` has them."""
        from napari_exposure.core.montage import array_montage

        if level != 0:
            raise ValueError(f"level is for multiscale layers; an array has none, so level must be 0, got {level!r}.")
        return array_montage(image, step, columns, axis, gap=gap, fill=0 if fill is None else fill, rgb=bool(rgb))

    def from_colormap(self, colormap, limits):
        """The numbers that colors stand for."""
        from napari_exposure.core.colormap import read_colors, warn_wrong

        with self.bar():
            found = read_colors(Volume(self.array, rgb=True), colormap, limits)
        warn_wrong(found)
        return found

    def fit(self, adjustment) -> BlockMap:
        """Fit an adjustment or a recipe."""
        volume = self.volume()
        check_chain(adjustment.steps, volume, self.spacing)
        with self.bar():
            transforms = fit_chain(adjustment.steps, volume, self.spacing)
        for transform in transforms:
            warn_constant(transform)
        return transforms[0] if len(transforms) == 1 else FittedRecipe(transforms)

    def adjusted(self, adjustment, fit_on=None):
        """A new array, lazy where this one is; parameters as `Recipe.apply` has them."""
        # Lists and the like become the arrays that they mean.
        array = self.volume().array
        with self.bar():
            with progress.part(0, 0.4):
                fitted = fit_on
                if not isinstance(fit_on, BlockMap):
                    said = {"mask": self.mask, "spacing": self.spacing, "rgb": self.rgb}
                    fitted = (self if fit_on is None else OpenedArray(fit_on, **said)).fit(adjustment)
            with progress.part(0.4, 1):
                return fitted.fitting(array).apply(array)


def opener(image) -> type:
    """The class that opens an image."""
    # of a layer's proxy the class is that of the layer
    for cls in image.__class__.__mro__:
        if found := OPENERS.get(f"{cls.__module__}.{cls.__qualname__}"):
            module, name = found.split(":")
            return getattr(import_module(module), name)
    return OpenedArray


def opened(image, *, mask=None, spacing=None, rgb: bool | None = None, level: int = 0) -> Any:
    """An image as verbs take it.

    Parameters
    ----------
    image : array-like or napari.layers.Image
    mask : array-like or napari.layers.Labels, optional
    spacing : float or sequence of float, optional
        Of arrays; a layer knows its own.
    rgb : bool, optional
        Of arrays; a layer knows it.
    level : int
        Of multiscale layers the level that is fitted.
    """
    return opener(image)(image, mask=mask, spacing=spacing, rgb=rgb, level=level)


def adjust(adjustment, image, *, mask=None, spacing=None, rgb: bool | None = None, level: int = 0):
    """Fit an adjustment or a recipe to an image and map all of it.

    Parameters
    ----------
    adjustment : Adjustment or Recipe
    image, mask, spacing, rgb, level
        As the verbs have them, such as `equalize_adapthist`.

    Returns
    -------
    numpy.ndarray, dask.array.Array or napari.layers.Image
        As the image is; the source is not changed.

    Raises
    ------
    TypeError, ValueError
        As `Adjustment.fit` does.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_exposure.core import Gamma, adjust
    >>> adjust(Gamma(2.0), np.array([[0, 5, 10]], dtype=np.uint8))
    array([[ 0,  2, 10]], dtype=uint8)
    """
    return opened(image, mask=mask, spacing=spacing, rgb=rgb, level=level).adjusted(adjustment)


def adjust_image(image, kind: type[Adjustment], *, in_range, mask, rgb, level, spacing=None, **parameters):
    """What a verb does: make the adjustment for this image, fit it and map all of it."""
    found = opened(image, mask=mask, spacing=spacing, rgb=rgb, level=level)
    return found.adjusted(kind(in_range=found.in_range(in_range), **parameters))
