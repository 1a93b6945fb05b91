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
* of a place (``hall``, ``stage``, ``garden``) no ``camera_angle_x``, but each camera's ``fl_x``, ``fl_y``, ``cx``,
  ``cy``, ``w``, ``h``, and ``k1``, ``k2`` where its lens distorts; there is no white, and units are metres;
* with ``--rig forward`` ``poses_bounds.npy`` in LLFF's convention instead of ``transforms.json``;
* ``offsets.json``: the true ``seconds`` in camera order, ``rates_ppm`` and ``row_times`` (seconds) where there are any,
  the ``gains`` of red, green and blue of a place's cameras, and the command's options.

Needs Blender as a Python module (Python 3.11): ``pip install "syncnerf[blender]"``.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
from blender_scenes.clocks import CameraClock, camera_clocks
from blender_scenes.filming import FilmingCamera, PlaceCamera, WhiteCamera
from blender_scenes.options import parse, recorded_options
from blender_scenes.places import PLACES
from blender_scenes.rig import llff_poses_bounds, look_at, rig_poses
from blender_scenes.scenes import build_scene
from blender_scenes.sensors import draw_sensors
from blender_scenes.sounds import RATE
from scene_output import SceneVideo, new_scene, refuse_existing, write_json
from tqdm import tqdm

from syncnerf.errors import UserError

CAMERA_ANGLE_X = 0.6911112070083618
"""Horizontal field of view of the NeRF Blender scenes, radians."""
RADIUS = 4.0
"""Distance of every camera from the origin, scene units (near 2, far 6)."""

SCENE_REACH = 1.3
"""Radius of the ball that every scene stays in, scene units."""


def camera_entry(name: str, camera: FilmingCamera, options: argparse.Namespace) -> dict:
    """The ``frames`` entry of one camera."""
    entry = {"file_path": name, "transform_matrix": camera.poses[0].tolist()}
    if options.rig == "arc":
        entry["transform_matrices"] = camera.poses.tolist()
    if camera.sensor is not None:
        entry |= camera.sensor.entry()
    if len(set(options.fps)) > 1:
        entry["fps"] = camera.clock.fps
    for key in ("row_time", "exposure"):
        if getattr(camera.clock, key) and key not in options.hide:
            entry[key] = getattr(camera.clock, key)
    return entry


def transforms(names: list[str], cameras: list[FilmingCamera], options: argparse.Namespace) -> dict:
    """What ``transforms.json`` holds."""
    shared = {}
    if options.scene not in PLACES:
        shared = {"camera_angle_x": CAMERA_ANGLE_X, "width": options.size[0], "height": options.size[1]}
    if len(set(options.fps)) == 1:
        shared["fps"] = options.fps[0]
    return shared | {"frames": [camera_entry(*pair, options) for pair in zip(names, cameras, strict=True)]}


def truth(cameras: list[FilmingCamera], options: argparse.Namespace) -> dict:
    """What ``offsets.json`` holds, in camera order."""
    clocks, sensors = [camera.clock for camera in cameras], [camera.sensor for camera in cameras]
    record = {"unit": "seconds", "seconds": [clock.offset for clock in clocks]}
    if any(clock.rate for clock in clocks):
        record["rates_ppm"] = [1e6 * clock.rate for clock in clocks]
    if any(clock.row_time for clock in clocks):
        record["row_times"] = [clock.row_time for clock in clocks]
    if all(sensors):
        record["gains"] = [sensor.gains for sensor in sensors]
    return record | {"scene": options.scene, "seed": options.seed, "options": recorded_options(options)}


def white_cameras(options: argparse.Namespace, clocks: list[CameraClock], scratch: Path) -> list[FilmingCamera]:
    """The cameras of a scene on white."""
    from blender_scenes.cycles import CyclesRenderer

    renderer = CyclesRenderer(build_scene(options.scene, options.seed), options.samples, scratch)
    focal = 0.5 * options.size[0] / np.tan(0.5 * CAMERA_ANGLE_X)
    rigs = {
        frames: rig_poses(options.rig, options.cameras, frames, RADIUS, options.azimuth_span)
        for frames in {clock.frames for clock in clocks}
    }
    return [WhiteCamera(renderer, clock, rigs[clock.frames][c], options.size, focal) for c, clock in enumerate(clocks)]


def place_cameras(options: argparse.Namespace, clocks: list[CameraClock], scratch: Path) -> list[FilmingCamera]:
    """The cameras of a place."""
    from blender_scenes.cycles import CyclesRenderer

    place = PLACES[options.scene](np.random.default_rng([options.seed, 2]), options.cameras)
    renderer = CyclesRenderer(place.parts, options.samples, scratch, place.lighting, len(place.standing))
    sensors = draw_sensors(options.cameras, options.size, place.angle, place.differences, options.seed)
    return [
        PlaceCamera(renderer, clock, look_at(position, target), sensor, place, [options.seed, 4, c])
        for c, (clock, sensor, position, target) in enumerate(
            zip(clocks, sensors, place.positions, place.targets, strict=True)
        )
    ]


def write_scene(output: Path, options: argparse.Namespace) -> None:
    """Films what ``options`` ask for into the new folder ``output``."""
    width, height = options.size
    clocks = camera_clocks(options)
    names = [f"cam{c:02d}.mp4" for c in range(options.cameras)]
    progress = tqdm(total=sum(clock.frames for clock in clocks), desc=output.name, unit="frame")
    with tempfile.TemporaryDirectory() as scratch, progress, new_scene(output, options.force) as folder:
        cameras = (place_cameras if options.scene in PLACES else white_cameras)(options, clocks, Path(scratch))
        for name, camera in zip(names, cameras, strict=True):
            with SceneVideo(folder / name, width, height, camera.clock.fps, options.crf) as video:
                if options.sound:
                    video.add_sound(RATE)
                for picture in camera.pictures():
                    video.write_rgb(np.round(picture * 255.0).astype(np.uint8))
                    progress.update()
                if options.sound:
                    video.write_sound(camera.sound())
        if options.rig == "forward":
            focal = 0.5 * width / np.tan(0.5 * CAMERA_ANGLE_X)
            near, far = RADIUS - SCENE_REACH, RADIUS + SCENE_REACH
            poses = np.stack([camera.poses[0] for camera in cameras])
            np.save(folder / "poses_bounds.npy", llff_poses_bounds(poses, options.size, focal, near, far))
        else:
            write_json(folder / "transforms.json", transforms(names, cameras, options))
        write_json(folder / "offsets.json", truth(cameras, options))


def run(options: argparse.Namespace) -> None:
    """Films what ``options`` ask for, and its synchronised twin."""
    output = options.output.resolve()
    twin = output.with_name(output.name + "_sync")
    for folder in (output, twin) if options.synchronised_twin else (output,):
        refuse_existing(folder, options.force)
    try:
        camera_clocks(options)
    except ValueError as error:
        raise UserError(str(error)) from None
    try:
        import blender_scenes.cycles  # noqa: F401
    except ImportError as error:
        raise UserError(
            f'Blender\'s Python module is missing ({error}); with Python 3.11: pip install "syncnerf[blender]"'
        ) from None
    write_scene(output, options)
    if options.synchronised_twin:
        none = {"offset_std": 0.0, "offset_range": 0.0, "offset_whole": None, "offsets": None, "rates": [0.0]}
        write_scene(twin, argparse.Namespace(**vars(options) | none))


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    try:
        run(parse(arguments, __doc__))
    except UserError as error:
        print(f"make_blender_scene: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
