"""What about a scene's files could surprise: said while they are read, and by ``syncnerf info``."""

import logging

from syncnerf.scene.scene import Scene
from syncnerf.scene.video import VideoSource, probe_video

logger = logging.getLogger(__name__)


def warn_of_untimed(scene: Scene) -> None:
    """One warning that names the videos whose timestamps do not say when their frames were taken."""
    found = {}
    for camera in scene.cameras:
        source = scene.frame_cache.sources[camera.name]
        if camera.frame_count > 1 and camera.given_times is None and isinstance(source, VideoSource):
            reason = probe_video(source.path).untimed
            if reason:
                found.setdefault(reason, []).append(source.path.name)
    for reason, names in found.items():
        logger.warning("%s: %s; a constant frame rate is taken for granted", ", ".join(names), reason)
