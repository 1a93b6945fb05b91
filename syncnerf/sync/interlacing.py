"""Interlaced videos among others: each frame shows two moments, half a frame apart, or one, and nothing says which."""

from dataclasses import replace

import torch

from syncnerf.scene import Scene
from syncnerf.scene.video import VideoSource, probe_video
from syncnerf.scene.woven import is_woven
from syncnerf.sync.result import SyncResult

LATER = 0.25
"""Frames by which the mean of both moments is later than the first."""


def with_interlacing(scene: Scene, result: SyncResult) -> SyncResult:
    """The result with wider errors, and a warning, for interlaced cameras where others are not.

    Motion is seen at the mean of a frame's two moments, the file's times are those of the first; and many a video of
    whole frames is marked as interlaced. Where all cameras are, what is in doubt is common to them.
    """
    interlaced = torch.tensor([_is_interlaced(scene, camera.name) for camera in scene.cameras])
    if not interlaced.any() or interlaced.all():
        return result
    remark = "it is interlaced, others are not: its time is in doubt by a quarter of a frame (deinterlace it)"
    names = [name for name, found in zip(scene.names, interlaced.tolist(), strict=True) if found]
    doubt = torch.tensor([LATER / camera.fps for camera in scene.cameras], dtype=torch.float64) * interlaced
    return replace(result, stderr=torch.hypot(result.stderr, doubt)).warned(dict.fromkeys(names, remark))


def _is_interlaced(scene: Scene, name: str) -> bool:
    """Whether a camera's video is marked as interlaced, or is."""
    # Frames that were never in a file have no source.
    source = getattr(scene.frame_cache, "sources", {}).get(name)
    if not isinstance(source, VideoSource):
        return False
    properties = probe_video(source.path)
    marked = properties.traits is not None and properties.traits.interlaced
    return marked or is_woven(source.path, properties.stream)
