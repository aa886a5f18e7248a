"""Loads kernels while the user still looks for a card."""

from __future__ import annotations

from functools import partial

import numpy as np

from napari_exposure.core.rehearsal import rehearse
from napari_exposure.gui.jobs import Job
from napari_exposure.source import level_0

# Loading was begun for these dtypes.
_begun: set[np.dtype] = set()


def get_ready(layer) -> None:
    """Load the kernels for a layer's dtype in a worker, once; on a fresh install they are compiled there."""
    dtype = np.dtype(level_0(layer).dtype)
    if dtype not in _begun:
        _begun.add(dtype)
        # An error is not shown here, because a card that needs the kernel raises it again.
        Job(partial(rehearse, dtype), done=lambda result, seconds: None, failed=lambda error: None)
