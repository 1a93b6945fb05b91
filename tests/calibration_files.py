"""One invented rig, written in every calibration format by code of the tests' own, and its rays computed by hand."""

import json
import pickle
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
from format_scenes import FRAMES, write_video
from scipy.spatial.transform import Rotation

WIDTH, HEIGHT, CAMERAS = 48, 32, 3
NAMES = tuple(f"cam_{k}" for k in range(CAMERAS))
K = [
    np.array([[41.0 + k, 0.0, 23.1 + 0.7 * k], [0.0, 40.0 - k, 15.2 - 0.3 * k], [0.0, 0.0, 1.0]])
    for k in range(CAMERAS)
]
"""OpenCV's: the first pixel's centre is at 0."""
DISTORTION = [[-0.1 - 0.01 * k, 0.02, 0.001, -0.002 * k - 0.001, 0.003] for k in range(CAMERAS)]
"""k1 k2 p1 p2 k3."""
TURNS = Rotation.from_rotvec([[0.1, -0.2, 0.3], [1.2, 0.4, -2.1], [-0.7, 2.6, 0.2]])
R = TURNS.as_matrix()
"""World to camera."""
T = np.array([[0.3, -0.2, 4.0], [-0.6, 0.1, 3.5], [0.2, 0.7, 2.9]])
"""World to camera, metres."""

PLACES = np.random.default_rng(3).uniform(-1, 1, (5, 3)).round(6).tolist()
SHADES = np.random.default_rng(4).integers(0, 256, (5, 3)).tolist()
"""Points of structure from motion, and their colours to 255."""


def rays(camera: int) -> tuple[np.ndarray, np.ndarray]:
    """Where the rays of all pixels start [3] and their unit directions [H * W, 3], row by row, without distortion."""
    column, row = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
    pixels = np.stack([column, row, np.ones_like(row)]).reshape(3, -1)
    directions = (R[camera].T @ np.linalg.solve(K[camera], pixels)).T
    return -R[camera].T @ T[camera], directions / np.linalg.norm(directions, axis=1, keepdims=True)


def write_videos(folder: Path, names: tuple[str, ...] = NAMES, size: tuple[int, int] = (WIDTH, HEIGHT)) -> Path:
    """A grey video for each name; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        write_video(folder / f"{name}.mp4", [np.full((size[1], size[0], 3), 90, np.uint8)] * FRAMES)
    return folder


def _list(values: object) -> str:
    return json.dumps(np.asarray(values).tolist())


def _section(header: str, camera: int, unit: float, distortion: list[float], **more: str) -> str:
    lines = {
        "name": json.dumps(NAMES[camera]),
        "size": _list([WIDTH, HEIGHT]),
        "matrix": _list(K[camera]),
        "distortions": _list(distortion),
        "rotation": _list(TURNS[camera].as_rotvec()),
        "translation": _list(T[camera] * unit),
        **more,
    }
    return f"[{header}]\n" + "".join(f"{key} = {value}\n" for key, value in lines.items() if value) + "\n"


def pose2sim(folder: Path) -> Path:
    """Metres, four coefficients."""
    text = "".join(_section(NAMES[k], k, 1.0, DISTORTION[k][:4], fisheye="false") for k in range(CAMERAS))
    return _text(folder / "Calib_scene.toml", text + "[metadata]\nadjusted = false\nerror = 0.0\n")


def pose2sim_fisheye(folder: Path) -> Path:
    """The same with OpenCV's fisheye model."""
    text = "".join(_section(NAMES[k], k, 1.0, [0.1, 0.02, 0.003, -0.004], fisheye="true") for k in range(CAMERAS))
    return _text(folder / "Calib_scene.toml", text)


def anipose(folder: Path) -> Path:
    """An unknown unit (here metres), five coefficients."""
    text = "".join(_section(f"cam_{k}", k, 1.0, DISTORTION[k]) for k in range(CAMERAS))
    return _text(folder / "calibration.toml", text + "[metadata]\nadjusted = true\nerror = 0.4\n")


