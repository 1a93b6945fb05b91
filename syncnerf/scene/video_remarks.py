"""Remarks on what may be unexpected in a video file: how it was made, cut and coded, and what lies beside it."""

from collections.abc import Iterator

import av

from syncnerf.errors import UserError
from syncnerf.scene.rgb_frames import UPRIGHT
from syncnerf.scene.video import VideoProperties, VideoSource, probe_video
from syncnerf.scene.woven import is_woven

APART = 0.01
"""Seconds between two beginnings from which on they are remarked on."""
TRANSFERS = {16: "PQ", 18: "HLG"}
"""Transfer functions of high dynamic range, by ITU-T H.273's numbers."""


def video_remarks(source: VideoSource) -> Iterator[str]:
    """Lines on what may be unexpected in a recording.

    Raises:
        UserError: a file can no longer be read.
    """
    properties = probe_video(source.path, source.chapters)
    if source.chapters:
        yield f"recorded in {1 + len(source.chapters)} files"
    if properties.untimed and properties.frame_count > 1:
        yield f"the file {properties.untimed}: a constant rate is taken for granted"
    if properties.discarded:
        yield f"cut without being encoded again: {properties.discarded} frames before its beginning are skipped"
    traits = properties.traits
    if traits is not None and traits.orientation != UPRIGHT:
        yield f"stored turned or mirrored, read upright: {properties.width}x{properties.height}"
    if traits is not None and traits.interlaced:
        yield "interlaced: each frame shows two moments; deinterlace it first"
    try:
        with av.open(str(source.path)) as container:
            yield from _of_streams(container, properties)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise UserError(f"{source.path}: cannot be read again ({error}); copy it again") from error
    if (traits is None or not traits.interlaced) and is_woven(source.path, properties.stream):
        yield "its rows show two moments in turn (interlaced, and not marked so); deinterlace it first"


def _of_streams(container: av.container.InputContainer, properties: VideoProperties) -> Iterator[str]:
    """Remarks on what a file holds beside its pictures, and how these are coded."""
    stream = container.streams[properties.stream]
    if len(container.streams.video) > 1:
        yield f"holds {len(container.streams.video)} streams of pictures; the longest is read"
    start = properties.start_time
    sound = next(iter(container.streams.audio), None)
    if sound is not None:
        yield f"has sound: {sound.codec_context.name}, {sound.codec_context.sample_rate} Hz"
        apart = start - float((sound.start_time or 0) * sound.time_base)
        if abs(apart) > APART:
            yield f"its picture begins {abs(apart):.3f} s {'after' if apart > 0 else 'before'} its sound"
    elif start > APART:
        yield f"its picture begins at {start:.3f} s of the file's clock"
    codec = stream.codec_context
    pixels = codec.format
    depth = max((component.bits for component in pixels.components), default=8) if pixels is not None else 8
    if depth > 8:
        yield f"{depth} bits a colour, read as 8"
    if codec.color_trc in TRANSFERS:
        yield f"high dynamic range ({TRANSFERS[codec.color_trc]}): read as it is stored, without tone mapping"
    if codec.color_range == 2 and pixels is not None and not pixels.is_rgb:
        yield "full-range colours (a tag of the file, which is followed)"
    ratio = stream.sample_aspect_ratio
    if ratio and ratio != 1:
        yield f"pixels are {ratio.numerator}:{ratio.denominator}, not square; focal lengths should be of stored pixels"
