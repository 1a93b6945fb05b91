#!/usr/bin/env python3
"""Renders an unsynchronised multi-camera video of an animated scene, with the true time offsets beside it.

Row y of frame k of camera c shows the scene at ``(1 + rate[c]) * (k / fps[c] + exposure[c] / 2) + rows * row_time[c]
+ offset[c]`` seconds, rows = (y + 0.5) / height - 0.5; the animation is a function of continuous time, so offsets are
sub-frame. The output folder holds

* ``transforms.json``: ``camera_angle_x`` (radians), ``width``, ``height`` (pixels), ``fps`` and ``frames``, one entry
  per camera: ``file_path`` and ``transform_matrix`` (camera to world, OpenGL axes), and where they are not the same or
  not 0 ``fps``, ``row_time`` and ``exposure`` (seconds). With ``--rig arc`` the cameras move: each entry also has
  ``transform_matrices``, one pose per frame's exposure; ``transform_matrix`` is the first;
* ``cam00.mp4``, ``cam01.mp4``, ...: H.264 over white; camera 0 is the test view, in the middle of the others;
* with ``--rig forward`` ``poses_bounds.npy`` in LLFF's convention instead of ``transforms.json``;
* ``offsets.json``: the true ``seconds`` in camera order, ``rates_ppm`` and ``row_times`` (seconds) where there are any,
  and the command's options.

Needs Blender as a Python module (Python 3.11): ``pip install "syncnerf[blender]"``.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
from blender_scenes.clocks import CameraClock, camera_clocks
from blender_scenes.options import build_parser, recorded_options
from blender_scenes.rig import llff_poses_bounds, rig_poses
from blender_scenes.scenes import build_scene
from scene_output import ToolError, VideoWriter, atomic_folder, refuse_existing, write_json
from tqdm import tqdm

CAMERA_ANGLE_X = 0.6911112070083618
"""Horizontal field of view of the NeRF Blender scenes, radians."""
RADIUS = 4.0
"""Distance of every camera from the origin, scene units (near 2, far 6)."""

SCENE_REACH = 1.3
"""Radius of the ball that every scene stays in, scene units."""


def camera_entry(name: str, poses: np.ndarray, clock: CameraClock, options: argparse.Namespace) -> dict:
    """The ``frames`` entry of one camera with ``poses`` [F, 4, 4]."""
    entry = {"file_path": name, "transform_matrix": poses[0].tolist()}
    if options.rig == "arc":
        entry["transform_matrices"] = poses.tolist()
    if len(set(options.fps)) > 1:
        entry["fps"] = clock.fps
    for key in ("row_time", "exposure"):
        if getattr(clock, key) and key not in options.hide:
            entry[key] = getattr(clock, key)
    return entry


def true_clocks(clocks: list[CameraClock]) -> dict:
    """What ``offsets.json`` says of the cameras' clocks, in camera order."""
    truth = {"unit": "seconds", "seconds": [clock.offset for clock in clocks]}
    if any(clock.rate for clock in clocks):
        truth["rates_ppm"] = [1e6 * clock.rate for clock in clocks]
    if any(clock.row_time for clock in clocks):
        truth["row_times"] = [clock.row_time for clock in clocks]
    return truth


def render_frame(renderer, clock: CameraClock, frame: int, pose: np.ndarray, height: int) -> np.ndarray:
    """One picture as ``clock`` exposes it, rows as they are read: float [height, width, 3], display values 0..1."""
    bands = [
        renderer.render(clock.moment(frame, (first + last) / (2 * height) - 0.5), pose, clock.exposure, (first, last))
        for first, last in clock.bands(height)
    ]
    return np.concatenate(bands)


def write_scene(output: Path, options: argparse.Namespace, poses: list, clocks: list[CameraClock], renderer) -> None:
    """Renders every camera with its poses [F, 4, 4] and its clock into the new folder ``output``."""
    width, height = options.size
    names = [f"cam{c:02d}.mp4" for c in range(options.cameras)]
    progress = tqdm(total=sum(clock.frames for clock in clocks), desc=output.name, unit="frame")
    with progress, atomic_folder(output, options.force) as folder:
        for name, camera_poses, clock in zip(names, poses, clocks, strict=True):
            with VideoWriter(folder / name, width, height, clock.fps, options.crf) as video:
                for frame, pose in enumerate(camera_poses):
                    picture = render_frame(renderer, clock, frame, pose, height)
                    video.write_rgb(np.round(picture * 255.0).astype(np.uint8))
                    progress.update()
        if options.rig == "forward":
            focal = 0.5 * width / np.tan(0.5 * CAMERA_ANGLE_X)
            near, far = RADIUS - SCENE_REACH, RADIUS + SCENE_REACH
            first_poses = np.stack([camera_poses[0] for camera_poses in poses])
            np.save(folder / "poses_bounds.npy", llff_poses_bounds(first_poses, options.size, focal, near, far))
        else:
            transforms = {"camera_angle_x": CAMERA_ANGLE_X, "width": width, "height": height}
            if len(set(options.fps)) == 1:
                transforms["fps"] = options.fps[0]
            entries = [camera_entry(*camera, options) for camera in zip(names, poses, clocks, strict=True)]
            write_json(folder / "transforms.json", transforms | {"frames": entries})
        record = {"scene": options.scene, "seed": options.seed, "options": recorded_options(options)}
        write_json(folder / "offsets.json", true_clocks(clocks) | record)


def run(options: argparse.Namespace) -> None:
    """Renders what ``options`` ask for."""
    output = options.output.resolve()
    twin = output.with_name(output.name + "_sync")
    for folder in (output, twin) if options.synchronised_twin else (output,):
        refuse_existing(folder, options.force)
    try:
        clocks = camera_clocks(options)
    except ValueError as error:
        raise ToolError(str(error)) from None
    try:
        from blender_scenes.cycles import CyclesRenderer
    except ImportError as error:
        raise ToolError(
            f'Blender\'s Python module is missing ({error}); with Python 3.11: pip install "syncnerf[blender]"'
        ) from None
    rigs = {
        frames: rig_poses(options.rig, options.cameras, frames, RADIUS, options.azimuth_span)
        for frames in {clock.frames for clock in clocks}
    }
    poses = [rigs[clock.frames][camera] for camera, clock in enumerate(clocks)]
    parts = build_scene(options.scene, options.seed)
    with tempfile.TemporaryDirectory() as scratch:
        renderer = CyclesRenderer(parts, *options.size, CAMERA_ANGLE_X, options.samples, Path(scratch))
        write_scene(output, options, poses, clocks, renderer)
        if options.synchronised_twin:
            none = {"offset_std": 0.0, "offset_range": 0.0, "offset_whole": None, "offsets": None, "rates": [0.0]}
            synchronised = argparse.Namespace(**vars(options) | none)
            write_scene(twin, synchronised, poses, camera_clocks(synchronised), renderer)


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    options = build_parser(__doc__).parse_args(arguments)
    try:
        run(options)
    except ToolError as error:
        print(f"make_blender_scene: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
