"""A picture of a rig from above: places, views, names, bounds."""

from pathlib import Path

import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from syncnerf.scene.camera import Camera
from syncnerf.scene.placement import looked_at_point
from syncnerf.scene.scene import Scene

TRAIN_COLOUR, TEST_COLOUR = "#2563a8", "#c2410c"
BOX_EDGES = [(a, b) for a in range(8) for b in range(a + 1, 8) if (a ^ b).bit_count() == 1]
"""Pairs of a box's eight corners that an edge joins; corner numbers' binary digits choose lower or upper x, y, z."""


def draw_rig(scene: Scene, path: Path) -> None:
    """Draw the cameras, their fields of view and the scene's box from above; write a PNG.

    "Up" is the images' mean upward direction, whatever the world's axes are. The first camera is at the bottom of the
    drawing.

    Raises:
        OSError: the file cannot be written.
    """
    across, forward, target = _plane(scene.cameras)
    figure = Figure(figsize=(7.0, 7.0), dpi=110)
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    reach = max(float((camera.pose(0)[:3, 3] - target).norm()) for camera in scene.cameras)
    for index, camera in enumerate(scene.cameras):
        colour = TEST_COLOUR if index in scene.test else TRAIN_COLOUR
        _draw_camera(axes, camera, across, forward, target, (scene.near, min(scene.far, 1.2 * reach)), colour)
    corners = torch.cartesian_prod(*scene.bounds.double().T) - target
    for first, second in BOX_EDGES:
        ends = corners[[first, second]]
        axes.plot((ends @ across).tolist(), (ends @ forward).tolist(), color="#888888", linestyle=":", linewidth=1.0)
    axes.set_aspect("equal")
    axes.margins(0.08)
    axes.set_xlabel("scene units, across")
    axes.set_ylabel("scene units, away from the first camera")
    axes.set_title(f"{scene.root.name} ({scene.format}): {len(scene.cameras)} cameras from above", fontsize=11)
    train = axes.plot([], [], "o", color=TRAIN_COLOUR, label="training")
    test = axes.plot([], [], "o", color=TEST_COLOUR, label="evaluation")
    axes.legend(handles=[*train, *test], loc="best", fontsize=8)
    figure.tight_layout()
    figure.savefig(path, format="png")


def _plane(cameras: tuple[Camera, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """Unit vectors across and forward of the plane of the drawing, and the point the cameras look at; float64 [3]."""
    up = torch.nn.functional.normalize(torch.stack([camera.pose(0)[:3, 1] for camera in cameras]).mean(0), dim=0)
    target = looked_at_point(torch.stack([camera.pose(0) for camera in cameras]))
    view = -cameras[0].pose(0)[:3, 2]
    forward = view - (view @ up) * up
    if forward.norm() < 1e-3:  # the first camera looks straight down
        forward = cameras[0].pose(0)[:3, 1]
    forward = torch.nn.functional.normalize(forward, dim=0)
    return torch.linalg.cross(forward, up), forward, target


def _draw_camera(
    axes, camera: Camera, across: Tensor, forward: Tensor, target: Tensor, reach: tuple[float, float], colour: str
) -> None:
    """A dot with its name, its horizontal view from near to far, and its path where it moves."""
    pose = camera.pose(0)
    place = pose[:3, 3] - target
    x, y = float(place @ across), float(place @ forward)
    half = 0.5 * camera.intrinsics.width / camera.intrinsics.focal_x
    for side in (-half, half):
        direction = torch.nn.functional.normalize(side * pose[:3, 0] - pose[:3, 2], dim=0)
        step_x, step_y = float(direction @ across), float(direction @ forward)
        for (begin, end), alpha in (((0.0, reach[0]), 0.9), (reach, 0.25)):
            axes.plot([x + begin * step_x, x + end * step_x], [y + begin * step_y, y + end * step_y], color=colour,
                      linewidth=0.8, alpha=alpha)  # fmt: skip
    if camera.is_moving:
        path = camera.camera_to_world[:, :3, 3] - target
        axes.plot((path @ across).tolist(), (path @ forward).tolist(), color=colour, linewidth=0.6, alpha=0.6)
    axes.plot(x, y, "o", color=colour, markersize=5)
    axes.annotate(camera.name, (x, y), textcoords="offset points", xytext=(5, 5), fontsize=7, color=colour)
