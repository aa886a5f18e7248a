"""The verbs on napari layers: an Image in, a new Image out, not yet in a viewer."""

from __future__ import annotations

import math
import time
from dataclasses import replace

import napari.layers
import numpy as np
from napari.utils import progress as napari_bar

from napari_exposure import core
from napari_exposure.core import progress
from napari_exposure.core.blocks import Volume
from napari_exposure.core.colormap import colour_table, read_colors, warn_wrong
from napari_exposure.core.intensity import Percentiles
from napari_exposure.core.match import check_no_path
from napari_exposure.source import PLACEMENT, Source, mask_array

__all__ = [
    "adjust_gamma",
    "clip_percentiles",
    "correct_decay",
    "cumulative_distribution",
    "decay_profile",
    "degrade",
    "equalize_adapthist",
    "equalize_hist",
    "from_colormap",
    "histogram",
    "match_histograms",
    "percentile",
]


def _run(layer, make, in_range, mask, level, **parameters):
    source = Source.of(layer)
    if isinstance(in_range, str) and in_range == "contrast_limits":
        in_range = source.contrast_limits
    adjustment = make(in_range=in_range, **parameters)
    start = time.perf_counter()
    with progress.bar(napari_bar):
        data, transform = source.adjusted(adjustment, mask, level=level)
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
    level=0,
):
    """Correct the gamma of a layer and keep its intensity range; `core.adjust_gamma` on a layer.

    Parameters
    ----------
    layer : napari.layers.Image
        2D to 5D, RGB, or multiscale: the result has the same levels.  Not changed.
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
    level : int
        Of a multiscale layer the level that is fitted: a coarse one is fitted sooner.

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
        layer,
        core.Gamma,
        in_range,
        mask,
        gamma=gamma,
        gain=gain,
        output=output,
        ignore_zeros=ignore_zeros,
        per=per,
        level=level,
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
    level=0,
):
    """Clip the darkest and brightest voxels of a layer; `core.clip_percentiles` on a layer.

    Parameters
    ----------
    layer : napari.layers.Image
        2D to 5D, RGB, or multiscale: the result has the same levels.  Not changed.
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
    level : int
        Of a multiscale layer the level that is fitted: a coarse one is fitted sooner.

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
        level=level,
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
    level=0,
):
    """Equalize the histogram of a layer; `core.equalize_hist` on a layer.

    Parameters
    ----------
    layer : napari.layers.Image
        2D to 5D, RGB, or multiscale: the result has the same levels.  Not changed.
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
    level : int
        Of a multiscale layer the level that is fitted: a coarse one is fitted sooner.

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
        level=level,
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
    level=0,
):
    """Equalize each region of a layer by its own histogram (CLAHE); `core.equalize_adapthist` on a layer.

    The spacing is the layer's scale, so `kernel_size` is in the layer's unit.

    Parameters
    ----------
    layer : napari.layers.Image
        2D to 5D, RGB, or multiscale: the result has the same levels.  Not changed.
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
    level : int
        Of a multiscale layer the level that is fitted: a coarse one is fitted sooner.

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
        level=level,
    )


def match_histograms(
    layer,
    reference,
    nbins=65536,
    *,
    in_range="data",
    output="dtype",
    mask=None,
    ignore_zeros=False,
    per="dataset",
    level=0,
):
    """Give a layer the histogram of another one; `core.match_histograms` on layers.

    Parameters
    ----------
    layer : napari.layers.Image
        2D to 5D, RGB, or multiscale: the result has the same levels.  Not changed.
    reference : napari.layers.Image, Histogram or array-like
        A layer of any shape that has the histogram (of RGB that of the value channel), or the histogram itself.
    nbins : int
        Bins for floats and 32-bit integers; other integers use every grey level.
    in_range : "data", "dtype", "contrast_limits", (low, high) or Percentiles
        Intensities are clamped to this range before they are counted.
    output : "dtype" or "float32"
        Keep the data type, or float32, which needs no rounding.  Both have the intensities of the reference.
    mask : napari.layers.Labels, optional
        Of the layer's shape; only voxels with a label are counted.  All are mapped.
    ignore_zeros : bool
        Leave voxels of exactly 0 out of the histograms, that of a reference layer too.
    per : "dataset", "volume" or "plane"
        Which voxels of the layer share a histogram.
    level : int
        Of a multiscale layer the level that is fitted: a coarse one is fitted sooner.

    Returns
    -------
    napari.layers.Image
        A new layer, not yet in a viewer; its record holds the histogram of the reference.

    Raises
    ------
    TypeError, ValueError
        As `adjust_gamma` does, and where an integer dtype cannot hold the intensities of the reference.

    Examples
    --------
    >>> import numpy as np
    >>> from napari.layers import Image
    >>> import napari_exposure as nx
    >>> volume = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    >>> dim, bright = Image(volume, name="dim"), Image(3 * volume, name="bright")
    >>> matched = nx.match_histograms(dim, bright)
    >>> matched.name, matched.contrast_limits
    ('dim - matched', [0.0, 69.0])
    """
    if not isinstance(reference, core.Histogram):
        check_no_path(reference)
        reference = histogram(reference, nbins, ignore_zeros=ignore_zeros)
    return _run(
        layer,
        core.HistogramMatching,
        in_range,
        mask,
        reference=reference,
        nbins=nbins,
        output=output,
        ignore_zeros=ignore_zeros,
        per=per,
        level=level,
    )


