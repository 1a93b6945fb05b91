"""Aligned copies with a start timecode, for editing programs and for FreeMoCap."""

from dataclasses import replace
from pathlib import Path

from syncnerf.errors import UserError
from syncnerf.export.alignment import Alignment
from syncnerf.export.copies import TIMECODE_FORMATS, copy_streams
from syncnerf.export.trimmed import write_trimmed
from syncnerf.records import read_json_object
from syncnerf.sync.timecode import StartTimecode, start_of, timecode_of


def write_aligned(alignment: Alignment, folder: Path) -> None:
    """Copies trimmed to the common time and ``alignment.json``, each with the same start timecode.

    It is what the reference's own timecode shows at that moment, or else that of the first camera that has one;
    without any it is 0.

    Raises:
        UserError: a camera's frames are no video, or nothing is common to all.
    """
    write_trimmed(alignment.scene, alignment.result(), folder)
    start = _common_start(alignment)
    for entry in read_json_object(folder / "alignment.json")["cameras"].values():
        file = folder / entry["file"]
        if file.suffix.lower() in TIMECODE_FORMATS:
            copy_streams([file], file, timecode_of(start, entry["fps"]))


def _common_start(alignment: Alignment) -> StartTimecode:
    """The timecode at the beginning of the common time."""
    reference = alignment.scene.reference
    for part in sorted(alignment.cuts(), key=lambda part: part.camera != reference):
        start, times = start_of(alignment.video(part.camera).path), alignment.scene.cameras[part.camera].frame_times
        if start is not None:
            return replace(start, seconds=start.seconds + float(times[part.frames[0]] - times[0]) - part.remainder)
    return StartTimecode(0.0)


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
