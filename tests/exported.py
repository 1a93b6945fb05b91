"""What an export wrote, looked at: its videos' frames, and the cuts that its script makes."""

import os
import subprocess
from pathlib import Path

import av
import numpy as np
import pytest


def decoded(path: Path) -> np.ndarray:
    """All frames of a video, int [T, height, width, 3]."""
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]).astype(int)


def run_script(folder: Path) -> None:
    """Run an exported script with a program of ffmpeg's; skips the test where there is none."""
    program = pytest.importorskip("imageio_ffmpeg").get_ffmpeg_exe()
    environment = {**os.environ, "FFMPEG": program}
    subprocess.run(["/bin/sh", "align.sh"], cwd=folder, env=environment, check=True, capture_output=True, timeout=60)