def correct_decay(
    layer,
    axis="z",
    model="exponential",
    background=0.0,
    percentile=50.0,
    smoothness=0.15,
    max_gain=100.0,
    *,
    in_range="data",
    output="dtype",
    mask=None,
    ignore_zeros=False,
    per="dataset",
    level=0,
):
    """Divide out an intensity of a layer that decays along an axis; `core.correct_decay` on a layer.

    Parameters
    ----------
    layer : napari.layers.Image
        2D to 5D, RGB, or multiscale: the result has the same levels.  Not changed.
    axis : "z", "y" or "x"
        One of the last three axes.
    model : "exponential", "smooth" or "plane"
        A steady decay, any slow change, or a gain of its own for each plane.
    background : float or "auto"
        Black level, which does not decay.
    percentile : float
        Of each plane, in [0, 100]: what is made equal.
    smoothness : float
        Width of "smooth" as a fraction of the axis.
    max_gain : float
        No plane is multiplied by more.
    in_range : "data", "dtype", "contrast_limits", (low, high) or Percentiles
        Intensities are clamped to this range first; with "data" none is.
    output : "dtype" or "float32"
        Keep the dtype, rounded and clamped, or float32 of the same scale.
    mask : napari.layers.Labels, optional
        Of the layer's shape; only voxels with a label are counted.  All are mapped.
    ignore_zeros : bool
        Leave voxels of exactly 0 out of the percentiles.
    per : "dataset", "volume" or "plane"
        Which voxels share a fit.
    level : int
        Of a multiscale layer the level that is fitted: a coarse one is fitted sooner.

    Returns
    -------
    napari.layers.Image
        A new layer, not yet in a viewer.

    Raises
    ------
    TypeError, ValueError
        As `adjust_gamma` does; also for a layer without this axis.

    Examples
    --------
    >>> import numpy as np
    >>> from napari.layers import Image
    >>> import napari_exposure as nx
    >>> volume = np.uint16([800, 400, 200, 100])[:, None, None] * np.ones((4, 5, 6), np.uint16)
    >>> nx.correct_decay(Image(volume, name="nuclei")).data[:, 0, 0]
    array([800, 800, 800, 800], dtype=uint16)
    """
    return _run(
        layer,
        core.DecayCorrection,
        in_range,
        mask,
        axis=axis,
        model=model,
        background=background,
        percentile=percentile,
        smoothness=smoothness,
        max_gain=max_gain,
        output=output,
        ignore_zeros=ignore_zeros,
        per=per,
        level=level,
    )


