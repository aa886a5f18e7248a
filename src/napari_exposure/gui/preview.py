"""The live layer, which shows what Apply would give, computed for what is looked at."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from qtpy.QtCore import QTimer

from napari_exposure.core import Adjustment, progress
from napari_exposure.core.memory import Memory
from napari_exposure.core.transform import BlockMap
from napari_exposure.gui.connections import Connections
from napari_exposure.gui.jobs import Job
from napari_exposure.gui.preview_data import SAMPLE, PreviewData, map_volume, sampling
from napari_exposure.gui.viewer.compare import show_source_on_key
from napari_exposure.gui.viewer.edits import Edits
from napari_exposure.gui.viewer.layer_order import place, take_away
from napari_exposure.provenance import LIVE_SUFFIX, METADATA_KEY
from napari_exposure.recipe import Recipe
from napari_exposure.source import PLACEMENT, Origin, Source, in_memory, level_0

# A fit of more voxels takes longer than 0.3 s, so no preview begins by itself.
QUICK = 1 << 27
# A pass over more voxels takes longer than some ten milliseconds, so a sample is shown meanwhile.
MOMENT = 1 << 24


def fit_for_preview(source: Source, adjustment: Adjustment | Recipe, mask, memory: Memory) -> BlockMap:
    """Fit; where a large volume must be read, a report brings the transform of a sample first."""
    step = max(sampling(source.shape, source.spatial(adjustment)))
    if step > 1 and (math.prod(source.shape) > MOMENT or not in_memory(source.array)):
        with suppress(progress.MustRead), progress.at_once():
            return _fitted(source, adjustment, mask, memory)
        # The sample may hold no voxel of a small mask.
        with suppress(ValueError):
            found = _fitted(source, adjustment, mask, memory, **_sooner(source, mask, step))
            progress.report("fitting", 0.0, slow=True, found=found)
    return _fitted(source, adjustment, mask, memory)


def _sooner(source: Source, mask, step: int) -> dict:
    """What to fit on for a first look: a level of about the size of a sample, or a sample."""
    enough = [n for n, array in enumerate(source.levels, 1) if math.prod(array.shape) >= SAMPLE]
    return {"level": enough[-1]} if enough and mask is None else {"step": step}


def _fitted(source: Source, adjustment: Adjustment | Recipe, mask, memory: Memory, **how) -> BlockMap:
    """Fit, and load the kernels that map, so that the GUI thread never compiles."""
    with progress.changed(lambda step: replace(step, partial=None)):
        found = source.fit(adjustment, mask, memory, **how)
    found.load_kernels()
    return found


def _at_level(source: Source, fit: Callable[[], BlockMap], level: int) -> BlockMap:
    """The transform that `fit` finds in the source, for one of the source's levels."""
    return source.at_levels(fit())[level]


def is_preview(layer) -> bool:
    """Whether a layer is a live layer, which is never a source."""
    return isinstance(level_0(layer), PreviewData)


def is_quick(layer) -> bool:
    """Whether a layer can be fitted in a moment, so that its live layer may come by itself."""
    array = level_0(layer)
    return in_memory(array) and array.size <= QUICK


@dataclass(frozen=True)
class Joined:
    """Layers whose voxels are counted with those of another one.

    Attributes
    ----------
    others : tuple of napari.layers.Image
    how : str or None
        A word that `Recipe.apply` takes; with None the other one is a reference, which is counted in place of it.
    """

    others: tuple
    how: str | None

    def source(self, source: Source) -> Source:
        """What is fitted: a source with the others, or the reference; errors as ``Source.joined`` has them."""
        others = [Source.of(each) for each in self.others]
        if self.how is not None:
            return source.joined(others, self.how)
        (reference,) = others
        kinds = [f"{np.dtype(each.array.dtype).newbyteorder('=')} of {each.shape}" for each in (source, reference)]
        if kinds[0] != kinds[1]:
            words = [f"{each.name!r} is {kind}" for each, kind in zip((source, reference), kinds, strict=True)]
            raise ValueError(f"A reference has the shape and data type of the layer, but {' and '.join(words)}.")
        return reference


