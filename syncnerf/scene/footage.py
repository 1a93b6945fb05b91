"""The scene of real footage, of which no file says more than where the cameras are."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from syncnerf.scene.camera import Camera
from syncnerf.scene.frame_cache import FrameCache, FrameSource, cache_directory
from syncnerf.scene.origin import moved_box, near_origin
from syncnerf.scene.placement import rig_placement, stated_placement
from syncnerf.scene.read_options import ReadOptions, choose_cameras
from syncnerf.scene.scene import Scene
from syncnerf.scene.true_offsets import read_true_clocks


def footage_scene(
    path: Path,
    root: Path,
    format_name: str,
    names: list[str],
    read: Callable[[str], tuple[Camera, FrameSource]],
    options: ReadOptions,
    own_test: tuple[str, ...] = (),
    record: dict[str, Any] | None = None,
) -> Scene:
    """A scene whose bounds follow from its training cameras where its json does not state them.

    Args:
        path: the file that lists the cameras, to name in errors.
        root: the scene's folder.
        format_name: the reader's name.
        names: all cameras of the folder in order.
        read: a camera and its frames by its name; asked only for those that are not left out.
        options: split and cache.
        own_test: the format's own evaluation cameras; empty for the first.
        record: what the json holds beside the cameras; None for nothing.

    Raises:
        UserError: split, bounds or true offsets are unfit, or what ``read`` raises.
    """
    kept, test = choose_cameras(names, options, path, own_test)
    truth = read_true_clocks(root, names, kept)
    pairs = [read(names[k]) for k in kept]
    cameras, origin = near_origin(tuple(camera for camera, _ in pairs))
    training = tuple(camera for index, camera in enumerate(cameras) if index not in test)
    place = stated_placement(moved_box(record or {}, origin), path, rig_placement(training))
    return Scene(
        root=root,
        format=format_name,
        cameras=cameras,
        frame_cache=FrameCache(
            cache_directory(root, options.cache_dir), {camera.name: source for camera, source in pairs}
        ),
        test=test,
        bounds=place.bounds,
        near=place.near,
        far=place.far,
        space=place.space,
        background=None,
        origin=origin,
        **truth,
    )
