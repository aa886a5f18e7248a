"""The images that a verb takes: arrays of any kind, and those of other packages, such as napari's layers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import AbstractContextManager
from copy import copy
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, ParamSpec, Protocol, TypeVar, overload

import numpy as np
import numpy.typing as npt

from napari_exposure.core import progress
from napari_exposure.core.adjustment import Adjustment, warn_constant
from napari_exposure.core.arrays import DATA_ARRAY, both, checked, like
from napari_exposure.core.axes import AXES, Tile, check_place
from napari_exposure.core.chain import Chain, FittedRecipe, check_chain, fit_chain
from napari_exposure.core.docstrings import complete
from napari_exposure.core.intensity import check_flag, check_level
from napari_exposure.core.parameters import GivenRange
from napari_exposure.core.several import join
from napari_exposure.core.transform import BlockMap
from napari_exposure.core.typing import Array, ArrayLike, Layer, Spacing
from napari_exposure.core.volume import Volume
from napari_exposure.core.words import given, naming

if TYPE_CHECKING:
    import dask.array as da

    from napari_exposure.core.colormap import Uncoloured
    from napari_exposure.core.montage import Gap

# Instances of these classes are opened by classes of our own, which are imported when the first instance is met, so
# that core needs none of these packages.
OPENERS = {
    "napari.layers.base.base.Layer": "napari_exposure.layers:OpenedLayer",
    DATA_ARRAY: "napari_exposure.xarrays:OpenedDataArray",
}


Parameters = ParamSpec("Parameters")
LayerKind = TypeVar("LayerKind", bound=Layer)


class Verb(Protocol[Parameters]):
    """A verb as type checkers see it: the result is of the same kind as the image."""

    @overload
    def __call__(self, image: LayerKind, *args: Parameters.args, **kwargs: Parameters.kwargs) -> LayerKind: ...

    @overload
    def __call__(self, image: da.Array, *args: Parameters.args, **kwargs: Parameters.kwargs) -> da.Array: ...

    @overload
    def __call__(self, image: ArrayLike, *args: Parameters.args, **kwargs: Parameters.kwargs) -> np.ndarray: ...


class _Function(Protocol[Parameters]):
    def __call__(self, image: Any, *args: Parameters.args, **kwargs: Parameters.kwargs) -> Any: ...


def verb(function: _Function[Parameters]) -> Verb[Parameters]:
    """Declare a verb, whose first parameter is the image; its docstring leaves out what all adjustments share."""
    complete(function)
    return function


class Opened(ABC):
    """The base of opened images, of which verbs ask the same whatever kind they are of."""

    if TYPE_CHECKING:
        # A type checker sees these as properties; one kind has them as attributes, and the other asks its layer.
        @property
        def name(self) -> str: ...

        @property
        def spacing(self) -> Spacing: ...

        @property
        def unit(self) -> str | None: ...

    # This makes the bar that shows the progress of work, which is one on a terminal by default.
    make_bar: ClassVar[Callable[..., Any] | None] = None
    # This lays planes of an image out in rows and columns; its parameters are those of `montage`.
    montage: ClassVar[Callable[..., Any]]

    def bar(self) -> AbstractContextManager[None]:
        """Show the progress of the work inside."""
        return progress.bar(self.make_bar)

    @abstractmethod
    def time_step(self, axis: int) -> float:
        """Return the time between points along an axis, which is 1 where it is not known."""

    @abstractmethod
    def in_range(self, value: GivenRange) -> Any:
        """Turn an input range into what adjustments take."""

    @abstractmethod
    def volume(self, ignore_zeros: bool = False) -> Volume:
        """Return the volume that is counted."""

    @abstractmethod
    def from_colormap(self, colormap: Any, limits: tuple[float, float]) -> Any:
        """Find the numbers that colors stand for."""

    @abstractmethod
    def joined(self, others: Sequence[Any], how: str) -> Any:
        """Join this and others of its kind to one image to fit on; `how` as `several.join` has it."""

    @abstractmethod
    def check(self, adjustment: Chain) -> None:
        """Raise an error before any voxel is read, if the adjustment does not fit."""

    @abstractmethod
    def fit(self, adjustment: Chain) -> BlockMap:
        """Fit an adjustment or a recipe."""

    @abstractmethod
    def adjusted(self, adjustment: Chain, fit_on: Any = None) -> Any:
        """Make the result, of the same kind as the image; parameters as `Recipe.apply` has them."""

    @abstractmethod
    def gain_map(self, fitted: BlockMap | None) -> Any:
        """Make the map of the slopes of what was fitted, at every voxel; by default of what made this layer."""

    @abstractmethod
    def tile(self, translate: Any, spacing: Spacing) -> tuple[Array, Tile]:
        """Return the array that is read as a tile of a mosaic, and where it lies."""

    def show_alike(self, results: Sequence[Any]) -> None:  # noqa: B027 (arrays are not shown)
        """Show results over the same range as this image, if they can be shown."""


class OpenedArray(Opened):
    """An array, and what its caller says about it; parameters as `opened` has them."""

    name = ""
    spacing: Spacing
    # Most arrays know neither their unit nor the time between their points.
    unit: str | None = None

    def __init__(
        self, image: Any, *, mask: Any = None, spacing: Spacing = None, rgb: bool | None = None, level: int = 0
    ) -> None:
        check_level(level)
        self.array, self.mask, self.spacing, self.rgb = checked(image), mask, spacing, bool(rgb)

    @property
    def labels(self) -> tuple[str, ...]:
        """What the axes are called, without the color axis; a spacing with several numbers says which are space."""
        if not isinstance(self.spacing, Iterable):
            return ()
        space = AXES[-min(len(tuple(self.spacing)), len(AXES)) :]
        axes = len(self.array.shape) - self.rgb
        return ("",) * (axes - len(space)) + space

    def time_step(self, axis: int) -> float:
        return 1.0

    def in_range(self, value: GivenRange) -> Any:
        return value

    def volume(self, ignore_zeros: bool = False) -> Volume:
        return Volume(self.array, self.mask, ignore_zeros, self.rgb, labels=self.labels)

    @staticmethod
    def montage(image: Any, *planes: int, gap: Gap, fill: float | None, rgb: bool | None, level: int) -> Any:
        from napari_exposure.core.montage import array_montage

        check_level(level)
        return array_montage(image, *planes, gap=gap, fill=0 if fill is None else fill, rgb=bool(rgb))

    def from_colormap(self, colormap: npt.ArrayLike, limits: tuple[float, float]) -> Uncoloured:
        from napari_exposure.core.colormap import read_colors, warn_wrong

        with self.bar():
            found = read_colors(Volume(self.array, rgb=True), colormap, limits)
        warn_wrong(found)
        return found

    def joined(self, others: Sequence[OpenedArray], how: str) -> OpenedArray:
        found = copy(self)
        images = self, *others
        names = [each.name or f"image {number}" for number, each in enumerate(images, 1)]
        found.array, counted = join([each.array for each in images], names, how)
        found.mask = both(self.mask, counted)
        return found

    def check(self, adjustment: Chain) -> None:
        check_chain(adjustment.steps, self.volume(), self.spacing)

    def fit(self, adjustment: Chain) -> BlockMap:
        self.check(adjustment)
        volume = self.volume()
        with self.bar():
            transforms = fit_chain(adjustment.steps, volume, self.spacing)
        for transform in transforms:
            warn_constant(transform)
        return transforms[0] if len(transforms) == 1 else FittedRecipe(transforms)

    def adjusted(self, adjustment: Chain, fit_on: Any = None) -> Any:
        # The volume holds the array that is read, which may be one made of lists, or one inside of another.
        array = self.volume().array
        with self.bar():
            with progress.part(0, 0.4):
                alike = partial(opened, mask=self.mask, spacing=self.spacing, rgb=self.rgb)
                fitted = self.fit(adjustment) if fit_on is None else fit_on_other(adjustment, fit_on, alike)
            with progress.part(0.4, 1):
                return like(self.array, fitted.apply(array))

    def tile(self, translate: Any, spacing: Spacing) -> tuple[Array, Tile]:
        array = self.volume().array
        # A masked array is kept, because not all of its voxels count.
        kept = self.array if isinstance(self.array, np.ma.MaskedArray) else array
        return kept, check_place(translate, spacing, len(array.shape))

    def gain_map(self, fitted: BlockMap | None) -> Any:
        from napari_exposure.core.slopes import GainMap

        if fitted is None:
            raise ValueError("For an array give what was fitted: gain_map(volume, fitted=recipe.fit(volume)).")
        array = self.volume().array
        with self.bar():
            return GainMap(fitted).apply(array)


def opener(image: Any) -> Any:
    """Return the class that opens an image."""
    # ``__class__`` is asked, and not ``type``, because that of a proxy is the class of the layer behind it.
    for cls in image.__class__.__mro__:
        if found := OPENERS.get(f"{cls.__module__}.{cls.__qualname__}"):
            module, name = found.split(":")
            return getattr(import_module(module), name)
    return OpenedArray


def is_several(image: Any) -> bool:
    """Return whether it is a list of images, and not one image that is written as lists of numbers."""
    if not isinstance(image, Collection) or isinstance(image, str | bytes | dict) or hasattr(image, "shape"):
        return False
    return any(opener(each) is not OpenedArray or len(getattr(each, "shape", ())) >= 2 for each in image)


def open_all(images: Any, open_one: Callable[[Any], Opened]) -> list[Opened]:
    """Open several images; an error says which of them is not an image."""
    found, images = [], listed(images)
    for number, image in enumerate(images, 1):
        with naming(f"Image {number} of {len(images)}"):
            found.append(open_one(image))
    return found


def listed(images: Any) -> list[Any]:
    """Return images as a list, or raise an error if they are not several."""
    if isinstance(images, str | bytes | dict) or hasattr(images, "shape") or not isinstance(images, Iterable):
        raise TypeError(f"Give several images in a list, got {given(images)}.")
    return list(images)


def fit_on_other(adjustment: Chain, fit_on: Any, open_one: Callable[[Any], Opened]) -> BlockMap:
    """Fit on another image, or return what was fitted already, or raise an error that says what `fit_on` may be."""
    if isinstance(fit_on, str):
        raise ValueError(f"fit_on={fit_on!r} is for several images; give a list of them.")
    if isinstance(fit_on, BlockMap):
        return fit_on
    with naming("fit_on must be an image, or what recipe.fit(image) gives"):
        found = open_one(fit_on)
    return found.fit(adjustment)


def opened(image: Any, *, mask: Any = None, spacing: Spacing = None, rgb: bool | None = None, level: int = 0) -> Opened:
    """Open an image, so that verbs can ask the same of every kind; parameters as the verbs have them."""
    if is_several(image):
        raise TypeError(
            f"One image is taken at a time here, got a list of {len(image)}. Give each by itself; Recipe.apply takes a "
            "list, and numpy.stack makes one image of planes."
        )
    rgb = None if rgb is None else check_flag(rgb, "rgb")
    made: Opened = opener(image)(image, mask=mask, spacing=spacing, rgb=rgb, level=level)
    return made


def adjust(
    adjustment: Chain,
    image: Any,
    *,
    mask: ArrayLike | Layer | None = None,
    spacing: Spacing = None,
    rgb: bool | None = None,
    level: int = 0,
) -> Any:
    """Fit an adjustment or a recipe to an image and map all of it.

    Parameters
    ----------
    adjustment : Adjustment or Recipe
    image, mask, spacing, rgb, level
        As the verbs have them, such as `equalize_adapthist`.

    Returns
    -------
    numpy.ndarray, dask.array.Array, xarray.DataArray or napari.layers.Image
        A result of the same kind as the image, which is not changed.

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
    if not hasattr(adjustment, "steps"):
        raise TypeError(f"adjustment must be one such as Gamma(0.5), or a Recipe, got {given(adjustment)}.")
    return opened(image, mask=mask, spacing=spacing, rgb=rgb, level=level).adjusted(adjustment)


def adjust_image(
    kind: type[Adjustment],
    image: Any,
    *,
    in_range: GivenRange,
    mask: Any,
    rgb: bool | None,
    level: int,
    spacing: Spacing = None,
    **parameters: Any,
) -> Any:
    """Do what all verbs do: make the adjustment from the parameters, fit it to the image, and map all of it."""
    found = opened(image, mask=mask, spacing=spacing, rgb=rgb, level=level)
    return found.adjusted(kind(in_range=found.in_range(in_range), **parameters))
