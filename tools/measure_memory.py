"""Show that memory does not grow with the length of the videos: decode and train on 60 and on 600 frames.

    python tools/measure_memory.py --datadir syncnerf/data/demo --frames 60 600 --config configs/kplanes/demo.txt

Videos of the wanted lengths are made from the scene's own frames, played forwards and backwards. A training of a few
steps runs on each in a process of its own, whose anonymous memory (everything but pages of files such as the frame
cache, which the system may drop at any time) is read from /proc while it runs. Prints one JSON object. Linux only.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import av

from syncnerf.evaluation.videos import video_writer


def main() -> int:
    """Measure and print; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--datadir", type=Path, required=True, help="folder of a scene with one video per camera")
    parser.add_argument("--config", type=Path, required=True, help="configuration of the training")
    parser.add_argument("--frames", type=int, nargs="+", default=[60, 600], help="lengths of the videos")
    parser.add_argument("--steps", type=int, default=100, help="training steps (default 100)")
    parser.add_argument("--cameras", type=int, default=4, help="cameras used, the test view included (default 4)")
    arguments = parser.parse_args()
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for count in arguments.frames:
            scene = Path(folder) / f"frames_{count}"
            stretch(arguments.datadir, scene, arguments.cameras, count)
            command = [
                sys.executable, "-m", "syncnerf", "train", "--config", str(arguments.config), "--datadir", str(scene),
                "--logdir", str(Path(folder) / "runs"), "--expname", str(count), "--steps", str(arguments.steps),
                "--time-resolution", "30", "--test-frames", "2", "--render-frames", "2", "--offset-init", "zero",
            ]  # fmt: skip
            anonymous, total = peak_memory(command)
            results[str(count)] = {"peak_anonymous_mib": anonymous / 1024, "peak_resident_mib": total / 1024}
    print(json.dumps(results, indent=1))
    return 0


def stretch(source: Path, target: Path, cameras: int, count: int) -> None:
    """Copy the first cameras of a scene with their videos played to and fro until they have ``count`` frames."""
    target.mkdir()
    record = json.loads((source / "transforms.json").read_text())
    record["frames"] = record["frames"][:cameras]
    (target / "transforms.json").write_text(json.dumps(record))
    for entry in record["frames"]:
        name = entry["file_path"]
        if not Path(name).suffix:
            name += ".mp4"
        with av.open(str(source / name)) as container:
            fps = float(container.streams.video[0].average_rate)
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        there_and_back = [*frames, *frames[-2:0:-1]]
        with video_writer(target / name, fps) as writer:
            for index in range(count):
                writer.write(there_and_back[index % len(there_and_back)])
    shutil.rmtree(target / ".syncnerf_cache", ignore_errors=True)


def peak_memory(command: list[str]) -> tuple[int, int]:
    """Largest anonymous and resident memory of a command in KiB; raises RuntimeError when it fails."""
    anonymous = resident = 0
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors)
        status = Path(f"/proc/{process.pid}/status")
        while process.poll() is None:
            try:
                values = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
            except OSError:  # it has just ended
                break
            anonymous = max(anonymous, int(values.get("RssAnon", "0 kB").split()[0]))
            resident = max(resident, int(values.get("VmRSS", "0 kB").split()[0]))
            time.sleep(0.01)
        if process.wait() != 0:
            errors.seek(0)
            raise RuntimeError(errors.read().decode(errors="replace")[-2000:])
    return anonymous, resident


if __name__ == "__main__":
    sys.exit(main())
