"""The four verbs on napari layers: an Image in, a new Image out, not yet in a viewer.

Carries over what places and shows the source, and writes down what was done.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import partial

import napari.layers
import numpy as np
from napari.utils import progress

from napari_exposure import core
from napari_exposure.core.adjustment import Transform, adjust_steps
from napari_exposure.core.blocks import Steps, Volume, drain
from napari_exposure.core.intensity import Percentiles, check_dtype

__all__ = [
    "adjust_gamma",
    "clip_percentiles",
    "cumulative_distribution",
    "equalize_adapthist",
    "equalize_hist",
    "histogram",
    "percentile",
]

# the unit of layers whose voxel size nobody has set
PIXEL = "px"
METADATA_KEY = "napari_exposure"
CARRIED = (
    "scale",
    "translate",
    "rotate",
    "shear",
    "affine",
    "units",
    "axis_labels",
    "colormap",
    "blending",
    "rendering",
)
NOTE = "Adjusted intensities are for looking and segmenting, not for measuring intensity."


@dataclass(frozen=True, eq=False)
class Source:
    """What an adjustment takes from an Image layer, read once, so that a job outlives the layer.

    Attributes
    ----------
    name : str
    array : array-like
        The layer's data; of a multiscale layer level 0.
    rgb : bool
    spacing : tuple of float
        Size of a voxel along all axes, in `unit` along the spatial ones.
    unit : str
        Short name of the unit, such as "µm"; `PIXEL` where no voxel size is known.
    contrast_limits : (float, float)
    carried : dict
        Arguments of the new layer.
    history : list of dict
        Steps that made this layer, if the plugin did.
    """

    name: str
    array: object
    rgb: bool
    spacing: tuple[float, ...]
    unit: str
    contrast_limits: tuple[float, float]
    carried: dict = field(repr=False)
    history: list = field(repr=False)

    @property
    def shape(self) -> tuple[int, ...]:
        """Without the colour axis."""
        return tuple(self.array.shape[:-1] if self.rgb else self.array.shape)

    @classmethod
    def of(cls, layer) -> Source:
        """Read a layer, or say why it cannot be adjusted.

        Raises
        ------
        TypeError
            If it is not an Image layer.
        ValueError
            If its spatial axes have units that do not go together.
        """
        if not isinstance(layer, napari.layers.Image):
            if isinstance(layer, napari.layers.Layer):
                what = f"{layer.name!r} is a {type(layer).__name__} layer"
            else:
                what = f"Got {type(layer).__name__}, for arrays use napari_exposure.core"
            raise TypeError(f"Exposure adjustments need an Image layer. {what}.")
        try:
            check_dtype(layer.dtype)
        except TypeError as error:
            raise TypeError(f"Layer {layer.name!r}: {error}") from None
        spacing, unit = voxel_size(layer)
        carried = {name: getattr(layer, name) for name in CARRIED}
        if layer.rgb:
            del carried["colormap"]
        record = layer.metadata.get(METADATA_KEY, {})
        return cls(
            name=layer.name,
            array=layer.data[0] if layer.multiscale else layer.data,
            rgb=layer.rgb,
            spacing=spacing,
            unit=unit,
            contrast_limits=tuple(map(float, layer.contrast_limits)),
            carried={**carried, "metadata": dict(layer.metadata)},
            history=list(record.get("steps", ())),
        )

    def steps(self, adjustment: core.Adjustment, mask: napari.layers.Labels | None = None) -> Steps:
        """The whole job as a generator that yields progress and returns the new layer's (data, transform).

        What does not fit raises when the generator is made, not when it runs.
        """
        counted = None if mask is None else mask_array(mask, self)
        try:
            volume = Volume(self.array, counted, adjustment.ignore_zeros, self.rgb)
            adjustment.check(volume, self.spacing)
        except (TypeError, ValueError) as error:
            raise type(error)(f"Layer {self.name!r}: {error}") from None
        return adjust_steps(adjustment, volume, self.spacing)

    def result(self, data: np.ndarray, transform: Transform, *, seconds: float, mask=None) -> napari.layers.Image:
        """The new layer: placed and shown like the source, with contrast limits and a record of its own."""
        adjustment = transform.adjustment
        step = {
            **adjustment.to_dict(),
            "spacing": list(self.spacing[-transform.spatial :]),
            "unit": self.unit,
            "mask": None if mask is None else mask.name,
        }
        carried = dict(self.carried)
        carried["metadata"][METADATA_KEY] = {
            "version": version(),
            "source": self.name,
            "steps": [*self.history, step],
            "seconds": round(seconds, 3),
            "note": NOTE,
        }
        low, high = transform.out_range
        if not self.rgb:
            carried["contrast_limits"] = (low, high if high > low else low + 1)
        return napari.layers.Image(data, name=f"{self.name} - {adjustment.short_name}", rgb=self.rgb, **carried)


def version() -> str:
    """The installed version of napari-exposure."""
    from importlib.metadata import version

    return version("napari-exposure")


def voxel_size(layer) -> tuple[tuple[float, ...], str]:
    """The layer's scale, and the unit that holds for its spatial axes, where need be converted to one."""
    scale = np.abs(np.asarray(layer.scale, float))
    spatial = min(layer.ndim, 3)
    units = list(layer.units)[-spatial:]
    for axis, unit in enumerate(units, start=layer.ndim - spatial):
        if unit == units[-1]:
            continue
        if not unit.is_compatible_with(units[-1]):
            raise ValueError(
                f"Layer {layer.name!r}: its spatial axes have the units {', '.join(f'{u:~P}' for u in units)}, which "
                "do not convert into each other; set layer.units."
            )
        scale[axis] = (scale[axis] * unit).to(units[-1]).magnitude
    return tuple(scale.tolist()), PIXEL if units[-1] == "pixel" else f"{units[-1]:~P}"


