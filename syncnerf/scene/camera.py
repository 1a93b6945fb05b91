"""Pinhole cameras: intrinsics, pose, clock."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from syncnerf.scene.rays import Rays


@dataclass(frozen=True)
class Intrinsics:
    """A pinhole camera's image, in pixels; pixel centres lie at +0.5.

    Images are undistorted when they are read, so no distortion is left here.
    """

    width: int
    height: int
    focal_x: float
    focal_y: float
    centre_x: float
    centre_y: float

    def resized(self, width: int, height: int) -> "Intrinsics":
        """Intrinsics of the same image resampled to another size."""
        scale_x, scale_y = width / self.width, height / self.height
        return Intrinsics(
            width,
            height,
            self.focal_x * scale_x,
            self.focal_y * scale_y,
            self.centre_x * scale_x,
            self.centre_y * scale_y,
        )

    def zoomed(self, factor: float) -> "Intrinsics":
        """Intrinsics of pictures of the same size with focal lengths ``factor`` times as long."""
        return replace(self, focal_x=factor * self.focal_x, focal_y=factor * self.focal_y)

    def directions(self, points: Float[Tensor, "*shape 2"]) -> Float[Tensor, "*shape 3"]:
        """Viewing directions, in the camera's axes, of image points [..., 2] (column, row); see :func:`directions`."""
        focal = points.new_tensor([self.focal_x, self.focal_y])
        return directions(points, focal, points.new_tensor([self.centre_x, self.centre_y]))

    @property
    def matrix(self) -> Float64[Tensor, "3 3"]:
        """The calibration matrix K (OpenCV axes: +X right, +Y down, +Z view), float64, shape [3, 3]."""
        return torch.tensor(
            [[self.focal_x, 0.0, self.centre_x], [0.0, self.focal_y, self.centre_y], [0.0, 0.0, 1.0]],
            dtype=torch.float64,
        )


@dataclass(frozen=True)
class Camera:
    """One camera of a scene: its name, image, pose and clock.

    Attributes:
        name: the camera's identity everywhere (offsets, tables, files).
        intrinsics: the image it takes.
        camera_to_world: float64, OpenGL axes (+X right, +Y up, -Z view); shape [4, 4] for a static camera,
            [T, 4, 4] (a pose per frame) for a moving one.
        fps: frames per second of its own clock; the median rate if ``given_times`` are not evenly spaced.
        frame_count: number of frames T.
        given_times: when each frame's exposure began, in seconds on its own clock, float64, shape [T], increasing;
            None if frame k's began at k / fps.
        row_time: seconds from reading the first row of a frame to reading its last (rolling shutter); negative for a
            camera mounted upside down.
        exposure: seconds for which a frame is exposed.
    """

    name: str
    intrinsics: Intrinsics
    camera_to_world: Float64[Tensor, "*T 4 4"]
    fps: float
    frame_count: int
    given_times: Float64[Tensor, " T"] | None = None
    row_time: float = 0.0
    exposure: float = 0.0

    @property
    def is_moving(self) -> bool:
        """Whether the camera has a pose per frame."""
        return self.camera_to_world.ndim == 3

    @property
    def duration(self) -> float:
        """The last frame's time in seconds on the camera's own clock, which starts at 0."""
        return float(self.frame_times[-1])

    @property
    def frame_times(self) -> Float64[Tensor, " T"]:
        """Each frame's time on the camera's own clock, float64, shape [T].

        A frame's time is the middle of the exposure of its middle row: ``given_times`` (or k / fps) plus half of the
        exposure.
        """
        begun = self.given_times
        if begun is None:
            begun = torch.arange(self.frame_count, dtype=torch.float64) / self.fps
        return begun + 0.5 * self.exposure

    def pose(self, frame: int) -> Float64[Tensor, "4 4"]:
        """Camera-to-world matrix at a frame, float64, shape [4, 4]."""
        return self.camera_to_world[frame] if self.is_moving else self.camera_to_world

    def resized(self, width: int, height: int) -> "Camera":
        """The same camera with its images resampled to another size."""
        return replace(self, intrinsics=self.intrinsics.resized(width, height))

    def projection(self, frame: int = 0) -> Float64[Tensor, "3 4"]:
        """World to pixels, K [R | t] in OpenCV axes, float64, shape [3, 4]."""
        world_to_camera = torch.linalg.inv(self.pose(frame))
        flip = torch.diag(torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64))
        return self.intrinsics.matrix @ flip @ world_to_camera[:3]

    def pixels_of(
        self, points: Float64[Tensor, "N 3"], frame: int = 0
    ) -> tuple[Int64[Tensor, " N"], Float64[Tensor, " N"], Bool[Tensor, " N"]]:
        """Where points of the world, float64 [N, 3], lie in the picture of a frame.

        Returns:
            The pixel, row * width + column, int64 (0 outside the picture); the depth along the viewing direction,
            float64; and whether the point lies before the camera and within the picture, bool; shape [N] each.
        """
        return pixels_at(points, self.projection(frame), self.intrinsics.width, self.intrinsics.height)

    def all_rays(self, near: float, far: float, frame: int = 0) -> Rays:
        """Rays through every pixel centre, row by row, shape [height * width]."""
        pixels = torch.arange(self.intrinsics.width * self.intrinsics.height)
        return pixel_rays(
            intrinsics_table([self]),
            self.pose(frame)[None].expand(len(pixels), 4, 4),
            torch.zeros_like(pixels),
            pixels,
            near,
            far,
        )


