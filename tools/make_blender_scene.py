#!/usr/bin/env python3
"""Renders an unsynchronised multi-camera video of an animated scene, with the true time offsets beside it.

Frame k of camera c shows the scene at ``t = k / fps + offset[c]`` seconds; the animation is a function of continuous
time, so offsets are sub-frame. The output folder holds

* ``transforms.json``: ``camera_angle_x`` (radians), ``width``, ``height`` (pixels), ``fps`` and ``frames``, one entry
  per camera: ``file_path`` and ``transform_matrix`` (camera to world, OpenGL axes). With ``--rig arc`` the cameras
  move: each entry also has ``transform_matrices``, one pose per frame's exposure; ``transform_matrix`` is the first;
* ``cam00.mp4``, ``cam01.mp4``, ...: H.264 over white; camera 0 is the test view, in the middle of the others;
* with ``--rig forward`` ``poses_bounds.npy`` in LLFF's convention instead of ``transforms.json``;
* ``offsets.json``: the true ``seconds`` in camera order, and the command's options.

Needs Blender as a Python module (Python 3.11): ``pip install "syncnerf[blender]"``.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
from blender_scenes.rig import RIGS, draw_offsets, llff_poses_bounds, rig_poses
from blender_scenes.scenes import SCENES, build_scene
from scene_output import ToolError, VideoWriter, atomic_folder, refuse_existing, write_json
from tqdm import tqdm

CAMERA_ANGLE_X = 0.6911112070083618
"""Horizontal field of view of the NeRF Blender scenes, radians."""
RADIUS = 4.0
"""Distance of every camera from the origin, scene units (near 2, far 6)."""

SCENE_REACH = 1.3
"""Radius of the ball that every scene stays in, scene units."""


def picture_size(text: str) -> tuple[int, int]:
    """Parses ``128`` or ``160x120`` to (width, height) in pixels; both even, as 4:2:0 video needs."""
    try:
        width, height = (int(side) for side in (text.lower().split("x") if "x" in text.lower() else (text, text)))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size; write 128 or 160x120") from None
    if width < 16 or height < 16 or width % 2 or height % 2:
        raise argparse.ArgumentTypeError(f"{text!r}: both sides must be even and at least 16 pixels")
    return width, height


def positive_int(text: str) -> int:
    """Parses a whole number of at least 1."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def not_negative(text: str) -> float:
    """Parses a finite number of at least 0."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of at least 0")
    return value


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    scene_lines = "\n".join(f"  {name:10} {make.__doc__.splitlines()[0]}" for name, make in SCENES.items())
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=f"scenes:\n{scene_lines}\n\nexample:\n  python tools/make_blender_scene.py scenes/toys --scene toys "
        "--offset-std 5 --synchronised-twin\n",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("output", type=Path, help="folder to create")
    parser.add_argument("--scene", choices=SCENES, default="toys", help="what to animate, see below (default: toys)")
    parser.add_argument("--cameras", type=positive_int, default=14, help="number of cameras (default: 14)")
    parser.add_argument("--rig", choices=RIGS, default="cap",
                        help="cap: spread over a spherical cap; ring: all around; arc: on the cap, each moving "
                        "on a slow arc; forward: on a disc on one side, written as LLFF (default: cap)")  # fmt: skip
    parser.add_argument("--azimuth-span", type=not_negative, default=160.0,
                        help="width of the cap in degrees of azimuth, for cap and arc (default: 160)")  # fmt: skip
    parser.add_argument("--frames", type=positive_int, default=60, help="frames per camera (default: 60)")
    parser.add_argument("--size", type=picture_size, default=(128, 128), help="pixels, 128 or 160x120 (default: 128)")
    parser.add_argument("--fps", type=not_negative, default=30.0, help="frames per second (default: 30)")
    offsets = parser.add_mutually_exclusive_group()
    offsets.add_argument("--offset-std", type=not_negative, default=5.0,
                         help="Gaussian offsets, this deviation in frames (default: 5; 0: synchronised)")  # fmt: skip
    offsets.add_argument("--offset-range", type=not_negative, default=0.0,
                         help="instead: offsets uniform within +- this many frames")  # fmt: skip
    parser.add_argument("--synchronised-twin", action="store_true",
                        help="also write OUTPUT_sync: the same scene and cameras with every offset 0")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="seed of the motion and the offsets (default: 0)")
    parser.add_argument("--samples", type=positive_int, default=24, help="Cycles samples per pixel (default: 24)")
    parser.add_argument("--crf", type=int, choices=range(52), metavar="0..51", default=10,
                        help="x264 quality, lower is better and larger (default: 10)")  # fmt: skip
    parser.add_argument("--motion-blur", type=not_negative, default=0.0, metavar="SHUTTER",
                        help="open the shutter for this fraction of the frame interval, centred on the frame's time; "
                        "8 times slower (default: 0, instantaneous)")  # fmt: skip
    parser.add_argument("--force", action="store_true", help="replace an existing output")
    return parser


def recorded_options(options: argparse.Namespace) -> dict:
    """The options that decide the content, as JSON values; not where it was written, nor whether it has a twin."""
    kept = {
        name: value for name, value in vars(options).items() if name not in ("output", "force", "synchronised_twin")
    }
    return kept | {"size": "{}x{}".format(*options.size)}


def camera_entry(name: str, poses: np.ndarray, moving: bool) -> dict:
    """The ``frames`` entry of one camera with ``poses`` [F, 4, 4]."""
    entry = {"file_path": name, "transform_matrix": poses[0].tolist()}
    if moving:
        entry["transform_matrices"] = poses.tolist()
    return entry


def write_scene(output: Path, options: argparse.Namespace, poses: np.ndarray, offsets: np.ndarray, renderer) -> None:
    """Renders every camera with ``poses`` [C, F, 4, 4] and ``offsets`` [C] seconds into the new folder ``output``."""
    width, height = options.size
    entries = [camera_entry(f"cam{c:02d}.mp4", poses[c], options.rig == "arc") for c in range(options.cameras)]
    progress = tqdm(total=poses.shape[0] * poses.shape[1], desc=output.name, unit="frame")
    with progress, atomic_folder(output, options.force) as folder:
        for entry, camera_poses, offset in zip(entries, poses, offsets, strict=True):
            with VideoWriter(folder / entry["file_path"], width, height, options.fps, options.crf) as video:
                for frame, pose in enumerate(camera_poses):
                    time = frame / options.fps + offset
                    if options.motion_blur:
                        picture = renderer.render_blurred(time, pose, options.motion_blur / options.fps)
                    else:
                        picture = renderer.render(time, pose)
                    video.write_rgb(np.round(picture * 255.0).astype(np.uint8))
                    progress.update()
        if options.rig == "forward":
            focal = 0.5 * width / np.tan(0.5 * CAMERA_ANGLE_X)
            near, far = RADIUS - SCENE_REACH, RADIUS + SCENE_REACH
            np.save(folder / "poses_bounds.npy", llff_poses_bounds(poses[:, 0], options.size, focal, near, far))
        else:
            transforms = {"camera_angle_x": CAMERA_ANGLE_X, "width": width, "height": height, "fps": options.fps}
            write_json(folder / "transforms.json", transforms | {"frames": entries})
        truth = {"unit": "seconds", "seconds": offsets.tolist(), "scene": options.scene, "seed": options.seed}
        write_json(folder / "offsets.json", truth | {"options": recorded_options(options)})


def run(options: argparse.Namespace) -> None:
    """Renders what ``options`` ask for."""
    output = options.output.resolve()
    twin = output.with_name(output.name + "_sync")
    for folder in (output, twin) if options.synchronised_twin else (output,):
        refuse_existing(folder, options.force)
    try:
        from blender_scenes.cycles import CyclesRenderer
    except ImportError as error:
        raise ToolError(
            f'Blender\'s Python module is missing ({error}); with Python 3.11: pip install "syncnerf[blender]"'
        ) from None
    poses = rig_poses(options.rig, options.cameras, options.frames, RADIUS, options.azimuth_span)
    offsets = draw_offsets(options.cameras, options.seed, options.fps, options.offset_std, options.offset_range)
    parts = build_scene(options.scene, options.seed)
    with tempfile.TemporaryDirectory() as scratch:
        renderer = CyclesRenderer(parts, *options.size, CAMERA_ANGLE_X, options.samples, Path(scratch))
        write_scene(output, options, poses, offsets, renderer)
        if options.synchronised_twin:
            synchronised = argparse.Namespace(**vars(options) | {"offset_std": 0.0, "offset_range": 0.0})
            write_scene(twin, synchronised, poses, np.zeros_like(offsets), renderer)


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    if options.fps == 0:
        parser.error("--fps must be more than 0")
    if options.seed < 0:
        parser.error("--seed must not be negative")
    try:
        run(options)
    except ToolError as error:
        print(f"make_blender_scene: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