def mask_array(mask, source: Source):
    """The array of a Labels layer of the source's shape, or an error that names both."""
    if not isinstance(mask, napari.layers.Labels):
        raise TypeError(f"mask must be a Labels layer, got {type(mask).__name__}.")
    array = mask.data[0] if mask.multiscale else mask.data
    if tuple(array.shape) != source.shape:
        raise ValueError(
            f"The mask {mask.name!r} has shape {tuple(array.shape)}, but layer {source.name!r} has {source.shape}; "
            "they must be the same. Make a Labels layer from the image (New labels layer) and draw there."
        )
    return array


def _run(layer, make, in_range, mask, **parameters):
    source = Source.of(layer)
    if isinstance(in_range, str) and in_range == "contrast_limits":
        in_range = source.contrast_limits
    adjustment = make(in_range=in_range, **parameters)
    steps = source.steps(adjustment, mask)
    start = time.perf_counter()
    data, transform = drain(steps, bar=partial(progress, delay=0.5, leave=False))
    return source.result(data, transform, seconds=time.perf_counter() - start, mask=mask)


def adjust_gamma(
    layer,
    gamma=1.0,
    gain=1.0,
    *,
    in_range="data",
    output="dtype",
    mask=None,
    ignore_zeros=False,
    per="dataset",
):
    """Correct the gamma of a layer and keep its intensity range; `core.adjust_gamma` on a layer.

    Parameters
    ----------
    layer : napari.layers.Image
        2D to 5D, RGB, or multiscale (its level 0).  Not changed.
    gamma, gain : float
        Greater than 0.
    in_range : "data", "dtype", "contrast_limits", (low, high) or Percentiles
        The intensities that stay fixed; values outside are clamped.
    output : "dtype" or "float32"
        Keep dtype and range, or float32 in [0, 1].
    mask : napari.layers.Labels, optional
        Of the layer's shape; only voxels with a label decide the range.
    ignore_zeros : bool
        Leave voxels of exactly 0 out when the range is found.
    per : "dataset", "volume" or "plane"
        Which voxels share a range.

    Returns
    -------
    napari.layers.Image
        A new layer, not yet in a viewer, that lies exactly on the old one; ``metadata["napari_exposure"]``
        says how it was made.

    Raises
    ------
    TypeError
        If it is not an Image layer, or for a dtype that has no exposure.
    ValueError
        For a parameter out of bounds, an empty layer, or a mask of another shape.

    Examples
    --------
    >>> import numpy as np
    >>> from napari.layers import Image
    >>> import napari_exposure as nx
    >>> nuclei = Image(np.arange(24, dtype=np.uint8).reshape(2, 3, 4), name="nuclei", scale=(2, 1, 1))
    >>> nx.adjust_gamma(nuclei, 0.5).name
    'nuclei - gamma'
    """
    return _run(
        layer, core.Gamma, in_range, mask, gamma=gamma, gain=gain, output=output, ignore_zeros=ignore_zeros, per=per
    )


