"""What a backend is told about a scene: its space, its time, and what is known to be where."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Bool, Float, Float32, Float64
from torch import Tensor


@dataclass(frozen=True)
class NormalizedDeviceCoordinates:
    """The forward-facing camera that defines normalised device coordinates (NeRF, appendix C); pixels."""

    width: int
    height: int
    focal: float


@dataclass(frozen=True)
class StartingPaths:
    """Tracks of points that were followed through space.

    Attributes:
        times: coordinates of the field's time, ascending, float64, shape [T].
        places: of each point at each time, in the world, float32, shape [T, N, 3].
        seen: whether a point's place is known at a time, bool, shape [T, N].
    """

    times: Float64[Tensor, " T"]
    places: Float32[Tensor, "T N 3"]
    seen: Bool[Tensor, "T N"]


@dataclass(frozen=True)
class StartingPoints:
    """Points where something was seen, for a field to start from.

    Attributes:
        places: in the world, float64, shape [P, 3].
        colours: in [0, 1], float32, shape [P, 3].
        times: the field's time at which each point was seen there, float64, shape [P]; NaN for what stands still.
        velocities: of what flies too fast to be followed, in scene units per unit of the field's time, float32, shape
            [P, 3]; NaN for all other points.
        paths: tracks of some points through space; None if there are none.
    """

    places: Float64[Tensor, "P 3"]
    colours: Float32[Tensor, "P 3"]
    times: Float64[Tensor, " P"]
    velocities: Float32[Tensor, "P 3"]
    paths: StartingPaths | None = None


@dataclass(frozen=True)
class SceneGeometry:
    """What a backend may know of a scene: space and time, but nothing about cameras.

    Attributes:
        bounds: corners of the box, float32 or, where the origin is far away, float64, shape [2, 3] (in normalised
            device coordinates when ``ndc`` is given).
        near: distance at which the scene may begin.
        far: distance at which it ends.
        frame_count: frames that the field's time [-1, 1] spans; corrected times may leave it by a little.
        steps: length of the training, for schedules.
        novelty: share of what moves in the pictures that is new from one frame to the next, in [0, 1]
            (:func:`syncnerf.sampling.novelty.scene_novelty`); None if unknown.
        contraction: whether space beyond ``bounds`` is contracted into it.
        ndc: given where rays should be warped to normalised device coordinates.
        background: colour behind the scene, or None for a backend to learn.
        occupied: cells of ``bounds`` that may hold something at some time (the visual hull), bool, shape [X, Y, Z];
            None if unknown.
        occupied_at: the same for each of T equal intervals of the field's time, bool, shape [T, X, Y, Z]; None unless
            the backend's spec asks for it and the cameras' clocks are known.
        moving_at: those cells of ``occupied_at`` where something may move, or a moving shadow fall; all others show the
            still scene. None unless the spec asks for it and ``occupied_at`` is given.
        overlooked: cells of ``bounds`` between the cameras that too few of them see to tell what is there, bool, shape
            [I, J, K]; None if there are none.
        points: where the field should start from, if the spec asks for it and anything is known. None when a checkpoint
            is about to be loaded, which has its own.
    """

    bounds: Float[Tensor, "2 3"]
    near: float
    far: float
    frame_count: int
    steps: int
    novelty: float | None = None
    contraction: bool = False
    ndc: NormalizedDeviceCoordinates | None = None
    background: tuple[float, float, float] | None = None
    occupied: Bool[Tensor, "X Y Z"] | None = None
    occupied_at: Bool[Tensor, "T X Y Z"] | None = None
    moving_at: Bool[Tensor, "T X Y Z"] | None = None
    overlooked: Bool[Tensor, "I J K"] | None = None
    points: StartingPoints | None = None
