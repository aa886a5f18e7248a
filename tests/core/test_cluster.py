"""A cluster that loses its workers: the work goes on where one comes back, and says what is wrong where none does."""

import subprocess
import sys
from types import SimpleNamespace

import dask.array as da
import numpy as np
import pytest

from core import reference
from napari_exposure.core import AdaptiveEqualization, Gamma, equalize_adapthist, histogram_along, lazy, progress
from napari_exposure.core.blocks import read_part, store
from napari_exposure.core.volume import Volume

SHAPE = (6, 11, 13)


@pytest.fixture
def cluster():
    """A cluster of threads of this process, still without a worker."""
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=0, protocol="tcp://", processes=False, threads_per_worker=1, dashboard_address=":0", silence_logs=50
    ) as cluster:
        yield cluster


@pytest.fixture
def client(cluster):
    from distributed import Client

    with Client(cluster) as client:
        yield client


@pytest.fixture
def impatient(monkeypatch):
    """A cluster may be without a worker for a moment only."""
    monkeypatch.setattr(lazy, "PATIENCE", 0.2)
    monkeypatch.setattr(lazy, "LOOK", 0.05)


def chunked(dtype="float32"):
    return da.from_array(reference.make_volume(dtype, SHAPE), chunks=(1, 11, 13))


def jobs():
    target = np.zeros(SHAPE, "float32")
    # that a memory map or an array of this process is not what is written to
    stored = SimpleNamespace(shape=SHAPE, dtype=target.dtype, chunks=SHAPE, __setitem__=target.__setitem__)
    return {
        "a fit": lambda array: AdaptiveEqualization(5).fit(array),
        "writing": lambda array: store(array, stored, "writing"),
        "reading a part": lambda array: read_part(array, (slice(0, 2), slice(0, 5), slice(0, 5))),
        "counting along an axis": lambda array: histogram_along(array, 0, 8, (0, 1)),
    }


@pytest.mark.parametrize("job", jobs())
def test_a_cluster_without_workers_is_given_up(job, client, impatient):
    with pytest.raises(lazy.ClusterError, match=r"has 0 workers.*within 0\.2 s.*Start workers.*wait_for_workers\(1\)"):
        jobs()[job](chunked())


@pytest.fixture
def worker(cluster):
    """Start a worker in a process of its own, which no nanny starts again."""
    processes = []

    def start():
        command = [sys.executable, "-m", "distributed.cli.dask_worker", cluster.scheduler_address]
        command += ["--no-nanny", "--no-dashboard", "--nthreads", "1", "--death-timeout", "60"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.wait()


@pytest.fixture
def begun_fit(worker, client, tmp_path, monkeypatch):
    """A worker and a fit, which calls `then` when it has had its first chunk.

    The other chunks come when the file "open" is there.
    """
    first, gate = str(tmp_path / "first"), str(tmp_path / "open")

    def held(chunk, block_info=None):
        import os
        import time

        if block_info:
            try:
                open(first, "x").close()
            except FileExistsError:
                while not os.path.exists(gate):
                    time.sleep(0.01)
        return chunk

    monkeypatch.setattr(lazy, "BLOCK_VOXELS", 1)
    process = worker()
    client.wait_for_workers(1, timeout=60)
    volume = Volume(chunked().map_blocks(held, dtype="f4", meta=np.empty((0, 0, 0), "f4")))

    def fit(then):
        begun = False

        def listen(step):
            nonlocal begun
            if step.fraction and not begun:
                begun = True
                then()

        with progress.listening(listen):
            return Gamma(0.5).fit_volume(volume)

    return process, fit


def test_the_last_worker_is_killed(begun_fit, client, worker, tmp_path, impatient):
    process, fit = begun_fit
    with pytest.raises(lazy.ClusterError, match="has 0 workers"):
        fit(process.kill)
    # and the client is of use again
    worker()
    client.wait_for_workers(1, timeout=60)
    assert client.submit(abs, -1).result(timeout=60) == 1


def test_another_worker_goes_on(begun_fit, client, worker, tmp_path, monkeypatch):
    process, fit = begun_fit
    monkeypatch.setattr(lazy, "PATIENCE", 300.0)

    def replace_it():
        process.kill()
        process.wait()
        (tmp_path / "open").touch()
        worker()

    found = fit(replace_it)
    volume = reference.make_volume("float32", SHAPE)
    np.testing.assert_array_equal(found.apply(volume), Gamma(0.5).fit(volume).apply(volume))


def test_work_that_is_canceled(begun_fit, client, tmp_path):
    _, fit = begun_fit

    def cancel():
        client.restart(wait_for_workers=False)
        (tmp_path / "open").touch()

    with pytest.raises(lazy.ClusterError, match=r"gave up the work.*new client"):
        fit(cancel)


def test_a_worker_comes_back(cluster, client, monkeypatch):
    monkeypatch.setattr(lazy, "PATIENCE", 300.0)
    monkeypatch.setattr(lazy, "LOOK", 0.01)
    looks = []
    # the worker comes after it was missed a few times
    asked = client.nthreads

    def missed():
        looks.append(asked())
        if len(looks) == 3:
            cluster.scale(1)
        return looks[-1]

    monkeypatch.setattr(client, "nthreads", missed)
    found = equalize_adapthist(chunked(), 5).compute()
    assert not any(looks[:3])
    np.testing.assert_array_equal(found, equalize_adapthist(reference.make_volume("float32", SHAPE), 5))


# --- the clock --------------------------------------------------------------------------


class Clock:
    """Time that passes only in sleep."""

    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(lazy, "time", clock)
    return clock


def client_of(workers, status="running"):
    """A client whose cluster has as many workers as `workers` says."""
    return SimpleNamespace(status=status, nthreads=workers, scheduler=SimpleNamespace(address="tcp://lab:8786"))


def test_patience_begins_anew_with_each_worker(clock):
    # gone for all of it but a second, there for two seconds, and so on
    def workers():
        return {"tcp://lab:1": 1} if clock.now % (lazy.PATIENCE + 1) > lazy.PATIENCE - 1 else {}

    lazy._while_there_are_workers(client_of(workers), lambda: clock.now > 1000, [0])


def test_patience_ends(clock):
    with pytest.raises(lazy.ClusterError, match=r"tcp://lab:8786 has 0 workers.*within 25 s; 2 parts of the work"):
        lazy._while_there_are_workers(client_of(dict), lambda: False, [0, 1])
    assert 25 <= clock.now < 30


def test_workers_that_work_for_days_are_waited_for(clock):
    lazy._while_there_are_workers(client_of(lambda: {"tcp://lab:1": 1}), lambda: clock.now > 3000, [0])


def test_a_scheduler_that_does_not_answer_is_no_reason_to_compute(clock):
    def lost():
        raise OSError("no answer")

    with pytest.raises(lazy.ClusterError):
        lazy._while_there_are_workers(client_of(lost), lambda: False, [0])
    # what the client itself tries for as long as it sees fit
    lazy._while_there_are_workers(client_of(lost, "connecting"), lambda: clock.now > 1000, [0])