def freemocap(folder: Path) -> Path:
    """Millimetres, further keys."""
    places = [-R[k].T @ T[k] * 1000 for k in range(CAMERAS)]
    text = "".join(
        _section(f"cam_{k}", k, 1000.0, DISTORTION[k], world_position=_list(places[k]), world_orientation=_list(R[k].T))
        for k in range(CAMERAS)
    )
    board = "[metadata]\ngroundplane = false\n[metadata.board]\nsquare_length_mm = 54.0\n"
    return _text(folder / "recording_camera_calibration.toml", text + board)


def caliscope(folder: Path) -> Path:
    """Metres, Rodrigues vectors, a display that is turned, a camera that is ignored."""
    text = "".join(
        _section(f"cameras.{k}", k, 1.0, DISTORTION[k], name="", cam_id=str(k), rotation_count=str(k))
        for k in range(CAMERAS)
    )
    spare = _section("cameras.7", 0, 1.0, DISTORTION[0], name="", cam_id="7", ignore="true")
    return _text(folder / "camera_array.toml", text + spare)


def caliscope_before(folder: Path) -> Path:
    """The older form: other headers, rotation matrices, a camera that was never placed."""
    text = "".join(
        _section(f"cam_{k}", k, 1.0, DISTORTION[k], name="", port=str(k), rotation=_list(R[k])) for k in range(CAMERAS)
    )
    spare = _section("cam_9", 0, 1.0, DISTORTION[0], name="", port="9", rotation='"null"', translation='"null"')
    return _text(folder / "config.toml", "camera_count = 3\n\n" + text + spare + "[charuco]\ncolumns = 4\n")


def qualisys(folder: Path) -> Path:
    """Millimetres, 64ths of pixels, OpenGL's axes by columns, a window inside the sensor."""
    cameras = []
    for k in range(CAMERAS):
        stored = np.diag([1.0, -1.0, -1.0]) @ R[k]  # the transposed camera-to-world
        place = -R[k].T @ T[k] * 1000
        turn = " ".join(f'r{i + 1}{j + 1}="{stored[i, j]!r}"' for i in range(3) for j in range(3))
        radial = DISTORTION[k]
        cameras.append(
            f'<camera active="1" serial="{NAMES[k]}" viewrotation="0">'
            f'<fov_video left="10" right="{WIDTH + 9}" top="6" bottom="{HEIGHT + 5}"/>'
            f'<transform {turn} x="{place[0]!r}" y="{place[1]!r}" z="{place[2]!r}"/>'
            f'<intrinsic focalLengthU="{K[k][0, 0] * 64!r}" focalLengthV="{K[k][1, 1] * 64!r}" '
            f'centerPointU="{(K[k][0, 2] + 10) * 64!r}" centerPointV="{(K[k][1, 2] + 6) * 64!r}" '
            f'radialDistortion1="{radial[0]!r}" radialDistortion2="{radial[1]!r}" radialDistortion3="{radial[4]!r}" '
            f'tangentalDistortion1="{radial[2]!r}" tangentalDistortion2="{radial[3]!r}"/></camera>'
        )
    text = f"<?xml version='1.0' encoding='ASCII'?>\n<calibration><cameras>{''.join(cameras)}</cameras></calibration>"
    return _text(folder / "session.qca.txt", text.replace("np.float64(", "").replace(')"', '"'))


def _opencv_matrix(name: str, values: np.ndarray) -> str:
    matrix = np.atleast_2d(values)
    # OpenCV writes whole numbers with a bare point.
    data = ", ".join(f"{v:.0f}." if v == round(v) else f"{v:.16e}" for v in matrix.reshape(-1))
    rows, columns = matrix.shape
    return f"{name}: !!opencv-matrix\n   rows: {rows}\n   cols: {columns}\n   dt: d\n   data: [ {data} ]\n"