def pixels_at(
    points: Float[Tensor, "*P 3"], projection: Float[Tensor, "3 4"], width: int, height: int
) -> tuple[Int64[Tensor, "*P"], Float[Tensor, "*P"], Bool[Tensor, "*P"]]:
    """Like :meth:`Camera.pixels_of`, for points of any shape, computed in their own precision.

    Args:
        points: of the world, shape [..., 3].
        projection: world to pixels, of the points' type, shape [3, 4].
        width: of the picture.
        height: of the picture.
    """
    column, row, depth = (points @ projection[:, :3].T + projection[:, 3]).unbind(-1)
    column, row = (column / depth).floor(), (row / depth).floor()
    inside = (depth > 0) & (column >= 0) & (row >= 0) & (column < width) & (row < height)
    return torch.where(inside, row * width + column, 0.0).long(), depth, inside


def intrinsics_table(cameras: list[Camera] | tuple[Camera, ...]) -> Float64[Tensor, "C 6"]:
    """Width, height, focal_x, focal_y, centre_x, centre_y of each camera, float64, shape [C, 6]."""
    sizes = [camera.intrinsics for camera in cameras]
    rows = [(s.width, s.height, s.focal_x, s.focal_y, s.centre_x, s.centre_y) for s in sizes]
    return torch.tensor(rows, dtype=torch.float64)


def pixel_rows(
    intrinsics: Float64[Tensor, "C 6"], camera_indices: Int64[Tensor, " N"], pixels: Int64[Tensor, " N"]
) -> Float[Tensor, " N"]:
    """Rows in which pixels lie, from -1/2 at the image's top to 1/2 at its bottom, float32, shape [N].

    The arguments are those of :func:`pixel_rays`.
    """
    width, height = intrinsics[camera_indices, :2].unbind(-1)
    row = pixels.div(width.long(), rounding_mode="floor")
    return ((row + 0.5) / height - 0.5).float()


def pixel_rays(
    intrinsics: Float64[Tensor, "C 6"],
    poses: Float64[Tensor, "N 4 4"],
    camera_indices: Int64[Tensor, " N"],
    pixels: Int64[Tensor, " N"],
    near: float,
    far: float,
    straighten: Callable[[Float64[Tensor, "N 2"]], Float64[Tensor, "N 2"]] | None = None,
) -> Rays:
    """Rays through the centres of pixels of several cameras.

    Args:
        intrinsics: the table of :func:`intrinsics_table`, shape [C, 6].
        poses: camera-to-world of each ray's camera (at its frame), float64, shape [N, 4, 4].
        camera_indices: row of ``intrinsics`` for each ray, int64, shape [N].
        pixels: index of the pixel, row * width + column, int64, shape [N].
        near: distance along the ray at which the scene may begin.
        far: distance along the ray at which it ends.
        straighten: undoes a lens's distortion of points of the image plane at distance 1, [N, 2]; None for none.

    Returns:
        N rays with unit directions.
    """
    table = intrinsics[camera_indices]
    width = table[:, 0].long()
    points = torch.stack([pixels.remainder(width), pixels.div(width, rounding_mode="floor")], dim=-1) + 0.5
    focal, centre = table[:, 2:4], table[:, 4:6]
    if straighten is not None:
        points = focal * straighten((points - centre) / focal) + centre
    local = directions(points, focal, centre)
    world = torch.nn.functional.normalize((poses[:, :3, :3] @ local[..., None])[..., 0], dim=-1).float()
    ones = torch.ones(len(pixels), dtype=torch.float32, device=pixels.device)
    return Rays(poses[:, :3, 3], world, near * ones, far * ones)


def directions(
    points: Float[Tensor, "*shape 2"], focal: Float[Tensor, "*#shape 2"], centre: Float[Tensor, "*#shape 2"]
) -> Float[Tensor, "*shape 3"]:
    """Directions (OpenGL axes, not of unit length) through points of images, shape [..., 3].

    Args:
        points: column and row, pixel centres at +0.5, shape [..., 2].
        focal: focal lengths along both, pixels, shape [..., 2].
        centre: principal point, pixels, shape [..., 2].
    """
    across, down = ((points - centre) / focal).unbind(-1)
    return torch.stack([across, -down, -torch.ones_like(across)], dim=-1)