class Preview:
    """Owns one live layer above its source.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
    said : callable
        Called with a few words on how far it is, such as "Up to date", or why nothing is shown, and with details.
    edited : callable
        Called when the data of source or mask changed, so that it must be made again.
    gone : callable
        Called when somebody else removed the live layer, because then it is not wanted.
    shown : callable
        Called when there is another live layer, or none any more.
    fitted : callable
        Called with the layer and the transform that is shown of it, an approximate one first.
    """

    def __init__(
        self,
        viewer,
        said: Callable[[str, str], None],
        edited: Callable,
        gone: Callable,
        shown: Callable,
        fitted: Callable,
    ):
        self._viewer = viewer
        self._said, self._edited, self._gone, self._shown, self._fitted = said, edited, gone, shown, fitted
        self.layer: Any = None
        # The layer shows these data: one, or one for each level.
        self._data: list[PreviewData] = []
        self._joined: Joined | None = None
        self.memory = Memory()
        self._source: Source | None = None
        self._mask: Any = None
        self._fit: Job | None = None
        self._volume: Job | None = None
        self._edits = Edits(viewer, self._forget, self._forget)
        self._of_viewer = Connections()

    @property
    def running(self) -> bool:
        """Whether anything is being computed."""
        return self._fit is not None or self._volume is not None

    def is_of(self, layer) -> bool:
        """Whether the live layer is that of `layer`."""
        origin = None if self.layer is None else Origin.of(self.layer)
        return origin is not None and origin.source() == layer

    def _takes(self, source: Source) -> bool:
        """Whether the live layer is that of a source, with as many axes, and with levels where the source has them."""
        kind = len(source.shape), bool(source.levels)
        return self.is_of(source.layer()) and (self.layer.ndim, self.layer.multiscale) == kind

    def memory_of(self, layer, mask) -> Memory | None:
        """What fits of the previewed data have found, for Apply; None for other data."""
        shown = self._source is not None and self._source.layer() == layer and self._mask == mask
        return self.memory if shown and self._joined is None else None

    def show(self, layer, adjustment: Adjustment | Recipe, mask=None, joined: Joined | None = None) -> None:
        """Show what an adjustment or a recipe makes of `layer`; what is shown stays until that is fitted.

        With `joined` other layers are fitted with it.

        Raises
        ------
        TypeError, ValueError
            If the layer, the mask or a parameter does not fit, with a sentence for the user.
        """
        start = time.perf_counter()
        source = self._begin(layer, mask, joined)
        counted = source if joined is None else joined.source(source)
        memory = self.memory

        def current():
            return self._fit is job

        def exact():
            return counted.fit(adjustment, mask)

        def step(step):
            if current() and step.partial is not None:
                self._put(source, step.partial, mask, "Approximate, updating", "", exact)
            elif current():
                self._said(f"Updating, {step.what} {step.fraction:.0%}", "")

        def done(transform, seconds):
            if current():
                self._put(source, transform, mask, "Up to date", f"exact, fit {1000 * seconds:.0f} ms")

        def failed(error):
            if current():
                self.remove()
                self._said(str(error), "")

        def ended():
            if current():
                self._fit = None

        # Without a job `current` is true, because nothing newer is on its way.
        job = self._fit = None
        try:
            with progress.at_once():
                transform = _fitted(counted, adjustment, mask, memory)
        except progress.MustRead:
            work = partial(fit_for_preview, counted, adjustment, mask, memory)
            job = self._fit = Job(work, done=done, ended=ended, step=step, failed=failed)
        else:
            done(transform, time.perf_counter() - start)

    def follow(self, layer, first: Preview) -> None:
        """Show what the fit of another layer, as `first` shows it, makes of `layer`.

        Raises
        ------
        TypeError, ValueError
            If it does not fit.
        """
        source, shown = self._begin(layer, None), first._data[0]
        fit, said = shown.exact, "Up to date" if shown.exact is None else "Approximate, updating"
        exact = None if fit is None else lambda: fit().fitting(source.array)
        self._put(source, shown.transform.fitting(source.array), None, said, "", exact)

    def _begin(self, layer, mask, joined: Joined | None = None) -> Source:
        """Stop the fit that is under way, for another one of this layer and mask."""
        source = Source.of(layer)
        same = self._source is not None and self._source.layer() is source.layer()
        if not same or mask != self._mask or joined != self._joined:
            self._joined = joined
            self._turn(layer, mask)
        self._source = source
        if self._fit is not None:
            self._fit.cancel()
            self._fit = None
        return source

    def _turn(self, layer, mask) -> None:
        """Begin with another source or mask; what is shown stays until that is fitted."""
        self._of_viewer.drop()
        # The memory is a new one, because an older fit may still write to the old one.
        self.memory = Memory()
        self._mask = mask
        self._edits.watch(layer, mask, *(() if self._joined is None else self._joined.others))
        for name in PLACEMENT:
            self._of_viewer.add(self._on_placement, getattr(layer.events, name))
        self._of_viewer.add(self._on_removed, self._viewer.layers.events.removed)
        self._of_viewer.add(self._on_dims, self._viewer.dims.events.ndisplay)

    def _stop(self) -> None:
        """Cancel the jobs, and stop following the layers and the viewer."""
        for job in (self._fit, self._volume):
            if job is not None:
                job.cancel()
        self._fit = self._volume = None
        self._edits.watch()
        self._of_viewer.drop()

    def _let_go(self):
        """Stop everything and forget the layer, which is returned."""
        self._stop()
        layer, self.layer, self._source, self._data = self.layer, None, None, []
        return layer

    def remove(self) -> None:
        """Take the layer away and stop everything."""
        original = None if self._source is None else self._source.layer()
        layer = self._let_go()
        if layer is None or layer not in self._viewer.layers:
            return
        if self._viewer.layers.selection.active == layer and original in self._viewer.layers:
            # Its source is selected in its place.
            self._viewer.layers.selection = {original}
        take_away(self._viewer, layer)
        self._shown()

    def keep(self, source: Source, data, transform: BlockMap, seconds: float, mask):
        """Put a computed result in the place of the live one, and return the layer, which is the user's now.

        Returns None where there is no live layer of this source, or one of another kind.
        """
        if not self._takes(source):
            return None
        layer = self._let_go()
        source.put_into(layer, data, transform, seconds=seconds, mask=mask)
        if layer.name.startswith(source.name + LIVE_SUFFIX):
            layer.name = source.name_of(transform.steps)
        self._shown()
        return layer

    def _on_removed(self, event) -> None:
        if event.value == self.layer:
            source = self._source and self._source.layer()
            self.remove()
            self._shown()
            # If the source goes in the same turn, all layers are being deleted, and nobody switched the preview off.
            QTimer.singleShot(0, lambda: self._gone() if source in self._viewer.layers else None)

    def _on_placement(self, event) -> None:
        if self.is_of(event.source):
            setattr(self.layer, event.type, getattr(event.source, event.type))
        # The result may be another one, because tiles have a physical size.
        self._edited()

    def _forget(self, event=None) -> None:
        self.memory = Memory()
        self._edited()

    # --- the layer ---

    def _put(
        self,
        source: Source,
        transform: BlockMap,
        mask,
        said: str,
        detail: str,
        exact: Callable[[], BlockMap] | None = None,
    ) -> None:
        """Have the layer show a transform; `exact` fits all of the source, where the transform is approximate."""
        layers = self._viewer.layers
        original = source.layer()
        if original is None or original not in layers:
            return
        arrays, transforms = [source.array, *source.levels], source.at_levels(transform)
        exacts = [exact and partial(_at_level, source, exact, level) for level in range(len(arrays))]
        same = self.is_of(original) and self._data[0].fits(source.array, transform)
        if same and source.shown_range(transform) == source.shown_range(self._data[0].transform):
            for data, level, fit in zip(self._data, transforms, exacts, strict=True):
                data.transform, data.exact = level, fit
            self.layer.metadata[METADATA_KEY] = source.record(transform.steps, mask)
            source.mark(self.layer, transform, mask)
            if self._viewer.dims.ndisplay == 2 or self._data[-1].volume is None:
                # In 3D the old picture stays until the new one is ready.
                self._data[-1].volume = None
                self.layer.refresh(extent=False, thumbnail=False, highlight=False)
        else:
            several = bool(source.levels)
            self._data = [PreviewData(*each, level=several) for each in zip(arrays, transforms, exacts, strict=True)]
            shown: Any = self._data if several else self._data[0]
            if self._takes(source):
                # The layer keeps the looks that the user gave it, even where the result has another dtype.
                source.put_into(self.layer, shown, transform, mask=mask)
            else:
                old, self.layer = self.layer, None
                if old is not None:
                    take_away(self._viewer, old)
                self.layer = source.result(shown, transform, mask=mask)
                self.layer.name = source.name + LIVE_SUFFIX
                place(self._viewer, self.layer, original)
                show_source_on_key(self._viewer, self.layer, original)
            self._shown()
        self._fitted(original, transform)
        if self._viewer.dims.ndisplay == 2:
            seconds = max(self._data, key=lambda data: data.read).seconds
            detail = ", ".join(filter(None, (detail, f"plane {1000 * seconds:.1f} ms")))
            self._said(said, detail)
        self._on_dims()

    def _on_dims(self, event=None) -> None:
        """Compute the volume in a worker where the viewer shows 3D."""
        if self._volume is not None:
            self._volume.cancel()
            self._volume = None
        if self.layer is None or self._viewer.dims.ndisplay != 3:
            return
        # napari shows the coarsest level in 3D.
        data = self._data[-1]

        def show(volume):
            if self._volume is job and self.layer is not None:
                data.volume = volume
                self.layer.refresh(extent=False)

        def done(volume, seconds):
            show(volume)
            if self._fit is None:
                self._said("Up to date", f"exact, volume {1000 * seconds:.0f} ms")

        def step(step):
            if self._volume is job:
                self._said(f"Updating, {step.what} {step.fraction:.0%}", "")
            if step.partial is not None:
                show(step.partial)

        def ended():
            if self._volume is job:
                self._volume = None

        job = self._volume = Job(partial(map_volume, data), done=done, ended=ended, step=step)
