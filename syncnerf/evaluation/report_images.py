"""The report's pictures and videos, embedded in the page where they are small enough."""

from __future__ import annotations

import base64
from html import escape
from pathlib import Path
from urllib.parse import quote

import imageio.v3 as imageio
import torch
from torch.nn.functional import interpolate

from syncnerf.evaluation.pictures import ERROR_SCALE
from syncnerf.evaluation.report_page import section
from syncnerf.evaluation.run_record import RunRecord

LARGEST_SIDE = 640
"""Pixels to which the longer side of an embedded picture is reduced."""

LARGEST_VIDEO = 4_000_000
"""Bytes of the largest video that is embedded; a larger one is linked."""

KIND_CAPTIONS = {
    "truth": "ground truth",
    "rendering": "rendering",
    "error": f"absolute error, black 0, bright {ERROR_SCALE:g} and more",
    "depth": "depth, blue near, red far",
    "static": "static part",
    "dynamic": "dynamic part",
}
VIDEO_CAPTIONS = {
    "path_fixed_moment": "moving camera, time stands still",
    "path_moving": "moving camera in moving time",
}


def picture_rows(record: RunRecord) -> str:
    """One row of pictures for each shown test frame."""
    scores = {(f["camera"], f["frame"]): f for f in (record.metrics or {}).get("frames", [])}
    rows = []
    for (camera, frame), kinds in record.pictures.items():
        score = scores.get((camera, frame))
        note = f", {score['psnr']:.2f} dB" if score else ""
        figures = "".join(
            f'<figure><img src="{embedded_picture(path)}" alt="{escape(f"{KIND_CAPTIONS[kind]}, {camera}")}">'
            f"<figcaption>{escape(KIND_CAPTIONS[kind])}</figcaption></figure>"
            for kind, path in kinds.items()
        )
        columns = f"grid-template-columns:repeat({max(4, len(kinds))},minmax(0,1fr))"
        rows.append(
            f"<h3>{escape(camera)}, frame {frame}{escape(note)}</h3>"
            f'<div class="pictures" style="{columns}">{figures}</div>'
        )
    return section("Test views", "Frames of cameras that were not trained on.", *rows)


def video_gallery(record: RunRecord) -> str:
    """The rendered videos."""
    figures = []
    for path in record.videos:
        caption = VIDEO_CAPTIONS.get(path.stem) or f"test view {path.stem.removeprefix('test_')}"
        link = quote(f"{path.parent.name}/{path.name}")
        source = link
        if path.stat().st_size <= LARGEST_VIDEO:
            source = f"data:video/mp4;base64,{base64.b64encode(path.read_bytes()).decode()}"
        figures.append(
            f'<figure><video src="{source}" controls loop muted autoplay playsinline></video>'
            f'<figcaption>{escape(caption)} (<a href="{link}">{escape(path.name)}</a>)</figcaption></figure>'
        )
    gallery = f'<div class="videos">{"".join(figures)}</div>' if figures else ""
    return section("Videos", "Rendered from the trained field.", gallery)


def embedded_picture(path: Path) -> str:
    """A picture as a ``data:`` address; a large one is reduced and becomes a JPEG."""
    data = path.read_bytes()
    image = imageio.imread(data, extension=".png")
    factor = LARGEST_SIDE / max(image.shape[:2])
    if factor >= 1.0:
        return f"data:image/png;base64,{base64.b64encode(data).decode()}"
    size = [max(1, round(side * factor)) for side in image.shape[:2]]
    pixels = torch.from_numpy(image[..., :3]).permute(2, 0, 1)[None].float()
    smaller = interpolate(pixels, size, mode="area")[0].permute(1, 2, 0).round().byte().numpy()
    data = imageio.imwrite("<bytes>", smaller, extension=".jpg", quality=88)
    return f"data:image/jpeg;base64,{base64.b64encode(data).decode()}"