def degrade(
    layer,
    rate=3.0,
    axis="z",
    *,
    in_range="data",
    output="dtype",
    mask=None,
    ignore_zeros=False,
    per="dataset",
    level=0,
):
    """Let the intensity of a layer decay along an axis, for experiments; `core.degrade` on a layer.

    Parameters
    ----------
    layer : napari.layers.Image
        2D to 5D, RGB, or multiscale: the result has the same levels.  Not changed.
    rate : float
        The last plane becomes exp(-rate) times as bright; in [-20, 20].
    axis : "z", "y" or "x"
        One of the last three axes.
    in_range : "data", "dtype", "contrast_limits", (low, high) or Percentiles
        Intensities are clamped to this range first; with "data" none is.
    output : "dtype" or "float32"
        Keep the dtype, rounded and clamped, or float32 of the same scale.
    mask : napari.layers.Labels, optional
        Of the layer's shape; only voxels with a label decide an `in_range` that is found in the data.
    ignore_zeros : bool
        Leave voxels of exactly 0 out when the range is found.
    per : "dataset", "volume" or "plane"
        Which voxels share a range.
    level : int
        Of a multiscale layer the level in which the range is found.

    Returns
    -------
    napari.layers.Image
        A new layer, not yet in a viewer.

    Raises
    ------
    TypeError, ValueError
        As `correct_decay` does.

    Examples
    --------
    >>> import numpy as np
    >>> from napari.layers import Image
    >>> import napari_exposure as nx
    >>> nx.degrade(Image(np.full((3, 4, 5), 1000, np.uint16), name="nuclei")).data[:, 0, 0]
    array([1000,  223,   50], dtype=uint16)
    """
    return _run(
        layer,
        core.Decay,
        in_range,
        mask,
        rate=rate,
        axis=axis,
        output=output,
        ignore_zeros=ignore_zeros,
        per=per,
        level=level,
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
        With the name of the layer.

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
    found = core.histogram(array, nbins, range=range, ignore_zeros=ignore_zeros, **options)
    return replace(found, name=layer.name) if isinstance(layer, napari.layers.Layer) else found


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


def decay_profile(layer, axis="z", *, mask=None, **parameters):
    """The intensity of each plane of a layer or an array, and what `correct_decay` makes of it: for a plot.

    Parameters
    ----------
    layer : napari.layers.Image or array-like
    axis, **parameters
        As in `correct_decay`.
    mask : napari.layers.Labels, optional
        Only voxels with a label are counted; with an array, an array of its shape.

    Returns
    -------
    positions : numpy.ndarray of float64, shape (planes,)
        Of the planes in the layer's unit, from 0 on; of arrays their numbers.
    profile : numpy.ndarray of float64, shape (planes,)
        Percentile of each plane; NaN where there is none above the background.
    fitted : numpy.ndarray of float64, shape (planes,)
        The model of it.

    Raises
    ------
    TypeError, ValueError
        As `correct_decay` does.

    Examples
    --------
    >>> import numpy as np
    >>> from napari.layers import Image
    >>> import napari_exposure as nx
    >>> volume = np.float32([80, 40, 20, 10])[:, None, None] * np.ones((4, 5, 6), np.float32)
    >>> positions, profile, fitted = nx.decay_profile(Image(volume, scale=(2.5, 1, 1)))
    >>> positions
    array([0. , 2.5, 5. , 7.5])
    >>> profile
    array([80., 40., 20., 10.])
    """
    array, options = _counted(layer, mask)
    if isinstance(layer, napari.layers.Layer):
        # along an axis of another kind, such as time, planes are numbered
        options["spacing"] = [1.0 if math.isnan(size) else size for size in Source.of(layer).spacing]
    if twice := sorted(set(options) & set(parameters)):
        raise TypeError(f"decay_profile takes {' and '.join(twice)} from the layer; leave it out.")
    return core.decay_profile(array, axis, **options, **parameters)


def from_colormap(layer, colormap, limits=(0.0, 1.0)):
    """Give the numbers back to an RGB layer that was made with a colormap; `core.from_colormap` on a layer.

    Parameters
    ----------
    layer : napari.layers.Image
        RGB or RGBA, or multiscale: the result has the same levels.  Not changed.
    colormap : str, napari.utils.Colormap or array-like
        A name that napari knows, such as "jet" or "viridis", or its colours, shape (N, 3) or (N, 4).
    limits : (float, float)
        The numbers of the first and the last colour.

    Returns
    -------
    napari.layers.Image
        A new layer, not yet in a viewer, that lies exactly on the old one and looks like it;
        ``metadata["napari_exposure_colormap"]`` has the distances from the colours of the map.

    Raises
    ------
    TypeError, ValueError
        If the layer has no colours, or there is no such colormap.

    Examples
    --------
    >>> import numpy as np
    >>> from napari.layers import Image
    >>> from napari.utils.colormaps import ensure_colormap
    >>> import napari_exposure as nx
    >>> coloured = ensure_colormap("jet").map(np.linspace(0, 1, 256)).reshape(16, 16, 4)
    >>> layer = nx.from_colormap(Image(coloured, name="scan", rgb=True), "jet", limits=(1500, 4500))
    >>> layer.name, layer.data[-1, -1]
    ('scan - values', np.float32(4500.0))
    """
    source = Source.of(layer)
    if not source.rgb:
        raise ValueError(f"Layer {source.name!r} has no colours: it must be an RGB image.")
    shown, colours = _colours(colormap)
    levels = []
    with progress.bar(napari_bar):
        for array in (source.array, *source.levels):
            levels.append(read_colors(Volume(array, rgb=True), colours, limits))
    warn_wrong(levels[0])
    placed = {name: source.carried[name] for name in (*PLACEMENT, "blending", "rendering", "metadata")}
    placed["metadata"]["napari_exposure_colormap"] = {
        "source": source.name,
        "colormap": shown.name,
        "limits": [float(limit) for limit in limits],
        "mean_distance": levels[0].mean,
        "greatest_distance": levels[0].maximum,
    }
    data = [level.values for level in levels]
    return napari.layers.Image(
        data if source.levels else data[0],
        name=f"{source.name} - values",
        colormap=shown,
        contrast_limits=sorted(map(float, limits)),
        multiscale=bool(source.levels),
        **placed,
    )


def _colours(colormap):
    """A napari colormap and its colours in even steps."""
    from napari.utils import Colormap
    from napari.utils.colormaps import ensure_colormap

    if not isinstance(colormap, str | Colormap):
        colour_table(colormap)
        return Colormap(np.asarray(colormap) / (255 if np.asarray(colormap).dtype.kind in "ui" else 1)), colormap
    try:
        shown = ensure_colormap(colormap)
    except KeyError:
        raise ValueError(f"napari knows no colormap {colormap!r}.") from None
    return shown, shown.map(np.linspace(0, 1, 256))
