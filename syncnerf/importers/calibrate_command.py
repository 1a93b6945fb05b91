"""``syncnerf calibrate``: a folder of videos without a calibration becomes a scene."""

import argparse
from pathlib import Path

from syncnerf.importers.command import show
from syncnerf.importers.import_scene import import_scene
from syncnerf.importers.structure import calibrate
from syncnerf.option import Range, add_number
from syncnerf.scene.read_options import names_in


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the subcommand ``calibrate`` to the command line."""
    parser = subparsers.add_parser(
        "calibrate",
        help="find the cameras of a folder of videos, and make a scene of it",
        description="Finds the cameras of a folder of videos by structure from motion (COLMAP's; pip install "
        "'syncnerf[colmap]') and makes a scene of it, whose unit is arbitrary.",
    )
    add = parser.add_argument
    add("videos", type=Path, help="folder of the videos, one per camera, which overlap and show texture")
    add("--out", type=Path, required=True, metavar="SCENE", help="folder of the scene, to be made")
    add("--moving", default="", metavar="NAMES", help="comma-separated names of the cameras that move")
    add("--shared-intrinsics", action="store_true", help="one set for all: equal cameras and zoom; steadier")
    add("--drop", action="store_true", help="leave out videos that cannot be placed")
    add_number(parser, "--seed", int, 0, "of COLMAP's random draws", Range(0, 2**31 - 1, "COLMAP's seeds take 31 bits"))
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Carry out ``syncnerf calibrate``; returns the exit code."""
    found = calibrate(
        arguments.videos, names_in(arguments.moving), arguments.shared_intrinsics, arguments.drop, arguments.seed
    )
    show(found, import_scene(found, arguments.videos, arguments.out))
    return 0
