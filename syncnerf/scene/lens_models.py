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
"""Coefficients that a model has, by its name; all are OpenCV's with some of them zero."""


def read_lens(values: dict[str, Any], where: str) -> Lens:
    """The lens of a json's entry: ``camera_model`` (or ``is_fisheye``) and ``k1`` to ``k6``, ``p1``, ``p2``.

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
    given = {key: number(values, key, where, 0.0) for key in RATIONAL}
    foreign = [key for key, value in given.items() if value != 0 and key not in own]
    if foreign:
        raise UserError(
            f"{where}: '{foreign[0]}' is no coefficient of the camera model {model}; correct one of the two"
        )
    return Lens(**given, fisheye=own == FISHEYE)