def clip_percentiles(
    layer,
    low=0.5,
    high=99.5,
    *,
    in_range="data",
    output="dtype",
    mask=None,
    ignore_zeros=False,
    per="dataset",
):
    """Clip the darkest and brightest voxels of a layer; `core.clip_percentiles` on a layer.

    Parameters
    ----------
    layer : napari.layers.Image
        2D to 5D, RGB, or multiscale (its level 0).  Not changed.
    low, high : float
        Percentiles, 0 <= low < high <= 100.
    in_range : "data", "dtype", "contrast_limits", (low, high) or Percentiles
        Intensities are clamped to this range first.
    output : "dtype" or "float32"
        Stretch over the full range of the dtype (floats: float32 in [0, 1]), or float32 in [0, 1].
    mask : napari.layers.Labels, optional
        Of the layer's shape; only voxels with a label are counted.  All are mapped.
    ignore_zeros : bool
        Leave voxels of exactly 0 out of the percentiles.
    per : "dataset", "volume" or "plane"
        Which voxels share percentiles.

    Returns
    -------
    napari.layers.Image
        A new layer, not yet in a viewer.

    Raises
    ------
    TypeError, ValueError
        As `adjust_gamma` does.

    Examples
    --------
    >>> import numpy as np
    >>> from napari.layers import Image
    >>> import napari_exposure as nx
    >>> nuclei = Image(np.arange(24, dtype=np.uint8).reshape(2, 3, 4), name="nuclei")
    >>> nx.clip_percentiles(nuclei, 0, 100).data.max()
    np.uint8(255)
    """
    return _run(
        layer,
        core.PercentileClip,
        in_range,
        mask,
        low=low,
        high=high,
        output=output,
        ignore_zeros=ignore_zeros,
        per=per,
    )


def equalize_hist(
    layer,
    nbins=256,
    *,
    method="cdf",
    in_range="data",
    output="dtype",
    mask=None,
    ignore_zeros=False,
    per="dataset",
):
    """Equalize the histogram of a layer; `core.equalize_hist` on a layer.

    Parameters
    ----------
    layer : napari.layers.Image
        2D to 5D, RGB, or multiscale (its level 0).  Not changed.
    nbins : int
        Bins for floats and 32-bit integers; other integers use every grey level.
    method : "cdf" or "rank"
        The cumulative distribution, or the exact rank of every voxel.
    in_range : "data", "dtype", "contrast_limits", (low, high) or Percentiles
        Intensities are clamped to this range before they are counted.
    output : "dtype" or "float32"
        Stretch over the full range of the dtype (floats: float32 in [0, 1]), or float32 in [0, 1].
    mask : napari.layers.Labels, optional
        Of the layer's shape; only voxels with a label are counted.  All are mapped.
    ignore_zeros : bool
        Leave voxels of exactly 0 out of the histogram.
    per : "dataset", "volume" or "plane"
        Which voxels share a histogram.

    Returns
    -------
    napari.layers.Image
        A new layer, not yet in a viewer.

    Raises
    ------
    TypeError, ValueError
        As `adjust_gamma` does.

    Examples
    --------
    >>> import numpy as np
    >>> from napari.layers import Image
    >>> import napari_exposure as nx
    >>> nuclei = Image(np.arange(24, dtype=np.uint8).reshape(2, 3, 4), name="nuclei")
    >>> nx.equalize_hist(nuclei, output="float32").contrast_limits
    [0.0, 1.0]
    """
    return _run(
        layer,
        core.HistogramEqualization,
        in_range,
        mask,
        nbins=nbins,
        method=method,
        output=output,
        ignore_zeros=ignore_zeros,
        per=per,
    )


