"""The options with which commands name a scene."""

import argparse
from pathlib import Path
from typing import Any

from syncnerf.scene.read_options import ReadOptions, names_in
from syncnerf.scene.readers import READERS, load_scene
from syncnerf.scene.scene import Scene


def add_scene_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which scene is meant, which of its cameras, and where its frames are kept."""
    add = parser.add_argument
    add("--datadir", type=Path, required=True, help="folder of the scene")
    add("--dataset", default="auto", help=f"format of the scene: auto (by its files) or one of {', '.join(READERS)}")
    add("--exclude-cameras", default="", help="comma-separated names of cameras to leave out")
    add("--cache-dir", type=Path, help="folder of the decoded frames (default: beside the scene)")


def named_scene(arguments: argparse.Namespace, **further: Any) -> Scene:
    """The scene that the options of :func:`add_scene_options` name.

    Args:
        arguments: the parsed command line.
        further: of :class:`~syncnerf.scene.read_options.ReadOptions`.

    Raises:
        UserError: it is unfit.
    """
    options = ReadOptions(exclude_cameras=names_in(arguments.exclude_cameras), cache_dir=arguments.cache_dir, **further)
    return load_scene(arguments.datadir, options, arguments.dataset)