def easymocap(folder: Path) -> Path:
    """Two OpenCV files, metres, no sizes."""
    names = "names:\n" + "".join(f'   - "{name}"\n' for name in NAMES)
    inner, outer = "%YAML:1.0\n---\n" + names, "%YAML:1.0\n---\n" + names
    for k, name in enumerate(NAMES):
        inner += _opencv_matrix(f"K_{name}", K[k]) + _opencv_matrix(f"dist_{name}", np.array(DISTORTION[k]))
        outer += _opencv_matrix(f"R_{name}", TURNS[k].as_rotvec()[:, None]) + _opencv_matrix(f"Rot_{name}", R[k])
        outer += _opencv_matrix(f"T_{name}", T[k][:, None])
    _text(folder / "intri.yml", inner)
    return _text(folder / "extri.yml", outer).parent


def opencv_yaml(folder: Path) -> Path:
    """A file per camera, an unknown unit (here metres)."""
    for k, name in enumerate(NAMES):
        text = f"%YAML:1.0\n---\nimage_width: {WIDTH}\nimage_height: {HEIGHT}\n" + _opencv_matrix("camera_matrix", K[k])
        text += _opencv_matrix("distortion_coefficients", np.array(DISTORTION[k])[:, None])
        text += _opencv_matrix("rvec", TURNS[k].as_rotvec()[:, None]) + _opencv_matrix("tvec", T[k][:, None])
        _text(folder / f"{name}.yml", text)
    return folder


def opencap(folder: Path) -> Path:
    """Pickles in a folder per camera, millimetres, height before width."""
    for k, name in enumerate(NAMES):
        record = {
            "imageSize": np.array([[float(HEIGHT)], [float(WIDTH)]]),
            "intrinsicMat": K[k],
            "distortion": np.array([DISTORTION[k]]),
            "rotation": R[k],
            "translation": T[k][:, None] * 1000,
            "rotation_EulerAngles": TURNS[k].as_euler("xyz"),
        }
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name / "cameraIntrinsicsExtrinsics.pickle").write_bytes(pickle.dumps(record))
    return folder


def panoptic_studio(folder: Path) -> Path:
    """Centimetres; more cameras than videos."""
    entries = [
        {"name": NAMES[k], "type": "hd", "resolution": [WIDTH, HEIGHT], "K": K[k].tolist(), "distCoef": DISTORTION[k],
         "R": R[k].tolist(), "t": (T[k][:, None] * 100).tolist()} for k in range(CAMERAS)
    ]  # fmt: skip
    entries.append({**entries[0], "name": "kinect_of_nobody", "t": [[1.0], [2.0], [900.0]]})
    return _text(folder / "calibration_session.json", json.dumps({"cameras": entries}))


def colmap_binary(folder: Path) -> Path:
    """The model OPENCV, pixel centres at +0.5, quaternions w x y z, points after each image."""
    cameras, images = struct.pack("<Q", CAMERAS), struct.pack("<Q", CAMERAS)
    for k, name in enumerate(NAMES):
        inner = (K[k][0, 0], K[k][1, 1], K[k][0, 2] + 0.5, K[k][1, 2] + 0.5, *DISTORTION[k][:4])
        cameras += struct.pack("<iiQQ8d", k + 1, 4, WIDTH, HEIGHT, *inner)
        x, y, z, w = TURNS[k].as_quat()
        images += struct.pack("<i7di", k + 1, w, x, y, z, *T[k], k + 1) + f"{name}.png".encode() + b"\0"
        images += struct.pack("<Q", k) + b"".join(struct.pack("<ddq", 1.0, 2.0, -1) for _ in range(k))
    model = folder / "sparse" / "0"
    model.mkdir(parents=True)
    (model / "cameras.bin").write_bytes(cameras)
    (model / "images.bin").write_bytes(images)
    points = struct.pack("<Q", len(PLACES))
    for k, (place, colour) in enumerate(zip(PLACES, SHADES, strict=True)):
        points += struct.pack("<Q3d3BdQ", k + 7, *place, *colour, 0.5, k) + bytes(8 * k)
    (model / "points3D.bin").write_bytes(points)
    return folder


