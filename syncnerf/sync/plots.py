"""Pictures that let a person judge a synchronisation at a glance."""

from pathlib import Path

import numpy as np
import torch
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from syncnerf.errors import UserError
from syncnerf.scene import Scene
from syncnerf.sync.common_interval import common_interval
from syncnerf.sync.result import SyncResult

USED, UNUSED, MARK, DOUBTFUL = "#1f77b4", "#c0c0c0", "#d62728", "#ff7f0e"
STRIP_MOMENTS = 4
"""Moments that the strip of simultaneous frames shows."""
STRIP_COLUMNS = 10
"""Cameras in one row of the strip."""
THUMBNAIL = 150
"""Width of a frame in the strip, pixels."""


def write_plots(scene: Scene, result: SyncResult, folder: Path) -> None:
    """Write ``landscapes.png``, ``timeline.png`` and ``frames.png`` into a folder (made if need be).

    Raises:
        UserError: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        landscape_matrix(result, scene.frame_interval).savefig(folder / "landscapes.png", dpi=110)
        timeline(scene, result).savefig(folder / "timeline.png", dpi=110)
        simultaneous_frames(scene, result).savefig(folder / "frames.png", dpi=110)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror or error}); choose another place") from error


def landscape_matrix(result: SyncResult, frame_interval: float) -> Figure:
    """Each pair's landscape in its cell: row and column are the cameras, a dot marks the lag that was found.

    Below the diagonal the lag in frames is written where there is room. Pairs that were not used are grey.
    """
    count = len(result.names)
    side = min(max(6.0, 0.75 * count), 18.0)
    figure = Figure(figsize=(side, side))
    axes = figure.add_axes((0.1, 0.02, 0.88, 0.82))
    lags = {(pair.first, pair.second): pair for pair in result.pairs}
    longest = max((float(land.lags.abs().max()) for land in result.landscapes), default=1.0)
    curves: dict[str, list[np.ndarray]] = {USED: [], UNUSED: []}
    for land in result.landscapes:
        pair = lags[land.first, land.second]
        low, high = float(land.values.quantile(0.02)), float(land.values.max())
        x = land.second + 0.45 * land.lags.numpy() / longest
        height = (land.values.clamp_min(low).numpy() - low) / max(high - low, 1e-9)
        y = land.first + 0.42 - 0.8 * height
        curves[USED if pair.used else UNUSED].append(np.stack([x, y], -1))
        place = land.second + 0.45 * pair.lag / longest
        axes.plot(place, land.first - 0.42, "v", color=MARK if pair.used else UNUSED, markersize=3)
        if count <= 20:
            colour = "black" if pair.used else "#909090"
            text = f"{pair.lag / frame_interval:+.1f}" if pair.used else "x"
            axes.text(land.first, land.second, text, ha="center", va="center", fontsize=7, color=colour)
    for colour, lines in curves.items():
        axes.add_collection(LineCollection(lines, colors=colour, linewidths=0.8))
    edges = np.arange(count + 1) - 0.5
    axes.hlines(edges, -0.5, count - 0.5, color="#e6e6e6", linewidth=0.6)
    axes.vlines(edges, -0.5, count - 0.5, color="#e6e6e6", linewidth=0.6)
    axes.set(xlim=(-0.5, count - 0.5), ylim=(count - 0.5, -0.5))
    axes.set_xticks(range(count), result.names, rotation=60, fontsize=8)
    axes.set_yticks(range(count), result.names, fontsize=8)
    axes.xaxis.tick_top()
    axes.set_title(
        f"agreement against shift (each cell: -{longest:.2f} .. +{longest:.2f} s)\n"
        "grey: not used; below the diagonal: lag in frames",
        fontsize=9,
    )
    return figure


def timeline(scene: Scene, result: SyncResult) -> Figure:
    """When each camera filmed, by the videos' own clocks and after synchronisation, with 3 standard errors.

    Cameras that are not sure are orange, and say why.
    """
    count = len(result.names)
    figure = Figure(figsize=(11, max(2.5, 0.28 * count + 1.2)), layout="constrained")
    before, after = figure.subplots(1, 2, sharey=True)
    rows = np.arange(count)
    durations = np.array([camera.duration for camera in scene.cameras])
    before.barh(rows, durations, height=0.6, color=UNUSED)
    before.set(title="as recorded", xlabel="seconds on each camera's own clock", ylim=(count - 0.4, -0.6))
    before.set_yticks(rows, result.names, fontsize=8)
    known = ~result.offsets.isnan().numpy()
    offsets, errors = result.offsets.numpy(), result.stderr.nan_to_num(0.0).numpy()
    doubts = {row: result.checks[name].reason for row, name in enumerate(result.names) if name in result.checks}
    colours = [DOUBTFUL if doubts.get(row) else USED for row in rows[known]]
    after.barh(rows[known], durations[known], left=offsets[known], height=0.6, color=colours)
    for row in rows[known]:
        after.text(offsets[row], row, f" {doubts.get(row, '')}"[:70], va="center", fontsize=6)
    after.errorbar(
        offsets[known], rows[known], xerr=3 * errors[known], fmt="none", ecolor="black", elinewidth=1, capsize=2
    )
    for row in rows[~known]:
        after.text(0.0, row, "undetermined", color=MARK, va="center", fontsize=8)
    if known.sum() > 1 and offsets[known].max() < (offsets + durations)[known].min():
        begin, end = common_interval(scene, result)
        after.axvspan(begin, end, color="#2ca02c", alpha=0.15, label="filmed by all")
        after.legend(loc="lower right", fontsize=8)
    after.set(title="synchronised", xlabel=f"seconds on the clock of {result.names[result.reference]}")
    return figure


def simultaneous_frames(scene: Scene, result: SyncResult) -> Figure:
    """Frames of all determined cameras at the same few moments: one block of rows per moment."""
    known = (~result.offsets.isnan()).nonzero()[:, 0].tolist()
    starts = [float(result.offsets[camera]) for camera in known]
    ends = [start + scene.cameras[camera].duration for start, camera in zip(starts, known, strict=True)]
    # Where no moment is common to all, moments of the median camera still show most of them.
    begin, end = (max(starts), min(ends)) if max(starts) < min(ends) else (np.median(starts), np.median(ends))
    moments = begin + (end - begin) * (np.arange(STRIP_MOMENTS) + 0.5) / STRIP_MOMENTS
    lines = -(-len(known) // STRIP_COLUMNS)
    columns = -(-len(known) // lines)
    shape = [(c.intrinsics.width, c.intrinsics.height) for c in scene.cameras]
    height = round(max(THUMBNAIL * h / w for w, h in shape))
    gap = 4
    canvas = np.full((STRIP_MOMENTS * lines * (height + gap), columns * (THUMBNAIL + gap), 3), 255, np.uint8)
    labels = []
    for block, moment in enumerate(moments):
        for place, camera in enumerate(known):
            top = (block * lines + place // columns) * (height + gap)
            left = (place % columns) * (THUMBNAIL + gap)
            own = (moment - float(result.offsets[camera])) * scene.cameras[camera].fps
            frame = round(float(own))
            if not 0 <= frame < scene.cameras[camera].frame_count:
                continue
            picture = _thumbnail(scene.frame_cache.open(scene.cameras[camera])[frame])
            canvas[top : top + picture.shape[0], left : left + THUMBNAIL] = picture
            labels.append((left + 3, top + 3, f"{result.names[camera]} #{frame} ({own - frame:+.2f})"))
    header = 0.6
    figure = Figure(figsize=(canvas.shape[1] / 100, canvas.shape[0] / 100 + header))
    share = canvas.shape[0] / 100 / (canvas.shape[0] / 100 + header)
    axes = figure.add_axes((0, 0, 1, share))
    axes.imshow(canvas)
    for x, y, text in labels:
        box = {"facecolor": "white", "alpha": 0.7, "pad": 1, "linewidth": 0}
        axes.text(x, y, text, fontsize=6, va="top", bbox=box)
    axes.axis("off")
    figure.suptitle(
        f"from top to bottom: {', '.join(f'{moment:.2f}' for moment in moments)} s\n"
        "nearest frame of each camera; in brackets what it lacks, in frames",
        fontsize=8,
        y=1 - 0.1 * (1 - share),
    )
    return figure


def _thumbnail(frame: np.ndarray) -> np.ndarray:
    """A frame at the strip's width, uint8."""
    height = max(1, round(THUMBNAIL * frame.shape[0] / frame.shape[1]))
    image = torch.from_numpy(np.array(frame)).permute(2, 0, 1)[None].float()
    small = torch.nn.functional.interpolate(image, (height, THUMBNAIL), mode="bilinear", antialias=True)
    return small[0].permute(1, 2, 0).round().clamp(0, 255).to(torch.uint8).numpy()
