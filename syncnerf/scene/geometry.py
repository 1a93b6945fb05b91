"""What a backend is given of a scene: its space, its time, and what was seen in it beforehand."""

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
    """Points that were followed through space.

    Attributes:
        times: of the field, ascending, float64, shape [T].
        places: in the world, float32, shape [T, N, 3].
        seen: where they are known, bool, shape [T, N].
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
        times: the field's coordinate at which each was seen there, float64, shape [P]; NaN for what stands still.
        velocities: scene units per unit of the field's time of what flies too fast to be followed, float32, shape
            [P, 3]; NaN for the rest.
        paths: some points' ways through space, or None where none is known.
    """

    places: Float64[Tensor, "P 3"]
    colours: Float32[Tensor, "P 3"]
    times: Float64[Tensor, " P"]
    velocities: Float32[Tensor, "P 3"]
    paths: StartingPaths | None = None


@dataclass(frozen=True)
class SceneGeometry:
    """What a backend may know of a scene: space and time, never a camera.

    Attributes:
        bounds: corners of the box, float32 or, where the origin is far away, float64, shape [2, 3] (in normalised
            device coordinates when ``ndc`` is given).
        near: distance at which the scene may begin.
        far: distance at which it ends.
        frame_count: frames that the field's time [-1, 1] spans; corrected times may leave it by a little.
        steps: length of the training, for schedules.
        contraction: whether space beyond ``bounds`` is contracted into it.
        ndc: given where rays should be warped to normalised device coordinates.
        background: colour behind the scene, or None for a backend to learn.
        occupied: cells of ``bounds`` that may hold something at some time, bool, shape [X, Y, Z], or None if unknown.
        occupied_at: the same in each of equal intervals of the field's time, bool, shape [T, X, Y, Z], where the spec
            asks for it and the cameras' clocks are known.
        moving_at: those of ``occupied_at`` that what moves, or its shadow, can be in; in the others the still scene is
            shown. None where the spec does not ask for it or ``occupied_at`` is None.
        overlooked: cells of ``bounds`` between the cameras that too few of them see to tell what is there, bool, shape
            [I, J, K], or None where there are none.
        points: what to start from, where the spec asks for it and anything is known; None on the way to a checkpoint,
            which brings what has become of them.
    """

    bounds: Float[Tensor, "2 3"]
    near: float
    far: float
    frame_count: int
    steps: int
    contraction: bool = False
    ndc: NormalizedDeviceCoordinates | None = None
    background: tuple[float, float, float] | None = None
    occupied: Bool[Tensor, "X Y Z"] | None = None
    occupied_at: Bool[Tensor, "T X Y Z"] | None = None
    moving_at: Bool[Tensor, "T X Y Z"] | None = None
    overlooked: Bool[Tensor, "I J K"] | None = None
    points: StartingPoints | None = None