def equalize_adapthist(
    layer,
    kernel_size=None,
    clip_limit=0.01,
    nbins=256,
    *,
    in_range=Percentiles(0.01, 99.99),
    output="dtype",
    mask=None,
    ignore_zeros=False,
    per="dataset",
):
    """Equalize each region of a layer by its own histogram (CLAHE); `core.equalize_adapthist` on a layer.

    The spacing is the layer's scale, so `kernel_size` is in the layer's unit.

    Parameters
    ----------
    layer : napari.layers.Image
        2D to 5D, RGB, or multiscale (its level 0).  Not changed.
    kernel_size : float, sequence of float or None
        Edge of a tile in the unit of the layer's spatial axes (``layer.units``): a number is the same
        physical edge on every axis, a sequence has one for each spatial axis, None is an eighth of the
        largest extent.
    clip_limit : float
        Largest fraction of a tile's voxels in one bin; <= 0 or >= 1: no limit.
    nbins : int
        Bins of each tile's histogram.
    in_range : "data", "dtype", "contrast_limits", (low, high) or Percentiles
        The intensities that the bins divide; values outside are clamped.
    output : "dtype" or "float32"
        Stretch over the full range of the dtype (floats: float32 in [0, 1]), or float32 in [0, 1].
    mask : napari.layers.Labels, optional
        Of the layer's shape; only voxels with a label are counted.  All are mapped.
    ignore_zeros : bool
        Leave voxels of exactly 0 out of the histograms.
    per : "dataset", "volume" or "plane"
        Which voxels share tiles.

    Returns
    -------
    napari.layers.Image
        A new layer, not yet in a viewer.

    Raises
    ------
    TypeError, ValueError
        As `adjust_gamma` does.

    Examples
    --------
    >>> import numpy as np
    >>> from napari.layers import Image
    >>> import napari_exposure as nx
    >>> volume = np.random.default_rng(0).integers(0, 4096, (8, 32, 32), dtype=np.uint16)
    >>> nuclei = Image(volume, name="nuclei", scale=(2, 0.5, 0.5), units=("um", "um", "um"))
    >>> nx.equalize_adapthist(nuclei, kernel_size=8.0)
    <Image layer 'nuclei - adaptive' at ...>
    """
    return _run(
        layer,
        core.AdaptiveEqualization,
        in_range,
        mask,
        kernel_size=kernel_size,
        clip_limit=clip_limit,
        nbins=nbins,
        output=output,
        ignore_zeros=ignore_zeros,
        per=per,
    )


def _counted(volume, mask):
    """What the counting functions of core take of a layer; arrays pass as they are."""
    if not isinstance(volume, napari.layers.Layer):
        return volume, {"mask": mask}
    source = Source.of(volume)
    return source.array, {"mask": None if mask is None else mask_array(mask, source), "rgb": source.rgb}


def histogram(layer, nbins=256, *, range=None, mask=None, ignore_zeros=False):
    """Count every voxel of a layer or an array, exactly; see `core.histogram`.

    Parameters
    ----------
    layer : napari.layers.Image or array-like
    nbins, range, ignore_zeros
        As in `core.histogram`.
    mask : napari.layers.Labels, optional
        Only voxels with a label are counted; with an array, an array of its shape.

    Returns
    -------
    Histogram

    Raises
    ------
    TypeError, ValueError
        If the layer or the mask does not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from napari.layers import Image
    >>> import napari_exposure as nx
    >>> nx.histogram(Image(np.array([[1, 2], [2, 4]], dtype=np.uint8))).percentile(50)
    2.0
    """
    array, options = _counted(layer, mask)
    return core.histogram(array, nbins, range=range, ignore_zeros=ignore_zeros, **options)


def cumulative_distribution(layer, nbins=256, *, mask=None, ignore_zeros=False):
    """The cumulative distribution of a layer or an array; see `core.cumulative_distribution`.

    Parameters
    ----------
    layer, nbins, mask, ignore_zeros
        As in `histogram`.

    Returns
    -------
    cdf, bin_centers : numpy.ndarray of float64, shape (nbins,)

    Raises
    ------
    TypeError, ValueError
        If the layer or the mask does not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from napari.layers import Image
    >>> import napari_exposure as nx
    >>> nx.cumulative_distribution(Image(np.array([[1, 2], [2, 4]], dtype=np.uint8)))[0]
    array([0.25, 0.75, 0.75, 1.  ])
    """
    array, options = _counted(layer, mask)
    return core.cumulative_distribution(array, nbins, ignore_zeros=ignore_zeros, **options)


def percentile(layer, q, *, mask=None, ignore_zeros=False):
    """Exact percentiles of a layer or an array; see `core.percentile`.

    Parameters
    ----------
    layer, mask, ignore_zeros
        As in `histogram`.
    q : float or sequence of float
        In [0, 100].

    Returns
    -------
    float or numpy.ndarray of float64

    Raises
    ------
    TypeError, ValueError
        If the layer, the mask or q does not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from napari.layers import Image
    >>> import napari_exposure as nx
    >>> nx.percentile(Image(np.arange(101.0).reshape(1, 101)), 50)
    50.0
    """
    array, options = _counted(layer, mask)
    return core.percentile(array, q, ignore_zeros=ignore_zeros, **options)
