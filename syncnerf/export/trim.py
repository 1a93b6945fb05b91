"""A copy of some frames of a recording: coded like the original, with the sound that belongs to them."""

import logging
import math
import os
import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from tqdm import tqdm

from syncnerf.atomic import raise_of_disk
from syncnerf.errors import UserError, one_line
from syncnerf.export.scheduling import usual_scheduling
from syncnerf.scene.packets import but_cut_off
from syncnerf.scene.rgb_frames import display_matrix
from syncnerf.scene.video import VideoSource, probe_video

logger = logging.getLogger(__name__)

ENCODERS = {"h264": "libx264", "hevc": "libx265", "vp8": "libvpx", "vp9": "libvpx-vp9", "av1": "libsvtav1"}
"""Encoders by codec, where their names differ."""
NOTED_SETTINGS = re.compile(rb"x26[45] .{0,400}?options: ([ -~]+)", re.DOTALL)
"""x264 and x265 leave the settings that they were called with in the stream's header or first packet."""
NOTED_QUALITY = re.compile(rb"\b(crf|qp)=([0-9.]+)")
QUIET = {"libx265": {"x265-params": "log-level=error"}}
"""Options of encoders that would tell the terminal about their work."""
# SVT-AV1 knows no such option.
os.environ.setdefault("SVT_LOG", "1")
COLOUR_TAGS = ("color_range", "color_primaries", "color_trc", "colorspace")
"""What says which colours the stored numbers mean."""


def trim_video(
    source: VideoSource, target: Path, frames: Sequence[int], fps: float, progress: tqdm | None = None
) -> None:
    """Copy some frames of a recording, with the sound that belongs to them.

    Frames are decoded and encoded again: same codec, size, pixel format and aspect, colour tags, orientation, and
    quality or bit rate. Sound is copied as it is, by the file's own clock, whatever rate the scene states.

    Args:
        source: recording to read, in one file or several.
        target: video to write.
        frames: indices of the frames to show, in ascending order; equal ones show a frame again.
        fps: frames per second of the copy (the camera's rate).
        progress: bar to advance by one per frame.

    Raises:
        UserError: the source cannot be read, or its codec or pixel format cannot be written here.
    """
    try:
        with av.open(str(target), "w") as writer:
            copy = _Copy(source, writer, Fraction(fps).limit_denominator(100_000), progress)
            copy.run(frames)
        with av.open(str(target)) as written:
            aspect = written.streams.video[0].sample_aspect_ratio or 1
    except (av.error.FFmpegError, ValueError) as error:
        raise_of_disk(error, target)
        raise UserError(f"{source.path}: cannot be copied ({one_line(error)}); encode it again as H.264") from error
    if aspect != copy.aspect:
        logger.warning(
            "%s: its pixels are %d:%d, which the copy cannot say; choose that in the player",
            source.path, copy.aspect.numerator, copy.aspect.denominator,
        )  # fmt: skip