def colmap_text(folder: Path) -> Path:
    """The model FULL_OPENCV."""
    cameras, images = "# cameras\n", "# images\n"
    for k, name in enumerate(NAMES):
        inner = (K[k][0, 0], K[k][1, 1], K[k][0, 2] + 0.5, K[k][1, 2] + 0.5, *DISTORTION[k], 0, 0, 0)
        cameras += f"{k + 1} FULL_OPENCV {WIDTH} {HEIGHT} {' '.join(repr(float(v)) for v in inner)}\n"
        x, y, z, w = TURNS[k].as_quat()
        pose = " ".join(repr(float(v)) for v in (w, x, y, z, *T[k]))
        images += f"{k + 1} {pose} {k + 1} {name}.png\n" + ("1.0 2.0 -1\n" if k else "\n")
    rows = [(k + 7, *place, *colour, 0.5, 1, 2) for k, (place, colour) in enumerate(zip(PLACES, SHADES, strict=True))]
    _text(folder / "points3D.txt", "# points\n" + "".join(" ".join(map(str, row)) + "\n" for row in rows))
    _text(folder / "cameras.txt", cameras)
    return _text(folder / "images.txt", images).parent


def nerfstudio(folder: Path) -> Path:
    """Camera-to-world in OpenGL's axes, pixel centres at +0.5."""
    entries = []
    for k, name in enumerate(NAMES):
        pose = np.eye(4)
        pose[:3, :3] = R[k].T @ np.diag([1.0, -1.0, -1.0])
        pose[:3, 3] = -R[k].T @ T[k]
        inner = {"fl_x": K[k][0, 0], "fl_y": K[k][1, 1], "cx": K[k][0, 2] + 0.5, "cy": K[k][1, 2] + 0.5}
        lens = dict(zip(("k1", "k2", "p1", "p2", "k3"), DISTORTION[k], strict=True))
        entries.append(
            {
                "file_path": f"images/{name}.png",
                "w": WIDTH,
                "h": HEIGHT,
                **inner,
                **lens,
                "transform_matrix": pose.tolist(),
            }
        )
    rows = [(*place, *colour) for place, colour in zip(PLACES, SHADES, strict=True)]
    header = f"ply\nformat ascii 1.0\nelement vertex {len(rows)}\n"
    header += "".join(f"property float {axis}\n" for axis in "xyz")
    header += "".join(f"property uint8 {colour}\n" for colour in ("red", "green", "blue")) + "end_header\n"
    _text(folder / "sparse_pc.ply", header + "".join(" ".join(map(str, row)) + "\n" for row in rows))
    record = {"camera_model": "OPENCV", "ply_file_path": "sparse_pc.ply", "frames": entries}
    return _text(folder / "transforms.json", json.dumps(record))


def _text(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


FORMATS: dict[str, tuple[Callable[[Path], Path], str, int, bool]] = {
    "pose2sim": (pose2sim, "Pose2Sim", 4, True),
    "anipose": (anipose, "anipose", 5, False),
    "freemocap": (freemocap, "FreeMoCap", 5, True),
    "caliscope": (caliscope, "caliscope", 5, True),
    "caliscope-before": (caliscope_before, "caliscope", 5, True),
    "qualisys": (qualisys, "Qualisys", 5, True),
    "easymocap": (easymocap, "EasyMocap", 5, True),
    "opencv-yaml": (opencv_yaml, "OpenCV yaml", 5, False),
    "opencap": (opencap, "OpenCap", 5, True),
    "panoptic-studio": (panoptic_studio, "Panoptic Studio", 5, True),
    "colmap-binary": (colmap_binary, "COLMAP", 4, False),
    "colmap-text": (colmap_text, "COLMAP", 5, False),
    "nerfstudio": (nerfstudio, "nerfstudio", 5, False),
}
"""Writer (returns what a person would name), the format's name, coefficients it holds, whether its unit is known."""
