"""The scene of real footage, of which no file says more than where the cameras are."""

from collections.abc import Callable
from pathlib import Path

from syncnerf.scene.camera import Camera
from syncnerf.scene.frame_cache import FrameCache, FrameSource, cache_directory
from syncnerf.scene.placement import footage_bounds
from syncnerf.scene.read_options import ReadOptions, choose_cameras
from syncnerf.scene.scene import Scene
from syncnerf.scene.transforms import read_true_offsets


def footage_scene(
    path: Path,
    root: Path,
    format_name: str,
    names: list[str],
    read: Callable[[str], tuple[Camera, FrameSource]],
    options: ReadOptions,
    own_test: tuple[str, ...] = (),
) -> Scene:
    """A scene in contracted space whose bounds follow from its cameras.

    Args:
        path: the file that lists the cameras, to name in errors.
        root: the scene's folder.
        format_name: the reader's name.
        names: all cameras of the folder in order.
        read: a camera and its frames by its name; asked only for those that are not left out.
        options: split and cache.
        own_test: the format's own evaluation cameras; empty for the first.

    Raises:
        UserError: split or true offsets are unfit, or what ``read`` raises.
    """
    kept, test = choose_cameras(names, options, path, own_test)
    true_offsets = read_true_offsets(root, names)
    pairs = [read(names[k]) for k in kept]
    cameras = tuple(camera for camera, _ in pairs)
    bounds, near, far = footage_bounds(cameras)
    return Scene(
        root=root,
        format=format_name,
        cameras=cameras,
        frame_cache=FrameCache(
            cache_directory(root, options.cache_dir), {camera.name: source for camera, source in pairs}
        ),
        test=test,
        bounds=bounds,
        near=near,
        far=far,
        space="contraction",
        background=None,
        true_offsets=None if true_offsets is None else true_offsets[kept],
    )
