"""Aligned copies with a start timecode, for editing programs and for FreeMoCap."""

from pathlib import Path

import av

from syncnerf.errors import UserError
from syncnerf.export.alignment import Alignment
from syncnerf.scene.transforms import one_line, read_json_object
from syncnerf.sync.export import export_aligned

TIMECODE_FORMATS = (".mp4", ".mov")
"""Containers that hold a timecode track."""


def write_aligned(alignment: Alignment, folder: Path) -> None:
    """Copies trimmed to the common time and ``alignment.json``, each with the same start timecode.

    Raises:
        UserError: a camera's frames are no video, or nothing is common to all.
    """
    export_aligned(alignment.scene, alignment.result(), folder)
    for file in sorted(folder.iterdir()):
        if file.suffix.lower() in TIMECODE_FORMATS:
            add_timecode(file, "00:00:00:00")


def write_freemocap(alignment: Alignment, folder: Path) -> None:
    """FreeMoCap's ``synchronized_videos``: aligned copies of equally many frames.

    Raises:
        UserError: the cameras' frame rates differ, or as :func:`write_aligned`.
    """
    rates = {camera.fps for camera in alignment.scene.cameras}
    if max(rates) - min(rates) > 1e-3 * max(rates):
        raise UserError(
            f"{alignment.scene.root}: FreeMoCap needs one frame rate, and here are {min(rates):g} to {max(rates):g}; "
            "convert the videos first"
        )
    write_aligned(alignment, folder)
    counts = {entry["frames"] for entry in read_json_object(folder / "alignment.json")["cameras"].values()}
    if len(counts) != 1:
        raise UserError(f"{folder}: copies of {min(counts)} to {max(counts)} frames; FreeMoCap needs equally many")


def add_timecode(video: Path, start: str) -> None:
    """Give a video a start timecode (``HH:MM:SS:FF``), its streams copied as they are; raises UserError."""
    partial = video.with_name(f".partial-{video.name}")
    try:
        with av.open(str(video)) as reader, av.open(str(partial), "w") as writer:
            streams = {
                s.index: writer.add_stream_from_template(s) for s in (*reader.streams.video, *reader.streams.audio)
            }
            for stream in reader.streams.video:
                streams[stream.index].metadata["timecode"] = start
            for packet in reader.demux(*(reader.streams[index] for index in streams)):
                if packet.dts is not None:
                    packet.stream = streams[packet.stream_index]
                    writer.mux(packet)
        partial.replace(video)
    except (av.error.FFmpegError, ValueError) as error:
        raise UserError(f"{video}: cannot be given a timecode ({one_line(error)})") from error
    finally:
        partial.unlink(missing_ok=True)
