"""The former place of `io.omezarr`, kept because scripts import `read_zarr` from here."""

from napari_exposure.io.omezarr import read_zarr

__all__ = ["read_zarr"]
