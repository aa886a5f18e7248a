"""Work beside the window, when the window closes."""

import threading

from napari_exposure.core import progress
from napari_exposure.gui import jobs
from napari_exposure.gui.jobs import Job


def test_a_window_does_not_wait_for_a_source_that_hangs(qtbot):
    released, ended, heard = threading.Event(), threading.Event(), []

    def work():
        released.wait(120)
        try:
            progress.report("reading", 0.5)
        finally:
            ended.set()

    job = Job(work, done=lambda *result: heard.append(result))
    # as Qt does when napari ends
    jobs.stop_all()
    assert job.cancelled
    assert not ended.is_set()
    released.set()
    assert ended.wait(30)
    assert not heard


def test_work_that_ends_is_waited_for(qtbot):
    heard = []
    job = Job(lambda: "made", done=lambda result, seconds: heard.append(result))
    qtbot.waitUntil(lambda: heard == ["made"])
    assert not job.cancelled
