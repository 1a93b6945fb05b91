"""Views as tensors: several pictures of one size, each from its own place; whole pictures or equally large parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float32, Float64, Int64, Shaped
from torch import Tensor

from syncnerf.scene.camera import Camera, intrinsics_table, pixel_rays
from syncnerf.scene.lens import Lens
from syncnerf.scene.rays import Rays


@dataclass(frozen=True)
class Views:
    """B pictures of one size that could be taken: from where, through what, which part of each.

    Attributes:
        poses: camera-to-world, OpenGL axes (+X right, +Y up, -Z view), float64, shape [B, 4, 4].
        intrinsics: of the whole pictures, as :func:`syncnerf.scene.camera.intrinsics_table` has them: width, height,
            focal_x, focal_y, centre_x, centre_y in pixels, float64, shape [B, 6].
        corners: column and row of the upper left pixel of the part that is wanted, int64, shape [B, 2].
        width: of that part, in pixels.
        height: of that part, in pixels.
        near: distance from a camera at which the scene may begin.
        far: distance at which it ends.
        lens: distortion of all pictures; frames on disk have none left.
    """

    poses: Float64[Tensor, "B 4 4"]
    intrinsics: Float64[Tensor, "B 6"]
    corners: Int64[Tensor, "B 2"]
    width: int
    height: int
    near: float
    far: float
    lens: Lens = field(default_factory=Lens)

    def __len__(self) -> int:
        return len(self.poses)

    def __getitem__(self, index: slice | Shaped[Tensor, " K"]) -> Views:
        """Some of the views."""
        return self.apply(lambda tensor: tensor[index])

    def apply(self, change: Callable[[Shaped[Tensor, " ..."]], Shaped[Tensor, " ..."]]) -> Views:
        """The views with ``change`` applied to each of their tensors: another device, or some of the views."""
        tensors = {name: change(getattr(self, name)) for name in ("poses", "intrinsics", "corners")}
        return replace(self, **tensors)

    def to(self, device: torch.device | str) -> Views:
        """The same views on another device."""
        return self.apply(lambda tensor: tensor.to(device))

    @classmethod
    def of(cls, camera: Camera, frames: Sequence[int], near: float, far: float) -> Views:
        """A camera's whole pictures at some of its frames."""
        poses = torch.stack([camera.pose(frame) for frame in frames])
        corners, size = torch.zeros(len(frames), 2, dtype=torch.int64), camera.intrinsics
        table = intrinsics_table([camera]).expand(len(frames), 6)
        return cls(poses, table, corners, size.width, size.height, near, far)

    def cropped(self, corners: Int64[Tensor, "B 2"], width: int, height: int) -> Views:
        """Parts of these views; ``corners`` (column, row; int64, shape [B, 2]) are relative to the present part."""
        return replace(self, corners=self.corners + corners, width=width, height=height)

    def scaled(self, scale: float) -> Views:
        """The same views in smaller (or larger) pictures; sizes are rounded to whole pixels.

        Rows keep their place in time. Parts of pictures cannot be scaled: scale first, then crop.
        """
        if self.corners.any() or not (self.intrinsics[:, :2] == self.intrinsics.new_tensor(self.size)).all():
            raise ValueError("only whole pictures can be scaled; scale before you crop")
        width, height = max(1, round(scale * self.width)), max(1, round(scale * self.height))
        factors = self.intrinsics.new_tensor([width / self.width, height / self.height])
        return replace(self, intrinsics=self.intrinsics * factors.repeat(3), width=width, height=height)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of what is asked for, in pixels."""
        return self.width, self.height

    def rows(self) -> Float64[Tensor, "B height"]:
        """Where each row lies in its whole picture, from -1/2 at the top to 1/2 at the bottom, float64, [B, height]."""
        row = torch.arange(self.height, device=self.corners.device) + self.corners[:, 1:]
        return (row + 0.5) / self.intrinsics[:, 1:2] - 0.5

    def calibration(self) -> Float64[Tensor, "B 3 3"]:
        """The matrix K of what is asked for (OpenCV axes, lens left out), float64, shape [B, 3, 3]."""
        focal, centre = self.intrinsics[:, 2:4], self.intrinsics[:, 4:6] - self.corners
        matrix = torch.diag_embed(torch.cat([focal, torch.ones_like(focal[:, :1])], dim=1))
        matrix[:, :2, 2] = centre
        return matrix

    def world_to_camera(self) -> Float64[Tensor, "B 4 4"]:
        """World to camera in OpenCV axes (+X right, +Y down, +Z view), float64, shape [B, 4, 4]."""
        flip = torch.diag(self.poses.new_tensor([1.0, -1.0, -1.0, 1.0]))
        return flip @ torch.linalg.inv(self.poses)

    def on_plane(self) -> tuple[Float64[Tensor, "B W"], Float64[Tensor, "B H"]]:
        """Where pixel centres lie on the plane one unit before each camera, without a lens.

        Columns, to the right, float64, shape [B, W], and rows, downwards, [B, H].
        """
        focal, centre = self.intrinsics[:, 2:4], self.intrinsics[:, 4:6] - self.corners - 0.5
        columns, rows = (torch.arange(count, device=centre.device) for count in self.size)
        return (columns - centre[:, :1]) / focal[:, :1], (rows - centre[:, 1:]) / focal[:, 1:]

    def ways(self, across: Float64[Tensor, "B W"], down: Float64[Tensor, "B H"]) -> Float64[Tensor, "B H W 3"]:
        """Vectors from each camera to places on the plane one unit before it, in world axes, float64, [B, H, W, 3]."""
        right, up, back = self.poses[:, None, :3, :3].unbind(-1)
        return (across[..., None] * right)[:, None] - (down[..., None] * up + back)[:, :, None]

    def directions(self) -> Float32[Tensor, "B H W 3"]:
        """Unit directions of the rays through all pixel centres, of views without a lens: those of :meth:`rays`."""
        return torch.nn.functional.normalize(self.ways(*self.on_plane()), dim=-1).float()

    def rays(self, pixels: Int64[Tensor, "B K"] | None = None) -> Rays:
        """Rays through pixel centres, view by view, N in all.

        Args:
            pixels: which pixels of each view, row * width + column in what is asked for, int64, shape [B, K]; None for
                all, row by row.
        """
        if pixels is None:
            pixels = torch.arange(self.width * self.height, device=self.corners.device).expand(len(self), -1)
        column = pixels.remainder(self.width) + self.corners[:, :1]
        row = pixels.div(self.width, rounding_mode="floor") + self.corners[:, 1:]
        place = row * self.intrinsics[:, :1].long() + column
        view = torch.arange(len(self), device=place.device).repeat_interleave(pixels.shape[1])
        straighten = None if self.lens.is_ideal else self.lens.undistorted
        return pixel_rays(self.intrinsics, self.poses[view], view, place.reshape(-1), self.near, self.far, straighten)
