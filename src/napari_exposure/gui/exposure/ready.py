"""Has kernels loaded while the user still looks for a card."""

from __future__ import annotations

from functools import partial

import numpy as np

from napari_exposure.core.rehearsal import rehearse
from napari_exposure.gui.jobs import Job
from napari_exposure.source import level_0

# dtypes for which that was begun
_begun: set[np.dtype] = set()


def get_ready(layer) -> None:
    """Have a worker load, on a fresh install compile, what the cards need for images of a layer's dtype; once."""
    dtype = np.dtype(level_0(layer).dtype)
    if dtype not in _begun:
        _begun.add(dtype)
        # What cannot be rehearsed is told when it is wanted.
        Job(partial(rehearse, dtype), done=lambda result, seconds: None, failed=lambda error: None)
