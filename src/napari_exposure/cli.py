"""The command napari-exposure: applies recipes to many files and tells what is in a file, without napari and Qt."""

from __future__ import annotations

import argparse
import contextlib
import csv
import logging
import math
import os
import re
import sys
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np

from napari_exposure.core.words import printable

if TYPE_CHECKING:
    from napari_exposure.batch import Outcome, Plan
    from napari_exposure.core.progress import Step
    from napari_exposure.report import Report

DTYPES = ("uint8", "uint16", "uint32", "int8", "int16", "int32", "float32", "float64")
_UNHEARD = logging.NullHandler()
QUANTILES = (0.1, 1, 5, 25, 50, 75, 95, 99, 99.9)
# Messages of the package are written for Python.  The first pattern finds a parameter with its value in them, and the
# second one a conversion such as result.astype('uint8'); `in_options` replaces both by the option that does the same.
_ARGUMENT = re.compile(r"\b(axes|dataset|dtype|overwrite|series|spacing|unit)=(?:True\b|'([^']*)'|\(([^()]*)\)|(\w+))?")
_CONVERSION = re.compile(r"\b\w+\.astype\('(\w+)'\)")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status: 0, 1 if a file failed, 2 if the command is wrong."""
    options = _parser().parse_args(arguments)
    # tifffile logs what is wrong with a damaged file, and Python prints what is logged if nothing handles it.  This
    # handler drops it, because our own message already says what is wrong.
    logging.getLogger("tifffile").addHandler(_UNHEARD)
    try:
        with warnings.catch_warnings():
            # A line of Python tells a user nothing, and another file may have the same warning.
            warnings.simplefilter("always", UserWarning)
            warnings.showwarning = lambda words, *_, **__: say(f"napari-exposure: {in_options(words)}", sys.stderr)
            status: int = options.run(options)
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        # The reader of the output, such as head, has ended. The rest goes nowhere, so that it does not fail at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (OSError, TypeError, ValueError, ImportError) as error:
        words = in_options(error)
        if isinstance(error, OSError) and error.strerror and error.filename is not None:
            words = f"{error.filename}: {error.strerror}."
        elif isinstance(error, OSError) and error.strerror:
            words = f"{error.strerror}. What was being written then was not kept."
        say(f"napari-exposure: {words}", sys.stderr)
        return 2
    except KeyboardInterrupt:
        say("napari-exposure: interrupted; run it again to go on where it stopped.", sys.stderr)
        return 130


def say(words: str, file: TextIO | None = None) -> None:
    """Print a line, which may contain names with any characters."""
    print(printable(words), file=file, flush=True)


def in_options(sentence: object) -> str:
    """Return a sentence of the package with the options of this command for the parameters that Python has.

    Examples
    --------
    >>> from napari_exposure.cli import in_options
    >>> in_options("Give axes=, or overwrite=True, or spacing=(2, 0.5, 0.5) with unit='um'.")
    'Give --axes, or --overwrite, or --spacing 2 0.5 0.5 with --unit um.'
    """

    def option(match: re.Match[str]) -> str:
        value = next(filter(None, match.groups()[1:]), "").replace(",", "")
        return f"--{match[1]} {value}".rstrip()

    return _CONVERSION.sub(r"--dtype \1", _ARGUMENT.sub(option, str(sentence)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="napari-exposure", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    apply = commands.add_parser(
        "apply", help="apply a recipe to files", description="Apply a recipe to files: TIFF, OME-Zarr, HDF5 and others."
    )
    apply.set_defaults(run=_apply)
    apply.add_argument("recipe", metavar="RECIPE", help="JSON file, as the widgets save it")
    apply.add_argument("inputs", metavar="INPUT", nargs="+", help="file, folder or pattern")
    apply.add_argument("-o", "--output", metavar="OUTDIR", type=Path, required=True, help="folder of the results")
    apply.add_argument("--format", choices=("tiff", "zarr"), help="of the results; default: that of the input")
    apply.add_argument("--fit-on", metavar="FILE", type=Path, help="fit on this volume, the same mapping for all")
    apply.add_argument(
        "--channels",
        metavar="HOW",
        type=_channels,
        default="each",
        help="what channels are fitted on: each itself (default), one fit of all, of their sum or of their max "
        "(voxel by voxel), or the number of the one whose fit all have, counted from 0",
    )
    _add_opening(apply, sized=True)
    apply.add_argument("--jobs", type=_positive, default=min(4, os.cpu_count() or 1), help="files at once")
    apply.add_argument("--dry-run", action="store_true", help="say what would be done")
    apply.add_argument("--overwrite", action="store_true", help="also make results that are there")
    apply.add_argument("--report", metavar="HTML", type=Path, help="write a page with pictures, before and after")
    apply.add_argument("--scheduler", metavar="ADDRESS", help="of a dask.distributed cluster to work on")
    info = commands.add_parser("info", help="shape, voxel size, range and percentiles of a file")
    info.set_defaults(run=_info)
    info.add_argument("file", type=Path)
    _add_opening(info)
    suggest = commands.add_parser("suggest", help="what a file needs, with reasons, and a recipe for it")
    suggest.set_defaults(run=_suggest)
    suggest.add_argument("file", type=Path)
    _add_opening(suggest, sized=True)
    words = "which one is looked at, counted from 0 (default: 0)"
    suggest.add_argument("--channel", metavar="N", type=int, default=0, help=words)
    suggest.add_argument("-o", "--output", metavar="RECIPE", type=Path, help="write the recipe, as JSON")
    suggest.add_argument("--overwrite", action="store_true", help="also write a recipe that is there")
    histogram = commands.add_parser("histogram", help="the exact histogram of a file, as CSV or picture")
    histogram.set_defaults(run=_histogram)
    histogram.add_argument("file", type=Path)
    _add_opening(histogram)
    histogram.add_argument("--csv", metavar="FILE", type=Path, help="write counts and CDF")
    histogram.add_argument("--png", metavar="FILE", type=Path, help="write a picture")
    histogram.add_argument("--overwrite", action="store_true", help="also write files that are there")
    return parser


def _add_opening(parser: argparse.ArgumentParser, sized: bool = False) -> None:
    """Add the options of how a file is read, and of its voxel size."""
    add = parser.add_argument
    if sized:
        add("--spacing", metavar="SIZE", type=float, nargs="+", help="voxel size (z y x), not the file's")
        add("--unit", default="um", help="of --spacing (default: um)")
    add("--series", metavar="N", type=int, help="which image, in a file of several, counted from 0 (default: 0)")
    add("--dataset", metavar="NAME", help="which dataset of an HDF5 file, such as volumes/raw")
    add("--axes", metavar="LETTERS", help="such as tzyx, where the file does not say or is wrong")
    add("--dtype", choices=DTYPES, help="convert what is read, such as a mask of 1 bit a pixel")


def _opening(options: argparse.Namespace) -> dict[str, Any]:
    return {name: getattr(options, name) for name in ("axes", "series", "dataset", "dtype")}


def _channels(text: str) -> str:
    from napari_exposure.core.several import TOGETHER

    if text.isdecimal() or text in ("each", *TOGETHER):
        return text
    raise argparse.ArgumentTypeError(f"must be each, {', '.join(TOGETHER)} or a number from 0, got {text!r}")


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 on, got {text!r}")
    return int(text)


# --- apply ---


def _apply(options: argparse.Namespace) -> int:
    from napari_exposure import batch
    from napari_exposure.core.replacing import keep_apart
    from napari_exposure.recipe import Recipe
    from napari_exposure.report import Report

    paths = batch.targets(batch.collect(options.inputs), options.output, options.format)
    inputs = [options.recipe, *paths, *([options.fit_on] if options.fit_on else [])]
    keep_apart(inputs, [*paths.values(), *([options.report] if options.report else [])])
    recipe = Recipe.load(options.recipe)
    _sizes(options.spacing)
    unit = _length(options.unit)
    plan = batch.Plan(
        recipe, options.fit_on, options.spacing, unit, _opening(options), bool(options.scheduler), options.channels
    )
    if options.dry_run:
        for path, target in paths.items():
            there = None if options.overwrite else batch.left(target, plan.asked(path))
            words = {None: "", "": " (is there, skipped)"}.get(there, f" ({there}; kept without --overwrite)")
            say(f"{path} -> {target}{words}")
        return 0
    _make_folder(options.output)
    report = None if options.report is None else Report(plan, options.report, options.overwrite)
    with contextlib.ExitStack() as stack:
        if options.scheduler:
            try:
                from distributed import Client
            except ImportError:
                raise ImportError('--scheduler needs: pip install "napari-exposure[distributed]"') from None
            stack.enter_context(Client(options.scheduler))
        return _run(batch, plan, paths, options, report)


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        why = next((f"{each} is a file" for each in (path, *path.parents) if os.path.isfile(each)), error.strerror)
        raise ValueError(f"The folder {path} cannot be made: {why}. Give another one with --output.") from None


def _run(
    batch: ModuleType, plan: Plan, paths: dict[Path, Path], options: argparse.Namespace, report: Report | None
) -> int:
    from tqdm import tqdm

    outcomes: list[Outcome] = []
    shown: dict[Path, float] = {}
    with contextlib.ExitStack() as stack:
        if report is not None:
            # The report is written even if the run is interrupted, because it tells what was done until then.
            stack.callback(lambda: report.write() if outcomes else None)
        whole = stack.enter_context(tqdm(total=len(paths), unit="file", disable=None, position=0))

        def step(path: Path, each: Step) -> None:
            shown[path] = each.fraction
            running = ", ".join(f"{path.name} {fraction:.0%}" for path, fraction in list(shown.items())[:3])
            whole.set_postfix_str(printable(running), refresh=True)

        for each in batch.run(plan, paths, jobs=options.jobs, overwrite=options.overwrite, step=step):
            outcome = replace(each, words=in_options(each.words))
            shown.pop(outcome.path, None)
            outcomes.append(outcome)
            whole.update()
            if whole.disable:
                say(_line(outcome))
            if report is not None and outcome.status != "stopped":
                report.add(outcome)
    return _summary(outcomes)


def _line(outcome: Outcome) -> str:
    why = f": {outcome.words}" if outcome.words else ""
    return f"{outcome.status:8} {outcome.seconds:7.2f} s  {outcome.path}{why}"


def _summary(outcomes: Sequence[Outcome]) -> int:
    counts = {status: sum(each.status == status for each in outcomes) for status in ("done", "skipped", "failed")}
    say(", ".join(f"{number} {status}" for status, number in counts.items()))
    for outcome in outcomes:
        if outcome.status != "skipped" and outcome.words:
            say(f"  {outcome.path}: {outcome.words}")
    return 1 if counts["failed"] else 0


# --- info and histogram ---


def _info(options: argparse.Namespace) -> int:
    from napari_exposure import core
    from napari_exposure.batch import check_dtype, split
    from napari_exposure.io.files import UNKNOWN
    from napari_exposure.io.reading import read

    volume = read(options.file, **_opening(options))
    size = math.prod(volume.data.shape) * volume.data.dtype.itemsize
    say(f"file         {options.file}")
    for number, image in enumerate(volume.images):
        say(f"series       {number}: {image}{', which this is about' if number == volume.series else ''}")
    say(f"shape        {' x '.join(map(str, volume.data.shape))} ({volume.axes}), {_bytes(size)}")
    if volume.guessed:
        say(f"             {', '.join(volume.guessed)}: a guess, because the file does not say it; give --axes")
    say(f"dtype        {volume.data.dtype.newbyteorder('=')}")
    for axis, (step, unit) in volume.sizes.items():
        if axis in volume.came_from and axis != "C":
            say(f"{axis:12} {step:g} {'without a unit' if unit == UNKNOWN else unit} ({volume.came_from[axis]})")
        elif axis != "C":
            say(f"{axis:12} ? (not in the file)")
    if missing := volume.missing:
        say(f"missing      {missing} chunks of the store, which read as its fill value")
    if volume.translate:
        say(f"begins at    {', '.join(f'{place:g}' for place in volume.translate)}")
    if volume.data.dtype.kind == "b":
        mask: Any = volume.data
        volume = replace(volume, data=mask.astype(np.uint8))
    check_dtype(options.file, volume)
    for number, array in enumerate(split(volume)):
        prefix = f"{volume.channel(number)}: " if "C" in volume.axes else ""
        histogram = core.histogram(array, rgb=volume.axes.endswith("S"))
        if not histogram.counts.any():
            say(f"range        {prefix}no finite voxel")
            continue
        say(f"range        {prefix}{histogram.minimum:g} to {histogram.maximum:g}")
        found = core.percentile(array, QUANTILES, rgb=volume.axes.endswith("S"))
        words = ", ".join(f"{q:g} %: {value:g}" for q, value in zip(QUANTILES, found, strict=True))
        say(f"percentiles  {prefix}{words}")
    return 0


def _suggest(options: argparse.Namespace) -> int:
    from napari_exposure.batch import check_dtype, resized, split, suggestion
    from napari_exposure.core.replacing import check_place, keep_apart
    from napari_exposure.io.reading import read

    if options.output is not None:
        keep_apart([options.file], [options.output])
        check_place(options.output, overwrite=options.overwrite)
    unit = _length(options.unit)
    volume = resized(read(options.file, **_opening(options)), _sizes(options.spacing), unit)
    check_dtype(options.file, volume)
    channels = list(split(volume))
    if not 0 <= options.channel < len(channels):
        raise ValueError(f"--channel must be 0 to {len(channels) - 1}, got {options.channel}.")
    if len(channels) > 1:
        say(f"{volume.channel(options.channel)}, one of {len(channels)} channels; --channel chooses another")
    found = suggestion(volume, options.channel)
    for line in str(found).splitlines():
        say(line)
    if options.output is None:
        return 0
    if found.recipe is None:
        say(f"{options.output} is not written, because nothing is suggested.")
    else:
        found.recipe.save(options.output)
        say(f"written to {options.output}")
    return 0


def _length(text: str) -> str:
    """Return the usual name of a unit of length, or raise if it is none."""
    from napari_exposure.io.units import unit_name

    unit = unit_name(text)
    if unit is None:
        raise ValueError(f"--unit must be a unit of length such as um or nm, got {text!r}.")
    return unit


def _sizes(spacing: list[float] | None) -> list[float] | None:
    """Return the sizes that --spacing gives, or raise if they are none."""
    from napari_exposure.core.intensity import check_number

    return None if spacing is None else [check_number(size, "--spacing", above=0) for size in spacing]


def _bytes(size: float) -> str:
    for unit in ("bytes", "kB", "MB"):
        if size < 1024:
            return f"{size:.3g} {unit}"
        size /= 1024
    return f"{size:.3g} GB"


def _histogram(options: argparse.Namespace) -> int:
    from napari_exposure import core
    from napari_exposure.batch import check_dtype, split
    from napari_exposure.core.histogram import cell
    from napari_exposure.core.replacing import check_place, keep_apart, replacing
    from napari_exposure.io.reading import read

    outputs = [path for path in (options.csv, options.png) if path is not None]
    if not outputs:
        raise ValueError("Say where to: --csv FILE or --png FILE.")
    keep_apart([options.file], outputs)
    for path in outputs:
        check_place(path, overwrite=options.overwrite)
    if options.png is not None and options.png.suffix.lower() not in ("", ".png"):
        raise ValueError(f"{options.png.name} must end in .png, because --png writes no other kind of picture.")
    volume = read(options.file, **_opening(options))
    check_dtype(options.file, volume)
    found = [core.histogram(array, rgb=volume.axes.endswith("S")) for array in split(volume)]
    names = [volume.channel(number) for number in range(len(found))]
    if options.csv is not None:
        with replacing(options.csv) as unfinished, unfinished.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["channel", "low", "high", "count", "cdf"])
            for name, each in zip(names, found, strict=True):
                for low, high, count, cdf in zip(each.edges[:-1], each.edges[1:], each.counts, each.cdf, strict=True):
                    writer.writerow([cell(name), low, high, int(count), float(np.round(cdf, 9))])
    if options.png is not None:
        from napari_exposure.report import histogram_picture

        with replacing(options.png) as unfinished:
            unfinished.write_bytes(histogram_picture(dict(zip(names, found, strict=True)), options.file.name))
    return 0


if __name__ == "__main__":
    sys.exit(main())
