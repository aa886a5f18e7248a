"""What all tests share: nothing here may need napari or Qt."""

import pytest


@pytest.fixture(scope="session")
def local_cluster():
    """A cluster of this machine: two workers, which are processes of their own.

    It is started once, and a worker that a test kills is started again.  A client takes over what dask computes, so
    each test makes its own.
    """
    distributed = pytest.importorskip("distributed")
    # ":0" is any free port: None means 8787, with a warning where that is taken
    with distributed.LocalCluster(
        n_workers=2, processes=True, threads_per_worker=1, dashboard_address=":0", silence_logs=50
    ) as cluster:
        yield cluster
