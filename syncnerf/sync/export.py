"""Aligned copies of a scene's videos, so that any other tool can use the result."""

import json
import logging
import math
import re
import shutil
import tempfile
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
from tqdm import tqdm

from syncnerf.errors import UserError
from syncnerf.scene import Scene
from syncnerf.scene.video import VideoSource, file_begins, probe_video
from syncnerf.sync.common_interval import Cut, cuts
from syncnerf.sync.result import SyncResult

logger = logging.getLogger(__name__)

X264_SETTINGS = re.compile(rb"x264 - core.{0,300}?options: ([ -~]+)", re.DOTALL)
"""x264 leaves the settings it was called with in the stream's first packet."""
X264_QUALITY = re.compile(rb"\b(crf|qp)=([0-9.]+)")


def export_aligned(scene: Scene, result: SyncResult, folder: Path) -> None:
    """Write a copy of each determined camera's video, trimmed to the common interval.

    The trim is accurate to the frame (frames are decoded and encoded again: same codec, size, pixel format, frame rate
    and quality or bit rate); sound is copied as it is. ``alignment.json`` holds what is left below a frame:
    each camera's ``remainder``, seconds by which its first frame lies after the common beginning. Where clocks have
    rates, each frame of a copy is the nearest in time, and the file names the frames left out and repeated for that
    (the sound keeps its own clock). The folder appears only when it is complete.

    Raises:
        UserError: the folder exists and is not empty, a camera's frames are no video, or nothing is common to all.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder}: already exists; name a new folder for the aligned videos")
    parts = cuts(scene, result)
    sources = [_video(scene, part) for part in parts]
    for name, reason in result.reasons.items():
        logger.warning("no aligned copy of %s: its offset is not determined (%s)", name, reason)
    scratch = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}.partial-", dir=folder.parent))
        record = {}
        with tqdm(
            total=sum(len(part.frames) for part in parts), desc="aligning", unit="frame", leave=False
        ) as progress:
            for part, source in zip(parts, sources, strict=True):
                fps, times = scene.cameras[part.camera].fps, scene.cameras[part.camera].frame_times
                heard = tuple(float(times[index] - times[0]) for index in (part.frames[0], part.frames[-1]))
                target = scratch / source.path.name
                trim_video(source.path, target, part.frames, fps, progress, heard, source.chapters)
                record[scene.names[part.camera]] = _entry(part, source.path, fps, result)
        (scratch / "alignment.json").write_text(
            json.dumps({"unit": "seconds", "cameras": record}, indent=1) + "\n", encoding="utf-8"
        )
        scratch.chmod(0o755)
        if folder.exists():
            folder.rmdir()
        scratch.rename(folder)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror or error}); choose another place") from error
    finally:
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)


def _entry(part: Cut, source: Path, fps: float, result: SyncResult) -> dict:
    """What ``alignment.json`` says of one camera."""
    entry = {
        "file": source.name,
        "first_frame": part.frames[0],
        "frames": len(part.frames),
        "fps": fps,
        "remainder": part.remainder,
    }
    if result.rates is not None:
        rate = float(result.rates[part.camera]) * 1e6
        entry |= {"rate_ppm": rate, "left_out": part.left_out, "repeated": part.repeated}
    return entry


def _video(scene: Scene, part: Cut) -> VideoSource:
    camera = scene.cameras[part.camera]
    source = scene.frame_cache.sources[camera.name]
    if not isinstance(source, VideoSource):
        raise UserError(f"{source.path}: camera '{camera.name}' is not a video file; only videos can be exported")
    return source


def trim_video(
    source: Path,
    target: Path,
    frames: Sequence[int],
    fps: float,
    progress: tqdm | None = None,
    heard: tuple[float, float] | None = None,
    chapters: Sequence[Path] = (),
) -> None:
    """Copy some frames of a video, with the sound that belongs to them.

    Args:
        source: video to read.
        target: video to write.
        frames: indices of the frames to show, in ascending order; equal ones show a frame again.
        fps: frames per second of the copy (the camera's rate).
        progress: bar to advance by one per frame.
        heard: when the first and the last of the frames are shown, in seconds from the source's first one, for the
            sound; None where the source's frames are evenly spaced.
        chapters: further files in which the source goes on.

    Raises:
        UserError: the source cannot be read, or the codec cannot be written here.
    """
    paths, rate = (source, *chapters), Fraction(fps).limit_denominator(100_000)
    first, last = heard or (frames[0] / fps, frames[-1] / fps)
    path, output, copied, heard_to = source, None, None, -math.inf
    index, shown = 0, 0
    try:
        with av.open(str(target), "w") as writer:
            for path, clock in zip(paths, file_begins(paths), strict=True):
                # The interval on the file's own clock.
                begin, end = (probe_video(path).start_time - clock + time for time in (first, last + 1 / fps))
                with av.open(str(path)) as reader:
                    video, sound = reader.streams.video[0], next(iter(reader.streams.audio), None)
                    if output is None:
                        output, copied = _streams(writer, source, rate, video, sound)
                    for packet in reader.demux([stream for stream in (video, sound) if stream is not None]):
                        if packet.stream is sound:
                            heard_to = _copy_sound(packet, copied, begin, end, heard_to, writer)
                            continue
                        for frame in packet.decode():
                            while shown < len(frames) and frames[shown] == index:
                                frame.pict_type = av.video.frame.PictureType.NONE
                                frame.time_base, frame.pts = 1 / rate, shown
                                writer.mux(output.encode(frame))
                                shown += 1
                                if progress is not None:
                                    progress.update()
                            index += 1
            writer.mux(output.encode(None))
    except (av.error.FFmpegError, ValueError) as error:
        raise UserError(f"{path}: cannot be copied ({error}); encode it again as H.264") from error


def _streams(
    writer: av.container.OutputContainer, source: Path, rate: Fraction, video: av.VideoStream,
    sound: av.AudioStream | None,
) -> tuple[av.VideoStream, av.AudioStream | None]:  # fmt: skip
    """The copy's streams: a video encoded as the source's, and its sound."""
    output = writer.add_stream(_encoder(video), rate=rate, options=_quality(source))
    output.width, output.height, output.pix_fmt = video.width, video.height, video.pix_fmt
    if not output.options and video.bit_rate:
        output.bit_rate = video.bit_rate
    return output, None if sound is None else writer.add_stream_from_template(sound)


def _copy_sound(
    packet: av.Packet, stream: av.AudioStream | None, begin: float, end: float, heard_to: float,
    writer: av.container.OutputContainer,
) -> float:  # fmt: skip
    """Pass a sound packet on, as it is, if it falls into the interval; times then count from the beginning.

    Returns:
        Decoding time of the last packet that was passed on, in ticks: a further file's sound may begin before that, and
        then its first packets are left out.
    """
    if packet.pts is None or packet.dts is None or stream is None:
        return heard_to
    time = float(packet.pts * packet.time_base)
    shift = round(begin / packet.time_base)
    if not begin <= time < end or packet.dts - shift <= heard_to:
        return heard_to
    packet.pts -= shift
    packet.dts -= shift
    packet.stream, heard_to = stream, packet.dts
    writer.mux(packet)
    return heard_to


def _encoder(video: av.VideoStream) -> str:
    """Name of the encoder for a stream's codec."""
    names = {"h264": "libx264", "hevc": "libx265", "vp9": "libvpx-vp9", "av1": "libsvtav1"}
    return names.get(video.codec_context.name, video.codec_context.name)


def _quality(source: Path) -> dict[str, str]:
    """The constant quality that x264 noted in the stream, as an option; empty where there is none."""
    with av.open(str(source)) as reader:
        packet = next(reader.demux(video=0))
        settings = X264_SETTINGS.search(bytes(packet))
    found = X264_QUALITY.search(settings.group(1)) if settings else None
    return {found.group(1).decode(): found.group(2).decode()} if found else {}
