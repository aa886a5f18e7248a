"""Loads kernels while the user still looks for a card."""

from __future__ import annotations

from functools import partial

import numpy as np

from napari_exposure.core import elsewhere
from napari_exposure.core.rehearsal import rehearse
from napari_exposure.gui.jobs import Job
from napari_exposure.source import level_0

# Loading was begun for these dtypes.
_begun: set[np.dtype] = set()
# It is under way in these jobs.
_loading: set[Job] = set()


def get_ready(layer) -> None:
    """Load the kernels for a layer's dtype in a worker, once; on a fresh install another process compiles them."""
    dtype = np.dtype(level_0(layer).dtype)
    if dtype in _begun:
        return
    _begun.add(dtype)

    def over() -> None:
        _loading.discard(job)
        # The process takes memory, and other kernels are seldom needed.
        if not _loading:
            elsewhere.end()

    elsewhere.begin()
    # An error is not shown here, because a card that needs the kernel raises it again.
    job = Job(partial(rehearse, dtype), done=lambda *result: None, failed=lambda error: None, ended=over)
    _loading.add(job)
