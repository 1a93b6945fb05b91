"""``syncnerf info``: what is in a scene's folder, as a table and a picture of the rig from above."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from syncnerf.errors import UserError
from syncnerf.option import add_number
from syncnerf.scene.command_options import add_scene_options, named_scene
from syncnerf.scene.placement import seen_shares
from syncnerf.scene.read_options import DISTANCE, DOWNSAMPLE, box_numbers, names_in
from syncnerf.scene.remarks import remarks
from syncnerf.scene.scene import Scene

if TYPE_CHECKING:
    from syncnerf.scene.points import ScenePoints

PNG = b"\x89PNG\r\n\x1a\n"
"""What every PNG begins with."""
DOUBTFUL, FEWEST_CHECKED = 3.0, 5
"""A calibration is doubted whose camera's points, at least so many, lie this many times further off than is usual."""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the subcommand ``info`` to the command line."""
    parser = subparsers.add_parser(
        "info",
        help="show what a scene's folder holds",
        description="Shows what a scene's folder holds: cameras, frames, sizes, bounds, and what could surprise.",
    )
    add_scene_options(parser)
    add = parser.add_argument
    add_number(parser, "--downsample", float, 0.0, "images this many times smaller; 0: the format's own", DOWNSAMPLE)
    add("--test-cameras", default="", help="comma-separated names of the evaluation cameras (default: the format's)")
    add("--bounds", default="", help="two corners of the scene's box, x,y,z,x,y,z (default: the format's)")
    add_number(parser, "--near", float, 0.0, "distance at which the scene may begin; 0: the format's own", DISTANCE)
    add_number(parser, "--far", float, 0.0, "distance at which it ends; 0: the format's own", DISTANCE)
    add("--points", action="store_true", help="triangulate points: checks the calibration and the box; decodes frames")
    add("--picture", type=Path, metavar="FILE", help="draw the rig from above into this PNG")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Carry out ``syncnerf info``; returns the exit code."""
    if arguments.picture is not None:
        _check_picture(arguments.picture)
    scene = named_scene(
        arguments,
        downsample=arguments.downsample,
        test_cameras=names_in(arguments.test_cameras),
        bounds=box_numbers(arguments.bounds),
        near=arguments.near,
        far=arguments.far,
    )
    print(scene.summary())
    print(f"common time  {overlap_line(scene)}")
    print(f"box          {views_line(scene)}\n")
    print(table(scene))
    surprises = remarks(scene)
    if surprises:
        print("\n" + "\n".join(surprises))
    if arguments.points:
        from syncnerf.scene.points import scene_points

        scene.frame_cache.prepare(scene.cameras)
        print(f"\n{points_report(scene, scene_points(scene))}")
    if arguments.picture is not None:
        from syncnerf.scene.rig_picture import draw_rig

        try:
            draw_rig(scene, arguments.picture)
        except (OSError, ValueError) as error:
            raise UserError(f"{arguments.picture}: cannot be written ({error}); name a PNG in a folder") from error
        print(f"\nrig from above: {arguments.picture}")
    return 0


def _check_picture(path: Path) -> None:
    """Raise UserError where a picture would take the place of something else, such as a camera's video."""
    if path.is_file():
        with path.open("rb") as file:
            if file.read(len(PNG)) not in (PNG, b""):
                raise UserError(f"{path}: is there already, and is no PNG; name another file (--picture)")


def table(scene: Scene) -> str:
    """One line per camera: split, size, focal length, frames, rate, duration, place."""
    rows = [("camera", "split", "size", "focal px", "frames", "fps", "seconds", "place")]
    places = [scene.world_pose(index)[:3, 3] for index in range(len(scene.cameras))]
    digits = _digits_of(torch.stack(places))
    for index, camera in enumerate(scene.cameras):
        size = camera.intrinsics
        place = ", ".join(f"{value:.{digits}f}" for value in places[index].tolist())
        rows.append(
            (
                camera.name,
                "test" if index in scene.test else "train",
                f"{size.width}x{size.height}",
                f"{size.focal_x:.1f}",
                str(camera.frame_count),
                f"{camera.fps:g}",
                f"{camera.duration:.3f}",
                f"({place})" + (" moving" if camera.is_moving else ""),
            )
        )
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _digits_of(places: Float64[Tensor, "C 3"]) -> int:
    """Decimal places that show a rig's cameras, float64 [C, 3], to a hundredth of its size, two at least."""
    width = float((places - places.mean(0)).norm(dim=-1).max())
    return max(2, 2 - math.floor(math.log10(width))) if width > 0.0 else 2


def views_line(scene: Scene) -> str:
    """What share of the box is seen by how many training cameras."""
    cameras = tuple(scene.cameras[index] for index in scene.train)
    shares = seen_shares(scene.bounds, cameras)
    return "seen by " + ", ".join(f"{name}: {100 * share:.0f}%" for name, share in shares.items()) + " of its space"


def points_report(scene: Scene, points: ScenePoints) -> str:
    """What points say of the calibrations, camera by camera, and of the box and near."""
    from syncnerf.scene.points import point_placement

    lines = [f"points       {len(points.places)} seen {len(points.point)} times"]
    found = {index: points.camera_error(index) for index in scene.train}
    known = [error for error, count in found.values() if count]
    usual = float(np.median(known)) if known else float("nan")
    for index, (error, count) in found.items():
        doubt = count >= FEWEST_CHECKED and error > max(DOUBTFUL * usual, 2.0)
        shown = "not known" if count == 0 else f"{error:.2f} px from where the others see it ({count} points)"
        lines.append(f"{scene.names[index]:<12} {shown}{'; check its calibration' if doubt else ''}")
    placement = point_placement(scene, points)
    if placement is not None:
        box = ",".join(f"{value:.4g}" for value in (placement[0] + scene.origin).reshape(-1).tolist())
        lines.append(f"they suit    --bounds={box} --near={placement[1]:.3g}")
    return "\n".join(lines)


def overlap_line(scene: Scene) -> str:
    """The stretch of scene time that every camera covers, by the true offsets where they are known."""
    offsets = [0.0] * len(scene.cameras) if scene.true_offsets is None else scene.true_offsets.tolist()
    firsts = [float(camera.frame_times[0]) for camera in scene.cameras]
    begin = max(first + offset for first, offset in zip(firsts, offsets, strict=True))
    end = min(camera.duration + offset for camera, offset in zip(scene.cameras, offsets, strict=True))
    basis = "if all started at once" if scene.true_offsets is None else "by the true offsets"
    if scene.synchronised:
        basis = "synchronised by construction"
    if end < begin:
        apart = max(offsets) - min(offsets)
        doubt = f"; they are up to {apart:g} s apart, longer than any video: are they in seconds?"
        doubt = doubt if apart > scene.duration else ""
        return f"none: some cameras never ran at the same time ({basis}{doubt})"
    return f"{end - begin:.3f} s of {scene.duration:.3f} s, {begin:.3f} to {end:.3f} ({basis})"
