"""What all adjustments are: parameters, which are fitted on a volume and give a transform."""

from __future__ import annotations

import dataclasses
import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, cast

import numpy as np

from napari_exposure.core import progress
from napari_exposure.core.arrays import Several
from napari_exposure.core.axes import check_spacing, gliding_axis, in_words, name_time, spatial_axes, time_axis
from napari_exposure.core.counting import find_cuts, find_extent
from napari_exposure.core.intensity import (
    Percentiles,
    check_exposure,
    check_kind,
    dtype_range,
    result_dtype,
)
from napari_exposure.core.memory import LIMIT, SHARED, Memory
from napari_exposure.core.parameters import (
    IN_RANGE_WORDS,
    OUTPUT,
    PER,
    InRange,
    Output,
    Per,
    as_plain,
    check_in_range,
    check_width,
    checked,
    from_plain,
    parameter,
    value_in_words,
)
from napari_exposure.core.stacks import is_stack
from napari_exposure.core.transform import Fit, Transform
from napari_exposure.core.typing import ArrayLike, Spacing
from napari_exposure.core.volume import Volume, each_volume
from napari_exposure.core.words import warn_user


@dataclass(frozen=True, kw_only=True)
class Adjustment(ABC):
    """The parameters of one exposure adjustment, which are checked when it is made and never change.

    Its subclasses are `Gamma`, `Log`, `Sigmoid`, `ToneCurve`, `Rescale`, `Linear`, `PercentileClip`, `Fill`,
    `HistogramEqualization`, `HistogramMatching`, `AdaptiveEqualization`, `LocalStretch`, `DecayCorrection` and `Decay`.
    ``fit`` reads a volume's statistics and gives a `Transform`; ``to_dict`` and `from_dict` turn it to and from plain
    data.

    Attributes
    ----------
    in_range : "data", "dtype", (low, high) or Percentiles
        The input intensities that are stretched; values outside are clamped.  Names of dtypes ("uint8", "uint12",
        "float") become their ranges, and "image" is "data", as scikit-image has it.
    output : "dtype" or "float32"
        The input's dtype over its full range (floats: 0 to 1), or float32 in [0, 1].
    ignore_zeros : bool
        Leave voxels of exactly 0 out of every count.
    per : "dataset", "volume" or "plane"
        Which voxels share a fit: all, each index of the axes before the last three, or before the last two.
    window : int
        How many time points are fitted together, each with those around it.
    """

    # Each subclass sets these: the word that names of results end with, its function, and its name in menus.
    short_name: ClassVar[str]
    verb: ClassVar[str]
    title: ClassVar[str]
    # This says whether the size of a voxel matters.
    needs_spacing: ClassVar[bool] = False
    # An error says this where a fit on one shape does not hold for another. It is empty where the fit does.
    place_note: ClassVar[str] = ""
    # A warning says this of a volume in which there is nothing to adjust.
    constant_note: ClassVar[str] = "only one intensity among the counted voxels; the result there is the lowest value."
    transform_type: ClassVar[type[Transform]] = Transform
    # If intensities mean after it what they did before, the result is shown over the same range.
    keeps_scale: ClassVar[bool] = False
    # A menu lists the adjustment in this group, with a line that says when to use it. Without such a line the menu
    # shows the first line of the class.
    group: ClassVar[str] = "Range and curve"
    use: ClassVar[str] = ""

    in_range: InRange = parameter("data", *IN_RANGE_WORDS)
    output: Output = parameter(
        "dtype",
        "Output",
        "Same bit depth: keep the data type and use its full range (floats: 0 to 1). Or make float32 from 0 to 1.",
        choices=OUTPUT,
    )
    ignore_zeros: bool = parameter(False, "Ignore zeros", "Leave voxels that are exactly 0 out of all counts.")
    per: Per = parameter(
        "dataset",
        "Time points",
        "Treated together: all volumes share one fit, and stay comparable. Separately: each time point or channel has "
        "its own; or each plane.",
        choices=PER,
    )
    window: int = parameter(
        1,
        "Time window",
        "Of time points that are treated separately, so many around each are fitted together: the result follows a "
        "slow change and does not pulse. 1: each alone.",
        low=1,
        high=9999,
        step=1,
        advanced=True,
    )

    def __post_init__(self) -> None:
        self._set("in_range", check_in_range(self.in_range))
        for field in dataclasses.fields(self):
            self._set(field.name, checked(getattr(self, field.name), field))

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data (str, float, bool, list, dict) that `from_dict` takes back."""
        values = {field.name: as_plain(getattr(self, field.name)) for field in dataclasses.fields(self)}
        return {"adjustment": type(self).__name__, **values}

    @staticmethod
    def from_dict(plain: dict[str, Any]) -> Adjustment:
        """Make the adjustment that ``to_dict`` described.

        Raises
        ------
        ValueError
            If the name, a parameter or a value is not known or not valid.

        Examples
        --------
        >>> from napari_exposure.core import Adjustment, Gamma
        >>> Adjustment.from_dict(Gamma(0.5).to_dict()) == Gamma(0.5)
        True
        """
        known = {cls.__name__: cls for cls in adjustments()}
        values = dict(check_kind(plain, "An adjustment", dict, "a dict, as to_dict gives it"))
        name = values.pop("adjustment", None)
        if not isinstance(name, str) or name not in known:
            raise ValueError(f"Unknown adjustment {name!r}; known are {', '.join(known)}.")
        if strange := known[name].unknown(values):
            raise ValueError(f"{name} {strange}")
        fields = [field.name for field in dataclasses.fields(known[name])]
        if missing := [each for each in fields if each not in values and each not in known[name].defaults()]:
            raise ValueError(f"{name} needs {', '.join(missing)}, which is missing; add it.")
        try:
            return known[name](**{key: from_plain(value) for key, value in values.items()})
        except (TypeError, ValueError) as error:
            raise ValueError(f"{name}: {error}") from None

    @classmethod
    def unknown(cls, names: Iterable[str]) -> str:
        """Say for an error which of these names are no parameters; empty where all are parameters."""
        fields = {field.name for field in dataclasses.fields(cls)}
        strange = sorted(set(names) - fields)
        return f"has no parameter {', '.join(strange)}; it has {', '.join(sorted(fields))}." if strange else ""

    @classmethod
    def defaults(cls) -> dict[str, Any]:
        """Return the defaults of the parameters that have one."""
        return {each.name: each.default for each in dataclasses.fields(cls) if each.default is not dataclasses.MISSING}

    @classmethod
    def examples(cls) -> dict[str, Any]:
        """Return examples, in plain data, of the parameters that have no default because they depend on the volume."""
        return {each.name: each.metadata["example"] for each in dataclasses.fields(cls) if "example" in each.metadata}

    def changed(self) -> dict[str, Any]:
        """Return the parameters whose value is not the default."""
        values = {field.name: (getattr(self, field.name), field.default) for field in dataclasses.fields(self)}
        return {name: value for name, (value, default) in values.items() if value != default}

    def in_words(self, unit: str = "", *, all_own: bool = False) -> str:
        """Return the parameters that are not the default as a user reads them, sizes in `unit`; "defaults" without any.

        If `all_own`, it is the main parameters instead, whether they are the default or not.

        Examples
        --------
        >>> from napari_exposure.core import AdaptiveEqualization
        >>> AdaptiveEqualization(6.0, 0.02, per="plane").in_words("µm")
        'Tile 6 µm, Clip limit 0.02, Time points each plane alone'
        """
        shown = {field.name for field in self.main_fields()} if all_own else self.changed()
        shared = {field.name for field in dataclasses.fields(Adjustment)}
        fields = [field for field in dataclasses.fields(self) if field.name in shown]
        # The adjustment's own parameters come before those that all adjustments have.
        fields.sort(key=lambda field: field.name in shared)
        words = [value_in_words(getattr(self, field.name), field, unit) for field in fields]
        return ", ".join(words) or "defaults"

    @classmethod
    def main_fields(cls) -> list[dataclasses.Field[Any]]:
        """Return the parameters that only this adjustment has, without the advanced ones."""
        shared = {field.name for field in dataclasses.fields(Adjustment)}
        fields = dataclasses.fields(cls)
        return [field for field in fields if field.name not in shared and not field.metadata.get("advanced")]

    @property
    def in_space(self) -> bool:
        """Whether it matters which axes are space."""
        return self.needs_spacing or self.per != "dataset" or self.in_series or hasattr(self, "axis")

    @property
    def in_series(self) -> bool:
        """Whether time points are compared with one another, so that each has its own fit, whatever `per` is."""
        return False

    def spatial(self, space: int, axes: int, labels: Sequence[object] = ()) -> int:
        """Return how many of the last axes share a fit.

        Parameters
        ----------
        space : int
            How many of the last axes are space.
        axes : int
            How many axes there are.
        labels : sequence
            What the axes are called; empty where the image does not say.
        """
        time = time_axis(labels, axes - 2) if self.in_series else None
        spatial = spatial_axes(space, self.per)
        # If time points are compared, the first of three axes without names is time and not z.
        return spatial if time is None else min(spatial, axes - 1 - time)

    @property
    def steps(self) -> tuple[Adjustment, ...]:
        """This adjustment alone, so that it can be used as a recipe of one step."""
        return (self,)

    def result_dtype(self, dtype: np.dtype) -> np.dtype:
        """Return the dtype of results for volumes of `dtype`."""
        return result_dtype(dtype, self.output)

    def fit(
        self, volume: ArrayLike, *, mask: ArrayLike | None = None, spacing: Spacing = None, rgb: bool = False
    ) -> Transform:
        """Read the statistics of a volume.

        Parameters
        ----------
        volume : array-like, 2 to 5 axes ([T, C,] [Z,] Y, X), and a color axis where `rgb`
        mask : array-like, optional
            It has the volume's shape.  Only voxels where it is not zero are counted, but all are mapped.
        spacing : float or sequence of float, optional
            Physical size of a voxel; a sequence has one number for each of the last axes that are space.
        rgb : bool
            The last axis holds RGB or RGBA: the value channel is adjusted; hue, saturation and alpha stay.

        Returns
        -------
        Transform

        Raises
        ------
        TypeError, ValueError
            If the volume, the mask or the spacing does not fit; the message says what to do.

        Examples
        --------
        >>> import numpy as np
        >>> from napari_exposure.core import PercentileClip
        >>> volume = np.arange(60, dtype=np.uint8).reshape(3, 4, 5)
        >>> transform = PercentileClip(0, 100).fit(volume)
        >>> transform(volume)[-1, -1]
        array([238, 242, 246, 251, 255], dtype=uint8)
        """
        from napari_exposure.core.images import opened

        return cast(Transform, opened(volume, mask=mask, spacing=spacing, rgb=rgb).fit(self))

    def check(self, volume: Volume, spacing: Spacing = None) -> tuple[float, ...]:
        """Raise an error before any voxel is read, if the volume does not fit; return the spacing of spatial axes."""
        if not volume.through:
            check_exposure(volume.array.dtype)
        sizes = check_spacing(spacing, len(volume.shape))
        spatial = self.spatial(len(sizes), len(volume.shape), volume.labels)
        sizes = sizes[-spatial:]
        if isinstance(volume.array, Several) and not volume.array.alike and (self.place_note or self.per != "dataset"):
            shapes = ", ".join(str(tuple(array.shape)) for array in volume.array.arrays)
            raise ValueError(
                f"{self.title} depends on the place of a voxel, but the images have different shapes, {shapes}. Fit it "
                "on each, without fit_on."
            )
        lead = volume.shape[:-spatial] if self.per != "dataset" else ()
        if self.in_series:
            self._time(volume)
        self._check_shape(volume.shape[-spatial:], sizes, fits=math.prod(lead))
        if self.window > 1:
            self._gliding(volume, len(lead))
        return sizes

    def _time(self, volume: Volume) -> int:
        """Return the axis of time, or raise an error that says what to do."""
        if self.window > 1:
            raise ValueError(
                f"window={self.window} is for time points that are fitted apart from one another, but here they are "
                "compared with one another; leave window at 1."
            )
        axis = time_axis(volume.labels, len(volume.shape) - 2)
        if axis is None:
            axes = in_words(volume.labels, len(volume.shape))
            raise ValueError(
                f"There is no axis of time before y and x: the image has {axes}. {name_time(len(volume.shape))}"
            )
        return axis

    def _gliding(self, volume: Volume, lead: int) -> int:
        """Return the leading axis along which the window glides, or raise an error that says what to do."""
        if self.per == "dataset":
            raise ValueError(
                f"window={self.window} is for time points that have fits of their own: with it give per='volume', or "
                "per='plane' for a movie of planes."
            )
        axis = gliding_axis(volume.labels, lead)
        if axis is None:
            axes = in_words(volume.labels, len(volume.shape))
            raise ValueError(
                f"window={self.window} needs an axis of time before the {len(volume.shape) - lead} axes of space, but "
                f"the image has {axes}. {name_time(len(volume.shape))}"
                + " per='plane' glides along planes instead."
                * (len(volume.shape) > 2)
            )
        return axis

    def fit_volume(self, volume: Volume, spacing: Spacing = None) -> Transform:
        """Fit as `fit` does, but without its warning, as a part of other work."""
        sizes = self.check(volume, spacing)
        # With a memory, a pass that finds the range of gray levels has also counted them for the next question.
        memory = volume.memory or Memory(SHARED)
        if self.window > 1 and memory.limit < LIMIT:
            # With a larger memory each time point is counted once, for all windows that it is in.
            memory = Memory()
        volume = replace(volume, memory=memory)
        spatial = len(sizes)
        lead = len(volume.shape) - spatial
        apart = self.in_series or self.per != "dataset"
        groups: list[tuple[int, ...]] = list(np.ndindex(*volume.shape[:lead])) if apart else [()]
        together: Sequence[Fit] | None = None
        if self.in_series:
            together = self._fit_time(volume, groups, sizes)
        elif self.window > 1:
            axis = self._gliding(volume, lead)
            together = self._fit_windows([volume.around(group, axis, self.window) for group in groups], sizes)
        elif self.per != "dataset" and is_stack(volume, lead):
            together = self._fit_stack(volume, lead)
        if together is None:
            together = self._fit_groups([volume.at(group) for group in groups], sizes)
        fits = dict(zip(groups, together, strict=True))
        for fit in fits.values():
            check_reach(fit.reach, self.result_dtype(volume.dtype))
        return self.transform_type(
            adjustment=self,
            shape=volume.shape,
            dtype=volume.dtype,
            rgb=volume.rgb,
            spatial=spatial,
            fits=fits,
        )

    def notes(self, transform: Transform) -> list[str]:
        """Return sentences that warn the user after a fit."""
        constant, groups = sum(fit.constant for fit in transform.fits.values()), len(transform.fits)
        # Only the time points of a series have several fits per dataset.
        kind = "time point" if self.per == "dataset" else self.per
        all_one = groups == 1 or (self.per == "dataset" and constant == groups)
        where = "The volume has" if all_one else f"{constant} of {groups} {kind}s have"
        return [f"{where} {self.constant_note}"] * bool(constant)

    @abstractmethod
    def _fit_group(self, volume: Volume, spacing: tuple[float, ...]) -> Fit:
        """Fit a volume, all voxels of which share the fit."""

    def _fit_groups(self, groups: Sequence[Volume], spacing: tuple[float, ...]) -> Sequence[Fit]:
        """Fit volumes, each on its own."""
        return each_volume(groups, lambda group: self._fit_group(group, spacing))

    def _fit_time(self, volume: Volume, groups: Sequence[tuple[int, ...]], spacing: tuple[float, ...]) -> Sequence[Fit]:
        """Fit each series of time points; there is one for each index of the other axes that have their own fits."""
        time = self._time(volume)
        others: dict[tuple[int, ...], dict[int, list[tuple[int, ...]]]] = {}
        for group in groups:
            other = group[:time] + group[time + 1 :] if self.per != "dataset" else ()
            others.setdefault(other, {}).setdefault(group[time], []).append(group)
        fits: dict[tuple[int, ...], Fit] = {}
        for number, points in enumerate(others.values()):
            every = [group for point in points.values() for group in point]
            series = volume.joined(every)
            members = [volume.joined(point) for point in points.values()]
            with progress.item(number, len(others)):
                found = self._fit_series(series, members, time, spacing)
            fits.update((group, fit) for point, fit in zip(points.values(), found, strict=True) for group in point)
        return [fits[group] for group in groups]

    def _fit_series(
        self, series: Volume, members: Sequence[Volume], time: int, spacing: tuple[float, ...]
    ) -> Sequence[Fit]:
        """Fit a series, and return a fit for each of its time points, which are `members` along the axis `time`."""
        raise NotImplementedError

    def _fit_windows(self, windows: Sequence[Volume], spacing: tuple[float, ...]) -> Sequence[Fit]:
        """Fit windows, which consist of time points, most of which are in several windows."""
        return self._fit_groups(windows, spacing)

    def _fit_stack(self, volume: Volume, lead: int) -> Sequence[Fit] | None:
        """Fit many small volumes together; return their fits in order, or None where that is not possible."""
        return None

    def _check_shape(self, shape: tuple[int, ...], spacing: tuple[float, ...], fits: int) -> None:  # noqa: B027 (a hook)
        """Raise an error if the parameters do not fit this shape, before any voxel is read."""

    def _find_range(self, volume: Volume, in_range: InRange | None = None) -> tuple[float, float]:
        """Find an input range in numbers, which are equal if the volume is constant or nothing is counted."""
        in_range = self.in_range if in_range is None else in_range
        if isinstance(in_range, tuple):
            return in_range
        if in_range == "dtype" and volume.dtype.kind == "u":
            return dtype_range(volume.dtype, negative=False)
        if isinstance(in_range, Percentiles):
            found = find_cuts(volume, in_range.low, in_range.high)
            if found and found[0] < found[1]:
                return check_width(found[0], found[1])
            # If the percentiles coincide, because nearly all voxels are alike, the whole extent is taken.
        lo, hi = find_extent(volume)
        if math.isnan(lo):
            check_counted(0, volume)
            return 0.0, 0.0
        if in_range == "dtype":
            return dtype_range(volume.dtype, negative=lo < 0)
        return check_width(lo, hi)


def adjustments(cls: Any = None) -> list[type[Adjustment]]:
    """Return all adjustments, or those that derive from a class, without abstract ones."""
    cls = Adjustment if cls is None else cls
    found = [] if inspect.isabstract(cls) else [cls]
    return found + [each for subclass in cls.__subclasses__() for each in adjustments(subclass)]


def warn_constant(transform: Transform) -> None:
    """Warn the user if there is nothing to adjust, or if the fit has found something else to say."""
    for sentence in transform.adjustment.notes(transform):
        warn_user(f"{transform.adjustment.title}: {sentence}")


def check_counted(total: int, volume: Volume, reason: str = "") -> None:
    """Raise an error if nothing was counted; but one of many volumes or planes with their own fits may be empty."""
    if total or volume.lead or volume.joins:
        return
    reasons = [reason] if reason else []
    if volume.mask is not None:
        reasons.append("the mask selects no such voxel")
    if volume.ignore_zeros:
        reasons.append("zeros are ignored")
    why = f" ({' and '.join(reasons)})" if reasons else ": all are NaN or infinite"
    raise ValueError(f"There is no finite voxel to count{why}. Choose another mask or volume.")


def check_reach(reach: tuple[float, float], dtype: np.dtype) -> None:
    """Raise an error if results may exceed the floats of `dtype`, which would make them infinite."""
    most = float(np.finfo(dtype).max) if dtype.kind == "f" else math.inf
    # The test is negated so that it also holds for NaN, which compares as False.
    held = all(abs(end) <= most for end in reach)
    if not held or (dtype.kind == "f" and not math.isfinite(reach[1] - reach[0])):
        why = "float64 cannot hold that width" if held else f"{dtype} ends at {most:g}"
        raise ValueError(
            f"Results may reach from {reach[0]:g} to {reach[1]:g}, but {why}. Divide the data first, or choose a "
            "narrower range."
        )
