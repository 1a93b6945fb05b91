"""The command line of ``tools/make_blender_scene.py``."""

from __future__ import annotations

import argparse
from pathlib import Path

from argument_types import finite_number, not_negative, picture_size, positive, several, whole_number

from blender_scenes.places import PLACE_DEFAULTS, PLACES
from blender_scenes.rig import RIGS
from blender_scenes.scenes import SCENES

WHITE_DEFAULTS = {
    "cameras": 14, "size": (128, 128), "crf": 10, "exposure": [0.0], "rig": "cap", "azimuth_span": 160.0
}  # fmt: skip
HIDEABLE = ("row_time", "exposure")
"""What ``--hide`` may leave out of ``transforms.json``."""


def hidden_keys(text: str) -> list[str]:
    """Parses ``row_time,exposure``."""
    names = [name.strip() for name in text.split(",")]
    unknown = [name for name in names if name not in HIDEABLE]
    if unknown:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} cannot be hidden; known: {', '.join(HIDEABLE)}")
    return names


def parse(arguments: list[str] | None, description: str = "") -> argparse.Namespace:
    """The options, with the scene's own defaults filled in; a wrong one ends the command."""
    parser = _build_parser(description)
    options = parser.parse_args(arguments)
    if options.scene in PLACES and (options.rig or options.azimuth_span is not None):
        parser.error(f"--rig and --azimuth-span are for scenes on white; {options.scene} has cameras of its own")
    if options.sound and options.scene not in PLACES:
        parser.error(f"--sound is for {', '.join(PLACES)}; nothing is heard of {options.scene}")
    defaults = WHITE_DEFAULTS | PLACE_DEFAULTS.get(options.scene, {})
    for name, value in defaults.items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    return options


def _build_parser(description: str) -> argparse.ArgumentParser:
    scenes = {**SCENES, **PLACES}
    scene_lines = "\n".join(f"  {name:10} {make.__doc__.splitlines()[0]}" for name, make in scenes.items())
    parser = argparse.ArgumentParser(
        description=description,
        epilog=f"scenes:\n{scene_lines}\n\nexample:\n  python tools/make_blender_scene.py scenes/toys --scene toys "
        "--offset-std 5 --synchronised-twin\n",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("output", type=Path, help="folder to create")
    parser.add_argument("--scene", choices=scenes, default="toys", help="what to animate, see below (default: toys)")
    parser.add_argument("--seed", type=whole_number(0), default=0, help="of the motion and the offsets (default: 0)")
    parser.add_argument("--force", action="store_true", help="replace an existing output")
    parser.add_argument("--sound", action="store_true", help="of a place: what the cameras hear of the ball")
    _add_cameras(parser.add_argument_group("cameras"))
    _add_clocks(parser.add_argument_group("clocks"))
    return parser


def _add_cameras(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--cameras", type=whole_number(1), help="number of cameras (default: 14, or the place's)")
    group.add_argument("--rig", choices=RIGS,
                       help="cap: spread over a spherical cap; ring: all around; arc: on the cap, each moving "
                       "on a slow arc; forward: on a disc on one side, written as LLFF (default: cap)")  # fmt: skip
    group.add_argument("--azimuth-span", type=not_negative,
                       help="width of the cap in degrees of azimuth, for cap and arc (default: 160)")  # fmt: skip
    group.add_argument("--size", type=picture_size, help="pixels, 128 or 160x120 (default: 128, or the place's)")
    group.add_argument("--samples", type=whole_number(1), default=24, help="Cycles samples per pixel (default: 24)")
    group.add_argument("--crf", type=int, choices=range(52), metavar="0..51",
                       help="x264 quality, lower is better and larger (default: 10, or the place's)")  # fmt: skip


def _add_clocks(group: argparse._ArgumentGroup) -> None:
    """Lists are given in turn to the cameras: ``--fps 25,30`` means 25, 30, 25, ..."""
    group.add_argument("--frames", type=whole_number(1), default=60,
                       help="frames of the first camera; the others cover the same time (default: 60)")  # fmt: skip
    group.add_argument("--fps", type=several(positive), default=[30.0], metavar="F,...",
                       help="frames per second, in turn over the cameras (default: 30)")  # fmt: skip
    offsets = group.add_mutually_exclusive_group()
    offsets.add_argument("--offset-std", type=not_negative, default=5.0,
                         help="Gaussian offsets, this deviation in frames (default: 5; 0: synchronised)")  # fmt: skip
    offsets.add_argument("--offset-range", type=not_negative, default=0.0,
                         help="instead: offsets uniform within +- this many frames")  # fmt: skip
    offsets.add_argument("--offset-whole", type=whole_number(0), metavar="N",
                         help="instead: whole frames within +- N, and --offset-jitter")  # fmt: skip
    offsets.add_argument("--offsets", metavar="A,B,...",
                         help="instead: these, in frames of the first camera, or those of an offsets.json")  # fmt: skip
    group.add_argument("--offset-jitter", type=not_negative, default=0.1,
                       help="deviation about whole frames with --offset-whole (default: 0.1 frame)")  # fmt: skip
    group.add_argument("--synchronised-twin", action="store_true",
                       help="also write OUTPUT_sync: the same with every offset and rate 0")  # fmt: skip
    group.add_argument("--rates", type=several(finite_number), default=[0.0], metavar="PPM,...",
                       help="how much each clock lags, parts per million, in turn (default: 0)")  # fmt: skip
    group.add_argument("--row-time", type=finite_number, default=0.0, metavar="SECONDS",
                       help="rolling shutter: from first to last row; negative: upwards (default: 0)")  # fmt: skip
    group.add_argument("--row-time-cameras", type=several(whole_number(0)), metavar="C,...",
                       help="the cameras that --row-time holds for (default: every second, 1, 3, ...)")  # fmt: skip
    group.add_argument("--exposure", type=several(not_negative), metavar="SECONDS,...",
                       help="time the shutter is open from a frame's time on (default: 0, or the place's)")  # fmt: skip
    group.add_argument("--hide", type=hidden_keys, default=[], metavar="KEY,...",
                       help=f"leave {' or '.join(HIDEABLE)} out of transforms.json")  # fmt: skip


def recorded_options(options: argparse.Namespace) -> dict:
    """The options that decide the content, as JSON values; not where it was written, nor whether it has a twin."""
    left_out = ("output", "force", "synchronised_twin")
    kept = {name: value for name, value in vars(options).items() if name not in left_out}
    return kept | {"size": "{}x{}".format(*options.size)}
