"""Videos with synthetic sound: noise and clicks that every camera hears at its own moment."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

RATE = 48_000


def scene_sound(seconds: float, seed: int = 0, period: float = 0.0) -> np.ndarray:
    """What happens in a scene, float32: bursts of noise at random moments, or the same one every ``period`` seconds."""
    generator = np.random.default_rng(seed)
    sound = 0.01 * generator.standard_normal(round(seconds * RATE)).astype(np.float32)
    moments = np.arange(0.3, seconds - 0.2, period) if period else np.cumsum(generator.uniform(0.2, 1.2, int(seconds)))
    burst = generator.standard_normal(RATE // 20) * np.exp(-np.arange(RATE // 20) / 400)
    for moment in moments[moments < seconds - 0.1]:
        place = round(moment * RATE)
        fresh = burst if period else generator.standard_normal(len(burst)) * np.exp(-np.arange(len(burst)) / 400)
        sound[place : place + len(burst)] += 0.3 * fresh.astype(np.float32)
    return sound


def heard(sound: np.ndarray, start: float, seconds: float, seed: int, rate_ppm: float = 0.0) -> np.ndarray:
    """What a camera records of it from ``start`` (seconds of scene time), with an echo, colour and noise of its own."""
    generator = np.random.default_rng(100 + seed)
    moments = (start + np.arange(round(seconds * RATE)) / RATE * (1 + 1e-6 * rate_ppm)) * RATE
    clean = np.interp(moments, np.arange(len(sound)), sound, left=0, right=0)
    echo = np.interp(moments - 0.017 * RATE * (1 + 0.2 * seed), np.arange(len(sound)), sound, left=0, right=0)
    coloured = clean + 0.4 * echo
    coloured[1:] += 0.5 * coloured[:-1]
    return (coloured + 0.01 * generator.standard_normal(len(coloured))).astype(np.float32)


def write_video_with_sound(
    path: Path, images: list[np.ndarray], fps: int, sound: np.ndarray, sound_begin: float = 0.0, codec: str = "aac"
) -> None:
    """Encode uint8 RGB images and mono sound, which begins ``sound_begin`` seconds after the first frame."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=Fraction(fps), options={"crf": "12", "preset": "ultrafast"})
        video.height, video.width, video.pix_fmt = images[0].shape[0], images[0].shape[1], "yuv420p"
        video.codec_context.thread_count = 1
        audio = container.add_stream(codec, rate=RATE, layout="mono")
        for image in images:
            container.mux(video.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(video.encode(None))
        form = "fltp" if codec == "aac" else "s16"
        samples = sound if form == "fltp" else (np.clip(sound, -1, 1) * 32767).astype(np.int16)
        for first in range(0, len(samples), 1024):
            block = np.ascontiguousarray(samples[None, first : first + 1024])
            frame = av.AudioFrame.from_ndarray(block, format=form, layout="mono")
            frame.sample_rate, frame.time_base = RATE, Fraction(1, RATE)
            frame.pts = first + round(sound_begin * RATE)
            container.mux(audio.encode(frame))
        container.mux(audio.encode(None))