class _Copy:
    """One copy under way."""

    def __init__(
        self, source: VideoSource, writer: av.container.OutputContainer, rate: Fraction, progress: tqdm | None
    ):
        self.files = source.paths
        self.writer, self.rate, self.progress = writer, rate, progress
        self.video, self.sound, self.shown, self.heard = None, None, 0, -math.inf
        whole = probe_video(source.path, source.chapters)
        self.interval = 1 / (whole.fps or float(rate))
        self.times = self.interval * np.arange(whole.frame_count) if whole.times is None else whole.times.numpy()
        self.aspect = Fraction(1)

    def run(self, frames: Sequence[int]) -> None:
        """Write the frames, and the sound between the first one's and the last one's end."""
        begin, end = self.times[frames[0]], self.times[frames[-1]] + self.interval
        first = 0
        for path in self.files:
            properties = probe_video(path)
            # Where this file's clock was 0, on the recording's: its frames' clock, and so the sound's.
            zero = float(self.times[first]) - properties.start_time
            with av.open(str(path)) as reader:
                self._begin(reader, reader.streams[properties.stream], path)
                wanted = [index - first for index in frames[self.shown :]]
                self._file(reader, properties.stream, wanted, (begin - zero, end - zero))
            first += properties.frame_count
        self._encode(None)

    def _begin(self, reader: av.container.InputContainer, given: av.VideoStream, path: Path) -> None:
        """Make the copy's streams, once, after the first file's."""
        if self.video is not None:
            return
        codec = given.codec_context.codec.canonical_name
        name = ENCODERS.get(codec, codec)
        formats = [known.name for known in av.Codec(name, "w").video_formats or ()]
        if formats and given.pix_fmt not in formats:
            raise UserError(
                f"{path}: {codec} of pixel format {given.pix_fmt} cannot be written here; encode it again as H.264"
            )
        quality = _quality(path, given)
        self.video = self.writer.add_stream(name, rate=self.rate, options=quality | QUIET.get(name, {}))
        self.video.width, self.video.height, self.video.pix_fmt = given.width, given.height, given.pix_fmt
        if not quality:
            self.video.bit_rate = given.bit_rate or _bit_rate(path, given.index)
        for tag in COLOUR_TAGS:
            setattr(self.video.codec_context, tag, getattr(given.codec_context, tag))
        if given.sample_aspect_ratio:
            self.aspect = self.video.codec_context.sample_aspect_ratio = given.sample_aspect_ratio
        if reader.streams.audio:
            self.sound = self.writer.add_stream_from_template(reader.streams.audio[0])

    def _file(
        self,
        reader: av.container.InputContainer,
        stream: int,
        wanted: Sequence[int],
        heard: tuple[float, float],
    ) -> None:
        """Copy one file's part: ``wanted`` indices of its frames, sound by its own clock."""
        sound = reader.streams.audio[0] if self.sound is not None and reader.streams.audio else None
        index, place = 0, 0
        for packet in but_cut_off(reader.demux([s for s in (reader.streams[stream], sound) if s is not None])):
            if packet.stream is sound:
                self._copy_sound(packet, *heard)
                continue
            # What comes after the last wanted frame needs no decoding.
            for frame in packet.decode() if place < len(wanted) else ():
                while place < len(wanted) and wanted[place] == index:
                    self._show(frame)
                    place += 1
                index += 1

    def _show(self, frame: av.VideoFrame) -> None:
        """Encode one frame as the copy's next."""
        if not self.shown:
            self.video.set_display_matrix(display_matrix(frame))
        frame.pict_type = av.video.frame.PictureType.NONE
        frame.time_base, frame.pts = 1 / self.rate, self.shown
        self._encode(frame)
        self.shown += 1
        if self.progress is not None:
            self.progress.update()

    def _encode(self, frame: av.VideoFrame | None) -> None:
        """Encode a frame, or at the end what is left, and write what comes of it."""
        # The first frame opens the encoder.
        with usual_scheduling():
            packets = self.video.encode(frame)
        self.writer.mux(packets)

    def _copy_sound(self, packet: av.Packet, begin: float, end: float) -> None:
        """Pass a sound packet on, as it is, if it falls into the interval; times then count from the beginning."""
        if packet.pts is None or packet.dts is None or not begin <= float(packet.pts * packet.time_base) < end:
            return
        shift = round(begin / packet.time_base)
        packet.pts -= shift
        packet.dts -= shift
        if packet.dts * packet.time_base < self.heard:
            return  # the file before this one went on hearing while this one began
        self.heard = (packet.dts + (packet.duration or 0)) * packet.time_base
        packet.stream = self.sound
        self.writer.mux(packet)


def _quality(path: Path, video: av.VideoStream) -> dict[str, str]:
    """The constant quality that an encoder noted in the stream, as an option; empty where there is none."""
    head = bytes(video.codec_context.extradata or b"") + next(_packets(path, video.index), b"")
    found = NOTED_SETTINGS.search(head)
    noted = NOTED_QUALITY.search(found.group(1)) if found else None
    return {noted.group(1).decode(): noted.group(2).decode()} if noted else {}


def _bit_rate(path: Path, stream: int) -> int:
    """Bits per second of a stream whose container does not say it."""
    properties = probe_video(path)
    seconds = properties.frame_count / properties.fps if properties.fps else 1.0
    return math.ceil(8 * sum(map(len, _packets(path, stream))) / seconds)


def _packets(path: Path, stream: int) -> Iterator[bytes]:
    """The packets' content, one by one."""
    with av.open(str(path)) as container:
        for packet in container.demux(container.streams[stream]):
            yield bytes(packet)
