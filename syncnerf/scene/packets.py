"""A video file's packets: which stream is the video, how many frames it has, and when they are shown."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from av.format import Flags

from syncnerf.errors import UserError
from syncnerf.scene.frame_times import FrameTiming, timing

TICKS = 1000
"""A header that states this rate or more, in frames per second, means clock ticks of a varying rate, not frames."""


class _Packet(NamedTuple):
    """Presentation timestamp, whether it is a key frame, is marked not to be shown, and is damaged."""

    stamp: int | None
    whole: bool
    discarded: bool
    damaged: bool


@dataclass(frozen=True)
class Packets:
    """What the packets of a file's video stream tell, without decoding them.

    Attributes:
        stream: index of the video's stream in the file.
        width: of a stored picture, in pixels.
        height: of a stored picture, in pixels.
        stamps: presentation timestamps of the frames in ticks, in order; None where a packet has none.
        timing: the frames' rate and times.
        untimed: why frames' times do not follow from timestamps; empty if they do.
        start_time: the first frame's time in seconds on the file's clock.
        missing: number of packets that the file's index lists and that are not there: the file breaks off.
        discarded: number of packets that the file marks to be decoded and not shown: it was cut.
        breaks_off: whether the file ends within a picture, which is left out.
        stated_end: where the video ends in seconds on the file's clock, as its header states; 0 where it does not.
    """

    stream: int
    width: int
    height: int
    stamps: list[int | None]
    timing: FrameTiming
    untimed: str
    start_time: float
    missing: int
    discarded: int
    breaks_off: bool
    stated_end: float


def read_packets(path: Path) -> Packets:
    """Read all packets of a file's video, without decoding them.

    Of several video streams it is the longest that is no attached picture; the larger one of equally long ones.

    Raises:
        UserError: the file holds sound alone, or nothing.
        av.error.FFmpegError: it cannot be read.
    """
    with av.open(str(path)) as container:
        streams = container.streams.video
        streams = [s for s in streams if not s.disposition & av.stream.Disposition.attached_pic] or list(streams)
        if not streams:
            raise UserError(f"{path}: holds no pictures; name a video, or leave its camera out")
        found = {stream.index: [] for stream in streams}
        for packet in container.demux(*streams):
            if packet.size:
                kept = _Packet(packet.pts, packet.is_keyframe, packet.is_discard, packet.is_corrupt)
                found[packet.stream_index].append(kept)
        stream = max(streams, key=lambda stream: (len(found[stream.index]), stream.width * stream.height))
        packets = found[stream.index]
        breaks_off = bool(packets) and packets[-1].damaged
        if breaks_off:
            packets.pop()
        stamps = [packet.stamp for packet in packets if not packet.discarded]
        if _begins_in_between(packets):
            # Packets do not tell what the decoder makes of frames before the first key frame: decode to find out.
            stamps = _decoded_stamps(path, stream.index)
        rates = [float(rate) for rate in (stream.average_rate, stream.guessed_rate) if rate]
        if container.format.flags & Flags.no_timestamps.value:
            # A bare stream without a container: its timestamps are made up, from 25 frames a second.
            stamps = [None] * len(stamps)
            rate = float(stream.codec_context.framerate or 0)
            rates = [rate if rate < TICKS else 0.0]
        frame_timing, untimed = _timing(stamps, float(stream.time_base), rates)
        first = min((stamp for stamp in stamps if stamp is not None), default=0)
        discarded = sum(packet.discarded for packet in packets)
        # An mp4's index lists every packet; in other formats it lists only those that can be sought to.
        missing = max(len(stream.index_entries) - len(packets) - breaks_off, 0) if "mp4" in container.format.name else 0
        return Packets(
            stream.index, stream.width, stream.height, stamps, frame_timing, untimed, float(first * stream.time_base),
            missing, discarded, breaks_off, _stated_end(container, stream),
        )  # fmt: skip


def decoded(container: av.container.InputContainer, stream: av.VideoStream) -> Iterator[av.VideoFrame]:
    """Frames of a stream, in order, from where the container is; a last picture within which the file ends is not one.

    Raises:
        av.error.FFmpegError: they cannot be decoded.
    """
    for packet in but_cut_off(container.demux(stream)):
        yield from packet.decode()


def but_cut_off(packets: Iterable[av.Packet]) -> Iterator[av.Packet]:
    """All packets but those, the last of a stream, within which the file ends; damaged ones that others follow stay."""
    damaged = {}
    for packet in packets:
        before = damaged.pop(packet.stream_index, None)
        if before is not None and packet.size:
            yield before
        if packet.size and packet.is_corrupt:
            damaged[packet.stream_index] = packet
        else:
            yield packet


def _stated_end(container: av.container.InputContainer, stream: av.VideoStream) -> float:
    """Where a Matroska file's tag or an AVI's header says that the video ends, seconds; 0 where none does."""
    tag = re.fullmatch(r"(\d+):(\d\d):(\d\d(?:\.\d*)?)", stream.metadata.get("DURATION", ""))
    if tag is not None:
        hours, minutes, seconds = tag.groups()
        return 3600 * int(hours) + 60 * int(minutes) + float(seconds)
    if container.format.name == "avi" and stream.average_rate:
        return float(stream.frames / stream.average_rate)
    return 0.0


def _begins_in_between(packets: list[_Packet]) -> bool:
    """Whether some frames precede the first key frame, in the file or in time."""
    shown = [packet.stamp for packet in packets if not packet.discarded and packet.stamp is not None]
    if not packets or not shown:
        return False
    first = packets[0]
    return not first.whole or (first.stamp is not None and min(shown) < first.stamp)


def _decoded_stamps(path: Path, stream: int) -> list[int | None]:
    """Presentation timestamps of the frames that decoding gives."""
    with av.open(str(path)) as container:
        return [frame.pts for frame in decoded(container, container.streams[stream])]


def _timing(stamps: list[int | None], tick: float, rates: list[float]) -> tuple[FrameTiming, str]:
    """The frames' times, and why the timestamps do not decide them (empty where they do)."""
    stated = FrameTiming(rates[0] if rates else 0.0, None)
    if len(stamps) < 2:
        return stated, "has less than two frames"
    if None in stamps:
        return stated, "has no timestamps"
    ordered = np.sort(np.array(stamps, dtype=np.int64))
    if (np.diff(ordered) <= 0).any():
        return stated, "has timestamps that do not increase"
    return timing((ordered - ordered[0]) * tick, tick, rates), ""
