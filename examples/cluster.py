"""Equalizes a zarr array on a cluster of this machine, from disk to disk, and checks that nothing but time changes.

python examples/cluster.py                                 makes a volume of 16 MB, and equalizes it
python examples/cluster.py --size 512                      of 512 MB
python examples/cluster.py --source a.zarr --target b.zarr --spacing 1 0.3 0.3
python examples/cluster.py --workers 4

Needs the extras `distributed` and `zarr`.  On another cluster replace LocalCluster, as docs/large.md says; source and
target must lie where all workers can read and write.
"""

import argparse
import tempfile
import time
from pathlib import Path

import dask.array as da
import numpy as np
import zarr
from dask.distributed import Client, LocalCluster

import napari_exposure as nx
from napari_exposure import core
from napari_exposure.samples import SYNTHETIC_SPACING, make_synthetic

CHUNKS = (32, 128, 128)
# in the unit of the spacing
KERNEL_SIZE = 15.0


def make_volume(path: Path, megabytes: float) -> None:
    """Write nuclei-like blobs, repeated to about this size."""
    block = make_synthetic((64, 256, 256), cells=80)
    repeats = max(1, round(megabytes * 2**20 / block.nbytes))
    stored = zarr.create_array(
        path, shape=(repeats * len(block), *block.shape[1:]), chunks=CHUNKS, dtype=block.dtype, overwrite=True
    )
    for number in range(repeats):
        stored[number * len(block) : (number + 1) * len(block)] = block


def equalized(source: Path, target: Path, spacing) -> float:
    """Equalize from disk to disk, on the cluster if there is a client; return the seconds."""
    start = time.perf_counter()
    # fits here: the workers count, and only histograms travel
    result = core.equalize_adapthist(da.from_zarr(source), KERNEL_SIZE, spacing=spacing)
    # and maps here: the workers write
    nx.save(result, target, spacing=spacing, unit="um", overwrite=True)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", metavar="ZARR", type=Path, help="an array; default: one that is made")
    parser.add_argument("--target", metavar="ZARR", type=Path, help="default: in a folder that goes away")
    parser.add_argument("--spacing", metavar=("Z", "Y", "X"), nargs=3, type=float, default=SYNTHETIC_SPACING)
    parser.add_argument("--size", metavar="MB", type=float, default=16, help="of the volume that is made")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        source, target = options.source or Path(folder, "nuclei.zarr"), options.target or Path(folder, "equalized.zarr")
        if options.source is None:
            make_volume(source, options.size)
        array = zarr.open_array(source, mode="r")
        print(f"volume   {' x '.join(map(str, array.shape))} {array.dtype}, {array.nbytes / 2**20:.0f} MB")
        # one thread a worker: a task uses one
        with (
            LocalCluster(n_workers=options.workers, threads_per_worker=1, dashboard_address=":0") as cluster,
            Client(cluster),
        ):
            seconds = equalized(source, target, options.spacing)
        print(f"cluster  {options.workers} workers, {seconds:.1f} s")
        here = Path(folder, "here.zarr")
        print(f"threads  of this process, {equalized(source, here, options.spacing):.1f} s")
        # chunk by chunk: the volume may be larger than memory
        same = (da.from_zarr(target, component="0") == da.from_zarr(here, component="0")).all().compute()
        print(f"the same values, bit by bit: {bool(same)}")
        if not np.all(same):
            raise SystemExit("The results differ.")


if __name__ == "__main__":
    main()
