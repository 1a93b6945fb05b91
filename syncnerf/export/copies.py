"""Recordings whose streams are copied as they are: several files in one, and a start timecode."""

from collections.abc import Sequence
from pathlib import Path

import av

from syncnerf.atomic import atomic_file, raise_of_disk
from syncnerf.errors import UserError, one_line
from syncnerf.scene.video import file_begins, probe_video

TIMECODE_FORMATS = (".mp4", ".mov")
"""Containers that hold a timecode track."""


def copy_streams(paths: Sequence[Path], target: Path, timecode: str | None = None) -> None:
    """Copy a recording's video and sound, without encoding them again.

    Args:
        paths: the recording's files in order; they become one.
        target: the file to write; it appears when it is complete, and may be one of ``paths``.
        timecode: start timecode, ``HH:MM:SS:FF``; None for what the first file has.

    Raises:
        UserError: a file cannot be copied, or is of another kind than the first.
    """
    path = paths[0]
    try:
        begins = [clock - probe_video(part).start_time for part, clock in zip(paths, file_begins(paths), strict=True)]
        with atomic_file(target) as partial, av.open(str(partial), "w") as writer:
            streams: list[av.stream.Stream] = []
            for path, begin in zip(paths, begins, strict=True):
                with av.open(str(path)) as reader:
                    own = [*reader.streams.video, *reader.streams.audio]
                    if not streams:
                        streams = [writer.add_stream_from_template(stream) for stream in own]
                        _put_timecode(own, streams, timecode)
                    _copy_packets(reader, own, streams, begin - begins[0], writer)
    except (av.error.FFmpegError, ValueError) as error:
        raise_of_disk(error, target)
        raise UserError(f"{path}: cannot be copied ({one_line(error)}); join or encode its files anew") from error


def _put_timecode(own: list[av.stream.Stream], copies: list[av.stream.Stream], timecode: str | None) -> None:
    for stream, copied in zip(own, copies, strict=True):
        if stream.type == "video" and (timecode or "timecode" in stream.metadata):
            copied.metadata["timecode"] = timecode or stream.metadata["timecode"]


def _copy_packets(
    reader: av.container.InputContainer, own: list[av.stream.Stream], copies: list[av.stream.Stream], later: float,
    writer: av.container.OutputContainer,
) -> None:  # fmt: skip
    """Pass a file's packets on, ``later`` by so many seconds; raises ValueError where its streams are others."""
    places = {stream.index: copied for stream, copied in zip(own, copies, strict=True)}
    for packet in reader.demux(own):
        if packet.dts is None:
            continue
        shift = round(later / packet.time_base)
        packet.dts += shift
        if packet.pts is not None:
            packet.pts += shift
        packet.stream = places[packet.stream_index]
        writer.mux(packet)
