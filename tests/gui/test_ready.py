"""Kernels are loaded for what a dock shows, once for each dtype."""

import numpy as np
from napari.layers import Image

from napari_exposure.core.rehearsal import rehearse
from napari_exposure.gui.exposure import ready


def test_each_dtype_is_rehearsed_once(monkeypatch):
    jobs = []
    monkeypatch.setattr(ready, "_begun", set())
    monkeypatch.setattr(ready, "_loading", set())
    monkeypatch.setattr(ready.elsewhere, "begin", lambda: None)
    monkeypatch.setattr(ready, "Job", lambda work, **callbacks: jobs.append(work))
    plane = np.zeros((8, 8))
    for dtype in ("uint16", "uint16", "float32", "uint16"):
        ready.get_ready(Image(plane.astype(dtype)))
    ready.get_ready(Image([plane.astype("uint8"), plane[::2, ::2].astype("uint8")], multiscale=True))
    assert [(job.func, *job.args) for job in jobs] == [(rehearse, each) for each in ("uint16", "float32", "uint8")]


def test_the_process_that_compiles_ends_with_the_last_job(monkeypatch):
    ends, calls = [], []
    monkeypatch.setattr(ready, "_begun", set())
    monkeypatch.setattr(ready, "_loading", set())
    monkeypatch.setattr(ready.elsewhere, "begin", lambda: calls.append("begin"))
    monkeypatch.setattr(ready.elsewhere, "end", lambda: calls.append("end"))
    monkeypatch.setattr(ready, "Job", lambda work, *, ended, **callbacks: ends.append(ended) or work)
    for dtype in ("uint16", "float32"):
        ready.get_ready(Image(np.zeros((8, 8), dtype)))
    assert calls == ["begin", "begin"]
    ends[1]()
    assert calls[2:] == []
    ends[0]()
    assert calls[2:] == ["end"]
