"""Which lens an entry of a json describes, in nerfstudio's and COLMAP's names."""

from typing import Any

from syncnerf.errors import UserError
from syncnerf.records import number
from syncnerf.scene.lens import Lens

RATIONAL = ("k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6")
FISHEYE = ("k1", "k2", "k3", "k4")
MODELS = {
    "OPENCV": RATIONAL,
    "FULL_OPENCV": RATIONAL,
    "RADIAL": RATIONAL,
    "SIMPLE_RADIAL": RATIONAL,
    "OPENCV_FISHEYE": FISHEYE,
    "RADIAL_FISHEYE": FISHEYE,
    "SIMPLE_RADIAL_FISHEYE": FISHEYE,
    "PINHOLE": (),
    "SIMPLE_PINHOLE": (),
    "PERSPECTIVE": (),
}
"""The coefficients of each model, by its name; every model is one of OpenCV's two with some coefficients zero."""

LISTED = ("k1", "k2", "k3", "k4", "p1", "p2")
"""The order of nerfstudio's ``distortion_params``."""
UNKNOWN = ("k7", "k8", "p3", "p4", "b1", "b2", "s1", "s2", "s3", "s4", "sx1", "sy1", "tau_x", "tau_y", "omega")
"""Coefficients of other models (thin prisms, tilted sensors, affinity, FOV), which cannot be undone."""
OPTICS = ("fl_x", "fl_y", "cx", "cy", "w", "h", "camera_angle_x", *RATIONAL, "distortion_params", "camera_model")
"""Keys of an entry that describe its picture's size, intrinsics and lens."""
ZOOM = 1e-3
"""Relative difference up to which two images' intrinsics count as equal: otherwise the camera zooms."""


def require_one_lens(entries: list[dict[str, Any]], where: str) -> None:
    """Refuse images of one camera whose entries differ in size, intrinsics or lens; raises UserError."""
    first = {key: entries[0].get(key) for key in OPTICS}
    for entry in entries[1:]:
        for key, value in first.items():
            other = entry.get(key)
            if other != value and not (_is_number(value) and _is_number(other) and _nearly(value, other)):
                raise UserError(f"{where}: '{key}' changes over its images; a camera that zooms cannot be read")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _nearly(value: float, other: float) -> bool:
    return abs(value - other) <= ZOOM * max(abs(value), abs(other))


def read_lens(values: dict[str, Any], where: str) -> Lens:
    """The lens of a json's entry: ``camera_model`` (or ``is_fisheye``) and ``k1`` to ``k6``, ``p1``, ``p2``.

    nerfstudio's ``distortion_params`` stand for the latter.

    Raises:
        UserError: the model is not known, or a coefficient is given that it does not have.
    """
    stated = values.get("camera_model")
    fisheye = values.get("is_fisheye", False)
    if not isinstance(fisheye, bool):
        raise UserError(f"{where}: 'is_fisheye' should be true or false, not {str(fisheye)[:40]!r}")
    model = stated if stated is not None else ("OPENCV_FISHEYE" if fisheye else "OPENCV")
    if model not in MODELS:
        raise UserError(
            f"{where}: 'camera_model' = {str(model)[:40]!r} cannot be undone (known: {', '.join(MODELS)}); "
            "undistort the pictures first"
        )
    own = MODELS[model]
    if fisheye and own != FISHEYE:
        raise UserError(f"{where}: 'is_fisheye' contradicts 'camera_model' = {model!r}; correct one of the two")
    strange = [key for key in UNKNOWN if _is_number(values.get(key)) and values[key] != 0]
    if strange:
        raise UserError(f"{where}: the lens's '{strange[0]}' cannot be undone; undistort the pictures first")
    listed = _listed(values, where, own == FISHEYE)
    given = {key: number(values, key, where, listed.get(key, 0.0)) for key in RATIONAL}
    contrary = [key for key, value in listed.items() if given[key] != value]
    if contrary:
        raise UserError(f"{where}: 'distortion_params' contradicts '{contrary[0]}'; correct one of the two")
    foreign = [key for key, value in given.items() if value != 0 and key not in own]
    if foreign:
        raise UserError(
            f"{where}: '{foreign[0]}' is no coefficient of the camera model {model}; correct one of the two"
        )
    return Lens(**given, fisheye=own == FISHEYE)


def _listed(values: dict[str, Any], where: str, fisheye: bool) -> dict[str, float]:
    """The coefficients in ``distortion_params``, by name; raises UserError."""
    listed = values.get("distortion_params")
    if listed is None:
        return {}
    if not isinstance(listed, list) or len(listed) != len(LISTED):
        raise UserError(f"{where}: 'distortion_params' should hold {', '.join(LISTED)}")
    found = dict(zip(LISTED, listed, strict=True))
    found = {key: number(found, key, f"{where}: 'distortion_params'") for key in LISTED}
    if found["k4"] != 0 and not fisheye:  # here k4 belongs to the radius's eighth power, in OpenCV to the denominator
        raise UserError(f"{where}: the k4 of 'distortion_params' cannot be undone; undistort the pictures first")
    return found
