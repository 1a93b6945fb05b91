"""The parts of a camera's calibration, as files hold them: checked, and turned into arrays."""

from typing import Any

import numpy as np
from jaxtyping import Float64

from syncnerf.errors import UserError
from syncnerf.records import matrix_of

PINHOLE, FISHEYE = "OPENCV", "OPENCV_FISHEYE"
"""Models of lenses, by COLMAP's and nerfstudio's names."""
LENS_KEYS = {
    PINHOLE: ("k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6"),
    FISHEYE: ("k1", "k2", "k3", "k4"),
}
"""Names of the distortion coefficients in OpenCV's order, by model."""
FAR_FROM_RIGID = 1e-3
"""Largest deviation of a rotation matrix from orthogonality that counts as rounding; files hold six digits or more."""


def calibration_matrix(values: Any, where: str) -> Float64[np.ndarray, "3 3"]:
    """Check a matrix K, float64, shape [3, 3]; raises UserError."""
    matrix = matrix_of(plain(values), where).numpy().copy()
    if matrix.shape != (3, 3):
        raise UserError(f"{where} has shape {matrix.shape}; give 3 rows of 3")
    if not (matrix[0, 0] > 0 and matrix[1, 1] > 0) or abs(matrix[2] - np.array([0, 0, 1])).max() > 1e-6:
        raise UserError(f"{where} is no calibration matrix (positive focal lengths, last row 0 0 1); is it transposed?")
    return matrix


def rotation_matrix(values: Any, where: str) -> Float64[np.ndarray, "3 3"]:
    """A rotation, float64, shape [3, 3], from its matrix or its Rodrigues vector; raises UserError."""
    matrix = matrix_of(plain(values), where).numpy()
    if matrix.size == 3:
        return rodrigues(matrix.reshape(3))
    if matrix.shape != (3, 3):
        raise UserError(f"{where} has shape {matrix.shape}; give 3 rows of 3 or a vector of 3")
    left, stretch, right = np.linalg.svd(matrix)
    if np.abs(stretch - 1).max() > FAR_FROM_RIGID or np.linalg.det(matrix) < 0:
        raise UserError(f"{where} is no rotation (determinant {np.linalg.det(matrix):.3f}); calibrate again")
    return left @ right


def rodrigues(turn: Float64[np.ndarray, " 3"]) -> Float64[np.ndarray, "3 3"]:
    """Rotation by |turn| radians about the direction of ``turn`` (Rodrigues' formula), float64, shape [3, 3]."""
    angle = float(np.linalg.norm(turn))
    x, y, z = turn
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    # sin(a)/a and (1 - cos(a))/a^2, computed with np.sinc, which does not divide by zero.
    half = np.sinc(0.5 * angle / np.pi)
    return np.eye(3) + np.sinc(angle / np.pi) * cross + 0.5 * half**2 * cross @ cross


def vector(values: Any, where: str, length: int) -> Float64[np.ndarray, " length"]:
    """Numbers in a row or a column, float64, shape [length]; raises UserError."""
    numbers = matrix_of(plain(values), where).numpy().reshape(-1)
    if len(numbers) != length:
        raise UserError(f"{where} holds {len(numbers)} numbers; give {length}")
    return numbers


def image_size(values: Any, where: str) -> tuple[int, int]:
    """Width and height in whole pixels; raises UserError."""
    width, height = vector(values, where, 2)
    if min(width, height) < 1 or width % 1 or height % 1:
        raise UserError(f"{where} is {width:g}x{height:g}; give width and height in pixels")
    return int(width), int(height)


def coefficients(values: Any, where: str, model: str) -> tuple[float, ...]:
    """Distortion coefficients without trailing zeros; raises UserError if OpenCV has no such coefficients."""
    numbers = matrix_of(plain(values if values is not None else ()), where).numpy().reshape(-1)
    known = len(LENS_KEYS[model])
    used = np.trim_zeros(numbers, "b")
    if len(used) > known:
        raise UserError(f"{where} has {len(used)} coefficients; {known} are supported ({', '.join(LENS_KEYS[model])})")
    return tuple(used.tolist())


def plain(values: Any) -> Any:
    """Arrays as nested lists, everything else as it is."""
    return values.tolist() if isinstance(values, np.ndarray) else values
