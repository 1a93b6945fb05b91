"""``syncnerf sync``: an offsets file, pictures and aligned copies of a scene's videos."""

import argparse
import math
from dataclasses import asdict
from pathlib import Path

from syncnerf.atomic import require_vacant
from syncnerf.errors import UserError
from syncnerf.export.trimmed import write_trimmed
from syncnerf.offsets_file import Estimates, replaceable, write_offsets
from syncnerf.option import Range, add_number
from syncnerf.scene import Scene
from syncnerf.scene.command_options import add_scene_options, named_scene
from syncnerf.sync.result import SyncResult
from syncnerf.sync.synchronize import AUDIO, METHODS, WORKING_SIDE, synchronize

DEFAULT_OUT = "sync.json"
"""Not ``offsets.json``: in a scene's folder that holds the true offsets."""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the subcommand ``sync`` to the command line."""
    parser = subparsers.add_parser(
        "sync",
        help="find the cameras' time offsets from motion alone",
        description="Finds the cameras' time offsets from motion alone, before any training, with standard errors.",
    )
    add_scene_options(parser)
    add = parser.add_argument
    add("--out", type=Path, help=f"offsets file to write (default: {DEFAULT_OUT} in the current folder)")
    add("--method", choices=METHODS, default="auto", help="what to compare; auto: epipolar unless cameras move")
    add_number(
        parser, "--max-offset", float, None, "largest offset between two cameras, seconds (default: any)",
        Range(0, 1e6, "a lag is sought on both sides of 0", above=True),
    )  # fmt: skip
    add("--drift", action="store_true", help="give each camera's clock a rate (parts per million) as well")
    add("--audio", choices=AUDIO, default="auto", help="the videos' sound as a coarse second opinion, or off")
    add(
        "--tracks", type=Path, metavar="PATH",
        help="point tracks of any tracker, one .npz or a folder of <camera>.npz; implies --method tracks",
    )  # fmt: skip
    add("--plots", type=Path, metavar="DIR", help="write pictures: landscapes, timeline, simultaneous frames")
    add("--export", type=Path, metavar="DIR", help="write copies of the videos, trimmed to what all cameras filmed")
    add("--strict", action="store_true", help="fail (exit code 2) where a camera is not sure, after writing everything")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Carry out ``syncnerf sync``; returns the exit code."""
    if arguments.tracks is not None and arguments.method == "epipolar":
        raise UserError("--method epipolar looks at no tracks: leave it out, or --tracks")
    out = replaceable(arguments.out or Path(DEFAULT_OUT))
    if arguments.export is not None:
        require_vacant(arguments.export)
    # Tracks are in the pixels of the full images; without any, small frames are all that is needed.
    scene = named_scene(arguments, max_side=WORKING_SIDE if arguments.tracks is None else None)
    result = synchronize(
        scene, arguments.method, arguments.max_offset, arguments.drift, arguments.tracks, arguments.audio
    )
    determined = len(result.reasons) < len(scene.cameras) - 1
    if determined:
        names = result.names
        reference = names[result.reference]
        found = (result.offsets, result.stderr)
        write_offsets(out, Estimates(names, reference, *found, "sync", result.reasons, _further(result)))
    print(table(scene, result))
    if arguments.plots is not None:
        # Imported here: matplotlib is slow to load, and only these pictures need it.
        from syncnerf.sync.plots import write_plots

        write_plots(scene, result, arguments.plots)
    if not determined:
        reason = next(iter(result.reasons.values()))
        raise UserError(f"{scene.root}: no camera's offset can be determined ({reason})")
    if arguments.export is not None:
        write_trimmed(scene, result, arguments.export)
    if arguments.strict:
        doubtful = [name for name, verdict in result.verdicts.items() if verdict != "sure"]
        if doubtful:
            reason = result.checks[doubtful[0]].reason
            raise UserError(f"{scene.root}: --strict, and not sure: {', '.join(doubtful)} ({doubtful[0]}: {reason})")
    return 0


def table(scene: Scene, result: SyncResult) -> str:
    """One line per camera: offset, standard error and verdict, or why there is none; below, what speaks against it."""
    width = max(len(name) for name in result.names)
    lines = [f"{'camera':{width}}  {'offset [s]':>11}  {'+-':>8}  {'frames':>8}  {'+-':>6}  pairs  explained  verdict"]
    for index, name in enumerate(result.names):
        pairs = [pair for pair in result.pairs if index in (pair.first, pair.second)]
        used = f"{sum(pair.used for pair in pairs)}/{len(pairs)}"
        check = result.checks[name]
        if name in result.reasons:
            lines.append(f"{name:{width}}  undetermined: {result.reasons[name]}")
            lines += [f"{'':{width}}  {check.advice}"] if check.advice else []
            continue
        offset, error, fps = float(result.offsets[index]), float(result.stderr[index]), scene.cameras[index].fps
        mark = "  (reference)" if index == result.reference else ""
        if result.rates is not None:
            mark = f"  {result.rates[index] * 1e6:+9.2f} +- {result.rates_stderr[index] * 1e6:.2f} ppm{mark}"
        explained = "-" if math.isnan(check.explained) else f"{check.explained:.0%}"
        lines.append(
            f"{name:{width}}  {offset:+11.5f}  {error:8.5f}  {offset * fps:+8.3f}  {error * fps:6.3f}  {used:>5}  "
            f"{explained:>9}  {check.verdict}{mark}"
        )
        if check.reason:
            advice = f": {check.advice}" if check.advice else ""
            lines.append(f"{'':{width}}  {check.reason}{advice}")
    return "\n".join(lines)


def _further(result: SyncResult) -> dict[str, dict]:
    """By camera name its check, and with ``--drift`` its clock's rate and standard error in parts per million."""
    further = {}
    for index, name in enumerate(result.names):
        said = {key: value for key, value in asdict(result.checks[name]).items() if value not in ("", ())}
        entry = {key: value for key, value in said.items() if not (isinstance(value, float) and math.isnan(value))}
        if result.rates is not None and name not in result.reasons:
            entry["rate_ppm"] = float(result.rates[index]) * 1e6
            entry["rate_ppm_stderr"] = float(result.rates_stderr[index]) * 1e6
        further[name] = entry
    return further
