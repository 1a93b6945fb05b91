"""Videos as people have them: any timestamps, any container."""

import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

MILLISECONDS = Fraction(1, 1000)


def grey(level: int, width: int = 32, height: int = 24) -> np.ndarray:
    """A picture of one brightness, uint8 RGB."""
    return np.full((height, width, 3), level, dtype=np.uint8)


def write_timed(
    path: Path,
    images: Sequence[np.ndarray],
    seconds: Sequence[float],
    time_base: Fraction = Fraction(1, 90000),
    rate: Fraction = Fraction(30),
    **options: str,
) -> Path:
    """Encode RGB images [height, width, 3], each to be shown at its moment in seconds; returns ``path``.

    ``rate`` is what the header states. ``options`` go to the encoder, x264.
    """
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "4", "preset": "ultrafast"} | options)
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt, stream.codec_context.thread_count = "yuv444p", 1
        stream.codec_context.time_base = stream.time_base = time_base
        for image, moment in zip(images, seconds, strict=True):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.time_base, frame.pts = time_base, round(Fraction(moment) / time_base)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def remux(source: Path, target: Path, first: float = 0.0, start: float = 0.0, **options: str) -> Path:
    """Copy a video's packets from ``first`` seconds on without encoding, so that ``start`` becomes its time 0.

    Packets before time 0 remain where frames after it need them; mp4 and mov mark them to be discarded.
    """
    with av.open(str(source)) as given, av.open(str(target), "w", options=options) as container:
        stream = given.streams.video[0]
        copied = container.add_stream_from_template(stream)
        begin, shift = (int(value / stream.time_base) for value in (first, start))
        for packet in given.demux(stream):
            if packet.dts is not None and packet.pts >= begin:
                packet.pts, packet.dts, packet.stream = packet.pts - shift, packet.dts - shift, copied
                container.mux(packet)
    return target


def turn(path: Path, a: int, b: int, c: int, d: int) -> Path:
    """Write a display matrix into an mp4's only track: pixel (x, y) is shown at (a x + c y, b x + d y)."""
    data = path.read_bytes()
    # ISO/IEC 14496-12, 8.3.2: type, version and flags, four times and numbers, duration, reserved and small fields.
    place = data.index(b"tkhd") + 4 + 4 + 20 + 16
    matrix = struct.pack(">9i", a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    path.write_bytes(data[:place] + matrix + data[place + len(matrix) :])
    return path


def planar_video(
    path: Path, luma: np.ndarray, blue: np.ndarray, red: np.ndarray, codec: str, pixels: str, **options: str
) -> Path:
    """Encode three frames of planes [height, width] and [height / 2, width / 2], uint8 or for 10 bits uint16."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=30, options=options)
        stream.height, stream.width = luma.shape
        stream.pix_fmt, stream.codec_context.thread_count = pixels, 1
        for _ in range(3):
            frame = av.VideoFrame(luma.shape[1], luma.shape[0], pixels)
            for plane, values in zip(frame.planes, (luma, blue, red), strict=True):
                padded = np.zeros((values.shape[0], plane.line_size // values.itemsize), values.dtype)
                padded[:, : values.shape[1]] = values
                plane.update(padded.tobytes())
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def add_sound(source: Path, target: Path, seconds: float) -> Path:
    """A copy of a video with silence that begins at the file's time 0; returns ``target``."""
    with av.open(str(source)) as given, av.open(str(target), "w") as container:
        copied = container.add_stream_from_template(given.streams.video[0])
        sound = container.add_stream("aac", rate=44100, layout="mono")
        for number in range(int(seconds * 44100 / 1024)):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 44100, 1024 * number, Fraction(1, 44100)
            container.mux(sound.encode(frame))
        container.mux(sound.encode(None))
        for packet in given.demux(given.streams.video[0]):
            if packet.dts is not None:
                packet.stream = copied
                container.mux(packet)
    return target
