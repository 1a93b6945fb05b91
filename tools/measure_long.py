#!/usr/bin/env python3
"""How well, how fast and in how much memory long recordings are synchronised with drift.

Writes a scene of soft discs: a minute is rendered and shown again and again (its motion joins on without a seam), so
offsets are sought within ten seconds; timestamps give each clock a rate of its own. Then ``syncnerf sync --drift`` runs
on it in a process of its own, and what it finds is compared with what was planted.

    python tools/measure_long.py FOLDER --minutes 30
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

WIDTH, HEIGHT, FPS = 640, 360, 30
DRAWN = 160, 90
"""Pixels that are drawn; the encoder's copy is larger."""
OFFSETS = (0.37, 0.0, -1.912, 2.644)
RATES = (12.0, 0.0, -31.0, 24.0)
"""Parts per million."""
TICKS = 90_000
"""Timestamps per second."""
LOOP = 60
"""Seconds after which all motion begins anew."""
ANGLE = 0.9
DISCS = 5


def pose_of(index: int) -> np.ndarray:
    """A camera on a ring, looking at the middle; OpenGL camera-to-world [4, 4]."""
    angle = 2 * math.pi * index / len(OFFSETS)
    place = np.array([4 * math.cos(angle), 4 * math.sin(angle), 1.6 + 0.3 * index])
    backward = place / np.linalg.norm(place)
    right = np.cross([0.0, 0.0, 1.0], backward)
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3] = np.stack([right, np.cross(backward, right), backward, place], axis=1)
    return pose


class Discs:
    """Soft balls on paths of many whole frequencies per loop; they rest at times."""

    def __init__(self) -> None:
        generator = np.random.default_rng(11)
        self.radii = generator.uniform(0.12, 0.3, DISCS)
        self.colours = generator.uniform(0, 255, (DISCS, 3))
        self.frequencies = generator.integers(3, 54, (DISCS, 3, 5)) / LOOP
        self.phases = generator.uniform(0, 2 * math.pi, (DISCS, 3, 5))

    def centres(self, seconds: float) -> np.ndarray:
        """Places [DISCS, 3]."""
        turn = 2 * math.pi * seconds / LOOP
        moved = seconds + 1.4 * math.sin(4 * turn) + 0.6 * math.sin(13 * turn + 1)
        return 0.28 * np.sin(2 * math.pi * self.frequencies * moved + self.phases).sum(-1)

    def picture(self, pose: np.ndarray, seconds: float) -> np.ndarray:
        """What a camera sees, uint8 [height, width, 3] of the drawn size."""
        width, height = DRAWN
        focal = 0.5 * width / math.tan(0.5 * ANGLE)
        local = (self.centres(seconds) - pose[:3, 3]) @ pose[:3, :3]
        image = np.full((height, width, 3), 200.0, dtype=np.float32)
        rows, columns = np.arange(height) + 0.5, np.arange(width) + 0.5
        for index in np.argsort(local[:, 2]):
            depth = -local[index, 2]
            x, y = width / 2 + focal * local[index, 0] / depth, height / 2 - focal * local[index, 1] / depth
            radius = focal * self.radii[index] / depth
            low, high = max(0, int(y - radius - 2)), min(height, int(y + radius + 3))
            left, right = max(0, int(x - radius - 2)), min(width, int(x + radius + 3))
            if low >= high or left >= right:
                continue
            distance = np.hypot(columns[None, left:right] - x, rows[low:high, None] - y)
            cover = np.clip(radius - distance + 0.5, 0, 1)[..., None].astype(np.float32)
            part = image[low:high, left:right]
            part += cover * (self.colours[index].astype(np.float32) - part)
        return image.astype(np.uint8)


def write_camera(folder: Path, index: int, minutes: int) -> None:
    """One camera's video: a loop is encoded, then its packets are written again and again."""
    discs, pose, loop = Discs(), pose_of(index), folder / f".loop{index:02d}.mp4"
    with av.open(str(loop), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"preset": "superfast", "crf": "24"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.thread_count = 1
        for number in range(LOOP * FPS):
            picture = discs.picture(pose, number / FPS + OFFSETS[index])
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            container.mux(stream.encode(frame.reformat(WIDTH, HEIGHT, "yuv420p", interpolation="BILINEAR")))
        container.mux(stream.encode(None))
    options = {"video_track_timescale": str(TICKS)}
    with av.open(str(folder / f"cam{index:02d}.mp4"), "w", options=options) as container:
        copy, pace = None, 1 + 1e-6 * RATES[index]
        for again in range(minutes * 60 // LOOP):
            with av.open(str(loop)) as reader:
                copy = copy or container.add_stream_from_template(reader.streams.video[0])
                for packet in reader.demux(video=0):
                    if packet.dts is not None:
                        seconds = [again * LOOP + stamp * packet.time_base for stamp in (packet.pts, packet.dts)]
                        packet.pts, packet.dts = (round(float(time) / pace * TICKS) for time in seconds)
                        packet.time_base, packet.stream = Fraction(1, TICKS), copy
                        container.mux(packet)
    loop.unlink()


def write_scene(folder: Path, minutes: int) -> None:
    """All cameras and ``transforms.json``, which is written last."""
    folder.mkdir(parents=True)
    count = len(OFFSETS)
    with ProcessPoolExecutor(min(count, len(os.sched_getaffinity(0)))) as pool:
        list(pool.map(write_camera, [folder] * count, range(count), [minutes] * count))
    entries = [{"file_path": f"cam{k:02d}.mp4", "transform_matrix": pose_of(k).tolist()} for k in range(count)]
    (folder / "transforms.json").write_text(json.dumps({"camera_angle_x": ANGLE, "frames": entries}))


def main() -> int:
    """Entry point; returns the exit code of ``syncnerf sync``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="of the scene; made where it does not exist")
    parser.add_argument("--minutes", type=int, default=30, help="length of the recordings")
    options = parser.parse_args()
    if not (options.folder / "transforms.json").exists():
        write_scene(options.folder, options.minutes)
    out = options.folder / "found.json"
    command = [sys.executable, "-m", "syncnerf", "sync", f"--datadir={options.folder}", f"--out={out}", "--drift"]
    command.append("--max-offset=10")
    started = time.perf_counter()
    code = subprocess.run(command, check=False).returncode
    elapsed, used = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    if code:
        return code
    cameras = json.loads(out.read_text())["cameras"]
    for index in range(len(OFFSETS)):
        entry = cameras[f"cam{index:02d}"]
        offset, rate = entry["offset"] - OFFSETS[index], entry["rate_ppm"] - RATES[index]
        end = offset + 60e-6 * options.minutes * rate
        print(f"cam{index:02d}  offset off by {1e3 * offset:+.2f} ms (+- {1e3 * entry['stderr']:.2f}), rate by "
              f"{rate:+.3f} ppm (+- {entry['rate_ppm_stderr']:.3f}), last frame by {1e3 * end:+.2f} ms")  # fmt: skip
    processor = used.ru_utime + used.ru_stime
    print(f"{elapsed:.0f} s ({processor:.0f} s of one core), {used.ru_maxrss / 1024:.0f} MB at most")
    return 0


if __name__ == "__main__":
    sys.exit(main())
