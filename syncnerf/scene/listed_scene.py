"""The scene of cameras that a file lists."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from syncnerf.scene.camera import Camera
from syncnerf.scene.frame_cache import FrameCache, FrameSource, cache_directory
from syncnerf.scene.origin import moved_box, near_origin
from syncnerf.scene.read_options import ReadOptions, choose_cameras
from syncnerf.scene.scene import Scene
from syncnerf.scene.transforms_cameras import WHITE, entries_placement, is_rendered, warn_of_misspelled
from syncnerf.scene.true_offsets import read_true_clocks


def listed_scene(
    path: Path,
    root: Path,
    format_name: str,
    names: list[str],
    read: Callable[[int], tuple[Camera, FrameSource]],
    options: ReadOptions,
    record: dict[str, Any] | None = None,
    own_test: tuple[str, ...] = (),
) -> Scene:
    """A scene from cameras that are read one by one; bounds that its json does not state follow from the cameras.

    The training cameras decide the bounds; all cameras do if only one is trained.

    Args:
        path: the file that lists the cameras, to name in errors.
        root: the scene's folder.
        format_name: the reader's name.
        names: all cameras of the folder in order.
        read: a camera and its frames by its place among the names; asked only for those that are not left out.
        options: split and cache.
        record: what the json holds, of which the bounds are read; None for nothing.
        own_test: the format's own evaluation cameras; empty for the first.

    Raises:
        UserError: split, bounds or true offsets are unfit, or what ``read`` raises.
    """
    record = record or {}
    warn_of_misspelled(record, path)
    kept, test = choose_cameras(names, options, path, own_test)
    truth = read_true_clocks(root, names, kept)
    pairs = [read(index) for index in kept]
    cameras, origin = near_origin(tuple(camera for camera, _ in pairs))
    training = tuple(camera for index, camera in enumerate(cameras) if index not in test)
    place = entries_placement(moved_box(record, origin), path, training if len(training) > 1 else cameras)
    sources = {camera.name: source for camera, source in pairs}
    return Scene(
        root=root,
        format=format_name,
        cameras=cameras,
        frame_cache=FrameCache(cache_directory(root, options.cache_dir), sources),
        test=test,
        bounds=place.bounds,
        near=place.near,
        far=place.far,
        space=place.space,
        background=WHITE if is_rendered(record) else None,
        origin=origin,
        **truth,
    )
