"""Recipes: adjustments in a row, kept as JSON, for other volumes with the same parameters or the same mapping."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypedDict, Unpack, overload

import numpy as np

from napari_exposure.core import progress
from napari_exposure.core.adjustment import Adjustment
from napari_exposure.core.axes import check_spacing
from napari_exposure.core.chain import FittedRecipe
from napari_exposure.core.images import LayerKind, OpenedArray, fit_on_other, is_several, open_all, opened
from napari_exposure.core.intensity import check_kind
from napari_exposure.core.jsonfile import KeptAsJson, check_schema
from napari_exposure.core.several import Together
from napari_exposure.core.typing import ArrayLike, Layer, Spacing
from napari_exposure.core.words import warn_user
from napari_exposure.io.units import check_unit, in_unit, unit_name

if TYPE_CHECKING:
    import dask.array as da

__all__ = ["FittedRecipe", "Recipe"]

FitOn = ArrayLike | Layer | FittedRecipe | None
# Several images may also share the fit on one of these.
Shared = Together | FitOn


class How(TypedDict, total=False):
    """The parameters of `Recipe.apply` that are the same for all kinds of images."""

    spacing: Spacing
    unit: str | None
    mask: ArrayLike | Layer | None
    rgb: bool | None


# The schema of the file is raised when an older version could not read it.
SCHEMA = 1
KEY = "napari_exposure_recipe"


@dataclass(frozen=True)
class Recipe(KeptAsJson):
    """Adjustments in a row.

    Attributes
    ----------
    steps : tuple of Adjustment
        Each is fitted on the result of the one before.
    unit : str or None
        The unit of the sizes of tiles, such as "µm"; None where no step has a size, or where sizes are in the unit of
        any `spacing` that is given.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_exposure import AdaptiveEqualization, PercentileClip, Recipe
    >>> recipe = Recipe((PercentileClip(1, 99), AdaptiveEqualization(10.0)), unit="µm")
    >>> volume = np.random.default_rng(0).integers(0, 255, (8, 32, 32), dtype=np.uint8)
    >>> recipe.apply(volume, spacing=(2.0, 0.5, 0.5)).shape
    (8, 32, 32)
    >>> Recipe.from_dict(recipe.to_dict()) == recipe
    True
    """

    steps: tuple[Adjustment, ...]
    unit: str | None = None

    def __post_init__(self) -> None:
        said: Any = self.steps
        steps = tuple(said) if isinstance(said, Iterable) and not isinstance(said, str | dict) else (said,)
        object.__setattr__(self, "steps", steps)
        if not steps:
            raise ValueError("A recipe needs at least one adjustment.")
        for step in steps:
            check_kind(step, "Each step of a recipe", Adjustment, "an adjustment such as Gamma(0.5)")
        if self.unit is not None:
            hint = " (several steps are one tuple)" * isinstance(self.unit, Adjustment)
            check_kind(self.unit, "unit", str, f"a name such as 'µm'{hint}")
        # A unit without a size is never used, so it may be any word.
        if self.unit is not None and self.has_sizes:
            check_unit(self.unit)

    @property
    def has_sizes(self) -> bool:
        """Whether a step has a size in `unit`."""
        return any(getattr(step, "kernel_size", None) is not None for step in self.steps)

    # --- to and from layers and files ---

    @classmethod
    def of(cls, layer: Layer) -> Recipe:
        """Return the recipe of a layer that the plugin has made, with all of its steps.

        Parameters
        ----------
        layer : napari.layers.Image

        Returns
        -------
        Recipe
            It has no masks, because these are layers of one volume.

        Raises
        ------
        ValueError
            If the plugin has not made the layer.

        Examples
        --------
        >>> import numpy as np
        >>> from napari.layers import Image
        >>> import napari_exposure as nx
        >>> nuclei = Image(np.arange(24, dtype=np.uint8).reshape(2, 3, 4), name="nuclei")
        >>> nx.Recipe.of(nx.adjust_gamma(nuclei, 0.5)).steps[0].gamma
        0.5
        """
        from napari_exposure.provenance import parts_of

        parts = list(parts_of(layer))
        if masks := sorted({repr(mask) for _, _, mask, _ in parts if mask is not None}):
            warn_user(
                f"{layer.name!r} was fitted inside {', '.join(masks)}; a recipe holds no mask: give the mask again "
                "when you apply the recipe."
            )
        units = {unit for adjustment, unit, *_ in parts if adjustment.needs_spacing}
        if len(units) > 1:
            said = " and ".join(sorted(unit or "no unit" for unit in units))
            raise ValueError(f"{layer.name!r} has steps in {said}; a recipe has one unit.")
        return cls(tuple(adjustment for adjustment, *_ in parts), *units)

    def result_dtype(self, dtype: np.dtype) -> np.dtype:
        """Return the dtype of results for volumes of `dtype`."""
        for step in self.steps:
            dtype = step.result_dtype(dtype)
        return dtype

    @property
    def title(self) -> str:
        """The titles of all steps."""
        return ", ".join(step.title for step in self.steps)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data that `from_dict` takes back."""
        return {KEY: SCHEMA, "unit": self.unit, "steps": [step.to_dict() for step in self.steps]}

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> Recipe:
        """Make the recipe that ``to_dict`` described.

        Raises
        ------
        ValueError
            If a name or a value is not known or not valid; the message says which, and what it may be.
        """
        check_schema(plain, "recipe", KEY, SCHEMA)
        if strange := sorted(set(map(str, plain)) - {KEY, "unit", "steps"}):
            raise ValueError(f"A recipe has no {', '.join(strange)}; it has unit and steps.")
        if not isinstance(plain.get("steps"), list):
            raise ValueError(f"steps must be a list of adjustments, got {type(plain.get('steps')).__name__}.")
        steps = []
        for number, step in enumerate(plain["steps"], 1):
            try:
                if not isinstance(step, dict):
                    raise ValueError(f"an adjustment is a table of names and values, got {step!r}.")
                steps.append(Adjustment.from_dict(step))
            except ValueError as error:
                raise ValueError(f"Step {number}: {error}") from None
        try:
            return cls(tuple(steps), plain.get("unit"))
        except TypeError as error:
            raise ValueError(str(error)) from None

    def workflow(self, *, spacing: Sequence[float] | None = None, unit: str | None = None) -> dict[str, Any]:
        """The steps as plain data that ndev-workflows loads, once it is written as YAML: a function and its arguments.

        Parameters
        ----------
        spacing : sequence of float, optional
            The size of a voxel along the spatial axes of the arrays that it will be run on.  Tiles in a unit need it.
        unit : str, optional
            Of `spacing`.  Default: the recipe's.

        Returns
        -------
        dict
            With the input "image" and a task for each step, whose function is `apply_recipe`.

        Raises
        ------
        ValueError
            If the recipe has tiles in a unit and there is no spacing, or it is in one that does not convert.

        Examples
        --------
        >>> from napari_exposure import Gamma, PercentileClip, Recipe
        >>> plan = Recipe((PercentileClip(1, 99), Gamma(0.5))).workflow()
        >>> [(name, task["params"]["arg0"]) for name, task in plan["tasks"].items()]
        [('1 Percentile clipping', 'image'), ('2 Gamma', '1 Percentile clipping')]
        """
        own = self._in_own_unit(spacing, unit)
        self._check_sized(own)
        # How many axes the arrays will have is not known; they have at most five.
        sizes = {} if own is None else {"spacing": list(check_spacing(own, 5))}
        tasks, last = {}, "image"
        for number, step in enumerate(self.steps, 1):
            plain = Recipe((step,), self.unit).to_dict()
            function = f"{apply_recipe.__module__}.{apply_recipe.__name__}"
            name = f"{number} {step.title}"
            tasks[name] = {"function": function, "params": {"arg0": last, "recipe": plain, **sizes}}
            last = name
        return {"name": self.title, "inputs": ["image"], "outputs": [last], "tasks": tasks}

    # --- arrays and layers ---

    @overload
    def apply(self, image: list[LayerKind], *, fit_on: Shared = ..., **how: Unpack[How]) -> list[LayerKind]: ...

    @overload
    def apply(self, image: list[np.ndarray], *, fit_on: Shared = ..., **how: Unpack[How]) -> list[np.ndarray]: ...

    @overload
    def apply(self, image: LayerKind, *, fit_on: FitOn = ..., **how: Unpack[How]) -> LayerKind: ...

    @overload
    def apply(self, image: da.Array, *, fit_on: FitOn = ..., **how: Unpack[How]) -> da.Array: ...

    @overload
    def apply(self, image: ArrayLike, *, fit_on: FitOn = ..., **how: Unpack[How]) -> np.ndarray: ...

    def apply(
        self,
        image: Any,
        *,
        spacing: Spacing = None,
        unit: str | None = None,
        mask: Any = None,
        rgb: bool | None = None,
        fit_on: Any = None,
    ) -> Any:
        """Adjust a layer or an array, or several of them.

        Parameters
        ----------
        image : napari.layers.Image or array-like, or a list of such
            Arrays have 2 to 5 axes ([T, C,] [Z,] Y, X); dask gives dask.  Never written.  A list of images may be the
            channels of a volume; a list of numbers is an array.
        spacing : float or sequence of float, optional
            The size of a voxel of arrays along the spatial axes, which a recipe with tiles in a unit needs.
        unit : str, optional
            The unit of `spacing`, such as "nm", by default that of the recipe.
        mask : napari.layers.Labels or array-like, optional
            Of the image's shape; only voxels where it is not zero are counted, in every step.
        rgb : bool, optional
            Whether the last axis of an array holds RGB or RGBA.
        fit_on : napari.layers.Image, array-like or FittedRecipe, "all", "sum" or "max", optional
            The image whose mapping is applied to all, so that they stay comparable with it; by default each has its
            own.  For several images a word may stand for it: "all" fits on the voxels of all of them, "sum" and "max"
            on their sum or on the largest of them, voxel by voxel.  Then all have one curve, and if that is a line
            through zero, the ratios of channels are kept.

        Returns
        -------
        napari.layers.Image, numpy.ndarray or dask.array.Array, or a list of such
            It is of the kind of `image`; a layer is not yet in a viewer.

        Raises
        ------
        TypeError, ValueError
            As the adjustments do; also if the unit of the layer does not convert to that of the recipe's tiles, or if
            images that share one fit have different dtypes, or shapes where these matter.

        Notes
        -----
        A sum of integers is clamped to their dtype: no channel has intensities beyond it, so the curve does not depend
        on what is cut off.  A voxel where one of the channels is NaN counts neither in the sum nor in the largest.

        Examples
        --------
        >>> import numpy as np
        >>> from napari_exposure import Gamma, Recipe
        >>> red, green = np.array([[0, 50, 100]], np.uint8), np.array([[0, 100, 200]], np.uint8)
        >>> Recipe(Gamma(2.0)).apply([red, green], fit_on="all")
        [array([[ 0, 12, 50]], dtype=uint8), array([[  0,  50, 200]], dtype=uint8)]
        """
        opening = partial(self._opened, mask=mask, spacing=spacing, unit=unit, rgb=rgb)
        if not is_several(image):
            if fit_on is not None:
                # The image has to suit the recipe too, not its shape alone; the mask is that of the other image.
                opening(image, mask=None).check(self)
            return opening(image).adjusted(self, fit_on)
        found = open_all(image, opening)
        with found[0].bar():
            for each in found:
                each.check(self)
            fitted = fit_on
            if isinstance(fit_on, str):
                with progress.part(0, 0.4):
                    fitted = _joined(found, fit_on).fit(self)
            elif fit_on is not None:
                with progress.part(0, 0.4):
                    fitted = fit_on_other(self, fit_on, opening)
            if fitted is not None:
                for each in found:
                    fitted.fitting(each.volume().array)
            with progress.part(0.0 if fit_on is None else 0.4, 1):
                return progress.each(found, lambda each: each.adjusted(self, fitted))

    def fit(
        self,
        image: ArrayLike | Layer | Sequence[ArrayLike | Layer],
        *,
        spacing: Spacing = None,
        unit: str | None = None,
        mask: ArrayLike | Layer | None = None,
        rgb: bool | None = None,
        fit_on: Together = "all",
    ) -> FittedRecipe:
        """Fit all steps on one image, or on several together, to apply the same mapping to others.

        The parameters are those of `apply`; `fit_on` says how several images are fitted together.

        Examples
        --------
        >>> import numpy as np
        >>> from napari_exposure import Gamma, Recipe
        >>> first, second = np.array([[0, 5, 10]], np.uint8), np.array([[0, 5, 20]], np.uint8)
        >>> Recipe((Gamma(2.0),)).fit(first).apply(second)
        array([[ 0,  2, 10]], dtype=uint8)
        """
        opening = partial(self._opened, mask=mask, spacing=spacing, unit=unit, rgb=rgb)
        found = _joined(open_all(image, opening), fit_on) if is_several(image) else opening(image)
        return FittedRecipe(found.fit(self).transforms)

    def _opened(self, image: Any, *, mask: Any, spacing: Spacing, unit: str | None, rgb: bool | None) -> Any:
        """Open an image with its voxel size in the unit of the recipe, or raise if there is none."""
        found = opened(image, mask=mask, spacing=self._in_own_unit(spacing, unit), rgb=rgb)
        if isinstance(found, OpenedArray) and found.unit is not None:
            found.spacing = self._in_own_unit(found.spacing, found.unit)
        self._check_sized(found.spacing)
        return found

    def _in_own_unit(self, spacing: Spacing, unit: str | None) -> Any:
        """The size of a voxel in the unit of the recipe."""
        if unit is not None and spacing is None:
            raise TypeError("unit is that of spacing: give spacing too, or leave unit out.")
        unit = None if unit is None else check_unit(unit)
        if unit is None or self.unit is None or not self.has_sizes:
            return spacing
        factor = in_unit(1.0, unit, self.unit)
        if factor is None:
            raise ValueError(f"The recipe has tiles in {self.unit}, to which spacing in {unit} does not convert.")
        sizes: Any = spacing
        return [factor * size for size in sizes] if np.iterable(sizes) else factor * sizes

    def _check_sized(self, spacing: Spacing) -> None:
        """Raise where tiles have a size in a unit and voxels have none."""
        if spacing is None and self.has_sizes and self.unit is not None and unit_name(self.unit) is not None:
            raise ValueError(
                f"The recipe has tiles in {self.unit}, but an array does not say how large a voxel is. Give it: "
                f"spacing=(z, y, x) in {self.unit}, or in another unit with unit=."
            )


def apply_recipe(image: ArrayLike, recipe: dict[str, Any], spacing: Spacing = None) -> np.ndarray | da.Array:
    """Apply a recipe that is plain data to an array, as a step in the workflow of another plugin.

    Parameters
    ----------
    image : array-like
    recipe : dict
        As `Recipe.to_dict` gives it; it is checked name by name.
    spacing : float or sequence of float, optional
        The size of a voxel along the spatial axes, in the unit of the recipe.

    Returns
    -------
    numpy.ndarray or dask.array.Array

    Examples
    --------
    >>> import numpy as np
    >>> from napari_exposure import Gamma, Recipe
    >>> from napari_exposure.recipe import apply_recipe
    >>> apply_recipe(np.array([[0, 50, 100]], np.uint8), Recipe(Gamma(2.0)).to_dict())
    array([[  0,  25, 100]], dtype=uint8)
    """
    return Recipe.from_dict(recipe).apply(image, spacing=spacing)


def _joined(found: Sequence[Any], how: str) -> Any:
    """Return several opened images as one to fit on."""
    if len(set(map(type, found))) > 1:
        raise TypeError("Images that share one fit must be of one kind: all layers, or all arrays.")
    return found[0].joined(found[1:], how)
