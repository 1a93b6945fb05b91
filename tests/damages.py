"""Named ways of spoiling a valid scene folder, each with the format it starts from and what should become of it."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from format_scenes import FRAMES, HEIGHT, WIDTH, picture, rig, write_video
from PIL import Image

TRANSFORMS, TECHNICOLOR = "transforms.json", "cameras_parameters.txt"


@dataclass(frozen=True)
class Damage:
    """What is done to a scene of ``format``, and the file that the error names; None where reading should succeed.

    ``either``: reading may succeed as well, because decoders conceal damage inside a picture.
    """

    format: str
    spoil: Callable[[Path], object]
    names: str | None
    either: bool = False


def edit(file: str, change: Callable[[dict], object]) -> Callable[[Path], None]:
    """Apply ``change(record)`` to a json file."""

    def spoil(root: Path) -> None:
        record = json.loads((root / file).read_text())
        change(record)
        (root / file).write_text(json.dumps(record))

    return spoil


def entry(change: Callable[[dict], object]) -> Callable[[Path], None]:
    """Apply ``change(entry)`` to the third camera of ``transforms.json``."""
    return edit(TRANSFORMS, lambda record: change(record["frames"][2]))


def put(file: str, content: bytes | str) -> Callable[[Path], object]:
    """Replace a file's content."""
    data = content.encode() if isinstance(content, str) else content
    return lambda root: (root / file).write_bytes(data)


def cut(file: str, share: float) -> Callable[[Path], object]:
    """Keep the first part of a file."""

    def spoil(root: Path) -> None:
        data = (root / file).read_bytes()
        (root / file).write_bytes(data[: int(len(data) * share)])

    return spoil


def scramble(file: str, start: float, end: float) -> Callable[[Path], object]:
    """Overwrite a stretch of a file with noise."""

    def spoil(root: Path) -> None:
        data = bytearray((root / file).read_bytes())
        first, last = int(start * len(data)), int(end * len(data))
        data[first:last] = np.random.default_rng(0).bytes(last - first)
        (root / file).write_bytes(data)

    return spoil


def remove(file: str) -> Callable[[Path], object]:
    """Remove a file."""
    return lambda root: (root / file).unlink()


def table(change: Callable[[np.ndarray], np.ndarray | None]) -> Callable[[Path], None]:
    """Apply ``change`` to ``poses_bounds.npy``, in place or by what it returns."""

    def spoil(root: Path) -> None:
        rows = np.load(root / "poses_bounds.npy")
        changed = change(rows)
        np.save(root / "poses_bounds.npy", rows if changed is None else changed)

    return spoil


def pose_value(row: int, column: int, value: object) -> Callable[[Path], None]:
    """Set one number of the third camera's matrix."""
    return entry(lambda item: item["transform_matrix"][row].__setitem__(column, value))


def video(file: str, width: int, height: int, frames: int = FRAMES) -> Callable[[Path], None]:
    """Replace a video by one of another size or length."""
    return lambda root: write_video(root / file, [picture(rig()[1], width, height)] * frames)


def technicolor_rows(change: Callable[[list[list[str]]], object], header: str | None = None) -> Callable[[Path], None]:
    """Apply ``change(rows)`` to the words of each camera; ``header`` in the place of the first line."""

    def spoil(root: Path) -> None:
        first, *rest = (root / TECHNICOLOR).read_text().splitlines()
        rows = [line.split() for line in rest]
        change(rows)
        lines = [first if header is None else header, *(" ".join(row) for row in rows)]
        (root / TECHNICOLOR).write_text("\n".join(lines) + "\n")

    return spoil


def cut_after_index(root: Path) -> None:
    """A video whose index comes first, and says how many frames there should be, without its last third."""
    noise = np.random.default_rng(0).integers(0, 255, (FRAMES, HEIGHT, WIDTH, 3), dtype=np.uint8)
    write_video(root / "cam02.mp4", list(noise), index_first=True)
    cut("cam02.mp4", 0.67)(root)


def rename_videos(root: Path) -> None:
    """Give every video a name with spaces and letters beyond ASCII."""

    def rename(record: dict) -> None:
        for k, item in enumerate(record["frames"]):
            item["file_path"] = f"Kamera {k} – früh ★.mp4"
            (root / f"cam{k:02d}.mp4").rename(root / item["file_path"])

    edit(TRANSFORMS, rename)(root)


def flat(matrix: list[list[float]]) -> list[list[float]]:
    """A projection, not a motion."""
    matrix[1] = [0.0] * 4
    return matrix


DAMAGES: dict[str, Damage] = {
    # The json itself.
    "empty json": Damage("blender-video", put(TRANSFORMS, ""), TRANSFORMS),
    "cut json": Damage("blender-video", cut(TRANSFORMS, 0.6), TRANSFORMS),
    "binary json": Damage("blender-video", put(TRANSFORMS, b"\xff\xfe\x00\x81" * 20), TRANSFORMS),
    "json with a mark at its beginning": Damage(
        "blender-video", lambda root: put(TRANSFORMS, b"\xef\xbb\xbf" + (root / TRANSFORMS).read_bytes())(root), None
    ),
    "json in UTF-16": Damage(
        "blender-video", lambda root: put(TRANSFORMS, (root / TRANSFORMS).read_text().encode("utf-16"))(root), "UTF-8"
    ),
    "json of a list": Damage("blender-video", put(TRANSFORMS, "[1, 2]"), TRANSFORMS),
    "json nested without end": Damage("blender-video", put(TRANSFORMS, "[" * 100_000), TRANSFORMS),
    "json with an endless number": Damage("blender-video", put(TRANSFORMS, '{"w": ' + "9" * 5000 + "}"), TRANSFORMS),
    "json that is a folder": Damage(
        "panoptic", lambda r: ((r / "test_meta.json").unlink(), (r / "test_meta.json").mkdir()), "test_meta.json"
    ),
    "no frames": Damage("blender-video", edit(TRANSFORMS, lambda d: d.pop("frames")), TRANSFORMS),
    "frames of numbers": Damage("blender-video", edit(TRANSFORMS, lambda d: d.update(frames=[1, 2])), TRANSFORMS),
    "one pose too few": Damage("blender-video", edit(TRANSFORMS, lambda d: d["frames"].pop()), TRANSFORMS),
    "a single camera": Damage(
        "per-camera-json", edit(TRANSFORMS, lambda d: d.update(frames=d["frames"][:1])), TRANSFORMS
    ),
    # Poses.
    "NaN pose": Damage("blender-video", pose_value(0, 3, float("nan")), TRANSFORMS),
    "infinite pose": Damage("blender-video", pose_value(0, 3, float("inf")), TRANSFORMS),
    "pose beyond floating point": Damage("blender-video", pose_value(0, 3, 10**400), TRANSFORMS),
    "pose of words": Damage("blender-video", pose_value(1, 1, "up"), TRANSFORMS),
    "scaled pose": Damage("blender-video", pose_value(0, 0, 3.0), TRANSFORMS),
    "flat pose": Damage("blender-video", entry(lambda e: flat(e["transform_matrix"])), TRANSFORMS),
    "mirrored pose": Damage(
        "blender-video", entry(lambda e: [row.__setitem__(0, -row[0]) for row in e["transform_matrix"]]), TRANSFORMS
    ),
    "transposed pose": Damage(
        "blender-video",
        entry(lambda e: e.update(transform_matrix=np.array(e["transform_matrix"]).T.tolist())),
        TRANSFORMS,
    ),
    "ragged pose": Damage("blender-video", entry(lambda e: e["transform_matrix"][2].pop()), TRANSFORMS),
    "missing pose": Damage("blender-video", entry(lambda e: e.pop("transform_matrix")), TRANSFORMS),
    "too few poses of a moving camera": Damage(
        "blender-video", entry(lambda e: e.update(transform_matrices=[e["transform_matrix"]] * 2)), TRANSFORMS
    ),
    # Numbers.
    "no focal length": Damage("blender-video", edit(TRANSFORMS, lambda d: d.pop("camera_angle_x")), TRANSFORMS),
    "field of view of 0": Damage("blender-video", edit(TRANSFORMS, lambda d: d.update(camera_angle_x=0)), TRANSFORMS),
    "field of view in degrees": Damage(
        "blender-video", edit(TRANSFORMS, lambda d: d.update(camera_angle_x=60)), TRANSFORMS
    ),
    "negative focal length": Damage("per-camera-json", entry(lambda e: e.update(fl_x=-40.0)), TRANSFORMS),
    "focal length of words": Damage("per-camera-json", entry(lambda e: e.update(fl_x="wide")), TRANSFORMS),
    "swapped width and height": Damage("per-camera-json", entry(lambda e: e.update(w=e["h"], h=e["w"])), "cam02.mp4"),
    "negative size": Damage("blender-video", edit(TRANSFORMS, lambda d: d.update(width=-48, height=-32)), TRANSFORMS),
    "no frame rate at all": Damage("blender-video", edit(TRANSFORMS, lambda d: d.update(fps=0)), TRANSFORMS),
    "NaN distortion": Damage("per-camera-json", entry(lambda e: e.update(k1=float("nan"))), TRANSFORMS),
    "box inside out": Damage(
        "blender-video", edit(TRANSFORMS, lambda d: d.update(aabb=[[1, 1, 1], [-1, -1, -1]])), TRANSFORMS
    ),
    "box of three numbers": Damage("blender-video", edit(TRANSFORMS, lambda d: d.update(aabb=[1, 2, 3])), TRANSFORMS),
    "far before near": Damage("blender-video", edit(TRANSFORMS, lambda d: d.update(near=4.0, far=3.0)), TRANSFORMS),
    # Videos.
    "missing video": Damage("per-camera-json", remove("cam02.mp4"), "cam02.mp4"),
    "no videos": Damage("n3v", lambda r: [p.unlink() for p in r.glob("*.mp4")], "poses_bounds.npy"),
    "video of 0 bytes": Damage("blender-video", put("cam02.mp4", b""), "cam02.mp4"),
    "video of noise": Damage("blender-video", scramble("cam02.mp4", 0.0, 1.0), "cam02.mp4"),
    "video cut before its index": Damage("blender-video", cut("cam02.mp4", 0.5), "cam02.mp4"),
    "video cut after its index": Damage("blender-video", cut_after_index, "cam02.mp4"),
    "video damaged inside": Damage("blender-video", scramble("cam02.mp4", 0.3, 0.5), "cam02.mp4", either=True),
    "video whose index is damaged": Damage("blender-video", scramble("cam02.mp4", 0.8, 0.9), "cam02.mp4", either=True),
    "video that is a text": Damage("blender-video", put("cam02.mp4", "see the other disk\n"), "cam02.mp4"),
    "video that is a folder": Damage(
        "blender-video", lambda r: ((r / "cam02.mp4").unlink(), (r / "cam02.mp4").mkdir()), "cam02.mp4"
    ),
    "video that is an image": Damage(
        "blender-video", lambda r: Image.fromarray(picture(rig()[0])).save(r / "cam02.mp4", format="png"), None
    ),
    "video of another shape": Damage("blender-video", video("cam02.mp4", HEIGHT, WIDTH), "cam02.mp4"),
    "one video longer": Damage("blender-video", video("cam02.mp4", WIDTH, HEIGHT, 9), None),
    "one video of one frame": Damage("blender-video", video("cam02.mp4", WIDTH, HEIGHT, 1), None),
    "one video larger": Damage("per-camera-json", video("cam02.mp4", 4 * WIDTH, 4 * HEIGHT), None),
    "two cameras of one name": Damage(
        "per-camera-json",
        edit(TRANSFORMS, lambda d: d["frames"][2].update(file_path="./cam01.mp4")),
        TRANSFORMS,
    ),
    "file name with a null": Damage("per-camera-json", entry(lambda e: e.update(file_path="a\0b.mp4")), TRANSFORMS),
    "file name that is a number": Damage("per-camera-json", entry(lambda e: e.update(file_path=7)), TRANSFORMS),
    "names with spaces and letters beyond ascii": Damage("per-camera-json", rename_videos, None),
    # True offsets.
    "too few true offsets": Damage("blender-video", put("offsets.json", '{"seconds": [0.0, 0.1]}'), "offsets.json"),
    "NaN true offset": Damage("blender-video", put("offsets.json", '{"seconds": [0, NaN, 0, 0]}'), "offsets.json"),
    "true offsets of words": Damage("blender-video", put("offsets.json", '{"seconds": "late"}'), "offsets.json"),
    "true offsets of other cameras": Damage(
        "blender-video", put("offsets.json", '{"seconds": {"left": 0}}'), "offsets.json"
    ),
    # LLFF.
    "empty poses_bounds": Damage("n3v", put("poses_bounds.npy", b""), "poses_bounds.npy"),
    "cut poses_bounds": Damage("n3v", cut("poses_bounds.npy", 0.7), "poses_bounds.npy"),
    "poses_bounds of text": Damage("n3v", put("poses_bounds.npy", "1 0 0 0\n" * 9), "poses_bounds.npy"),
    "poses_bounds of objects": Damage(
        "n3v",
        lambda r: np.save(r / "poses_bounds.npy", np.array([{"pose": 1}] * 4, dtype=object), allow_pickle=True),
        "poses_bounds.npy",
    ),
    "poses_bounds of strings": Damage("n3v", table(lambda t: t.astype(str)), "poses_bounds.npy"),
    "poses_bounds with 15 columns": Damage("n3v", table(lambda t: t[:, :15]), "poses_bounds.npy"),
    "poses_bounds of one row": Damage("n3v", table(lambda t: t[0]), "poses_bounds.npy"),
    "poses_bounds without rows": Damage("n3v", table(lambda t: t[:0]), "poses_bounds.npy"),
    "poses_bounds of float32": Damage("n3v", table(lambda t: t.astype(np.float32)), None),
    "NaN in poses_bounds": Damage("n3v", table(lambda t: t.__setitem__((2, 3), np.nan)), "poses_bounds.npy"),
    "poses_bounds not rigid": Damage("n3v", table(lambda t: t.__setitem__((2, 0), 5.0)), "poses_bounds.npy"),
    "near behind far": Damage("n3v", table(lambda t: t.__setitem__((2, 15), 9.0)), "poses_bounds.npy"),
    "focal length 0 in poses_bounds": Damage("n3v", table(lambda t: t.__setitem__((2, 14), 0.0)), "poses_bounds.npy"),
    "height and width swapped in poses_bounds": Damage(
        "n3v", table(lambda t: t.__setitem__((slice(None), [4, 9]), t[:, [9, 4]])), "cam00.mp4"
    ),
    "one video fewer than poses_bounds": Damage("n3v", remove("cam03.mp4"), "poses_bounds.npy"),
    # Images.
    "missing image": Damage("panoptic", remove("ims/1/000003.jpg"), "000003.jpg"),
    "cut image": Damage("panoptic", cut("ims/1/000003.jpg", 0.6), "000003.jpg"),
    "image of another size": Damage(
        "panoptic", lambda r: Image.new("RGB", (20, 20)).save(r / "ims/1/000003.jpg"), "000003.jpg"
    ),
    "image of noise": Damage("blender-frames", scramble("frames_1/cam01/000000.png", 0, 1), "000000.png"),
    "image damaged inside": Damage("blender-frames", scramble("frames_1/cam01/000002.png", 0.3, 0.9), "000002.png"),
    "empty folder of images": Damage(
        "blender-frames", lambda r: [p.unlink() for p in (r / "frames_1/cam01").iterdir()], "cam01"
    ),
    "one folder of images too few": Damage(
        "blender-frames", lambda r: os.rename(r / "frames_1/cam01", r / "elsewhere"), TRANSFORMS
    ),
    # The other formats' tables.
    "panoptic tables of two lengths": Damage(
        "panoptic", edit("train_meta.json", lambda d: d["w2c"].pop()), "train_meta.json"
    ),
    "panoptic images of another camera": Damage(
        "panoptic", edit("train_meta.json", lambda d: d["fn"][2].reverse()), "from 0/000000.jpg to 2/000002.jpg"
    ),
    "panoptic camera that zooms": Damage(
        "panoptic",
        edit("train_meta.json", lambda d: d["k"].__setitem__(1, [[[9, 0, 1], [0, 9, 1], [0, 0, 1]]] * 3)),
        "train_meta.json",
    ),
    "panoptic world-to-camera not rigid": Damage(
        "panoptic", edit("train_meta.json", lambda d: d["w2c"][0][0][0].__setitem__(0, 7)), "train_meta.json"
    ),
    "syncam matrix of three rows": Damage(
        "syncam",
        edit("cameras/camera_extrinsics.json", lambda d: d["frame0"].update(cam02="[1 0 0 0] [0 1 0 0] [0 0 1 0] ")),
        "camera_extrinsics.json",
    ),
    "syncam camera without a video": Damage("syncam", remove("videos/cam02.mp4"), "camera_extrinsics.json"),
    "syncam camera that moves": Damage(
        "syncam",
        edit("cameras/camera_extrinsics.json", lambda d: d["frame3"].update(cam02=d["frame3"]["cam03"])),
        "camera_extrinsics.json",
    ),
    "technicolor row that breaks off": Damage("technicolor", cut(TECHNICOLOR, 0.95), TECHNICOLOR),
    "technicolor without a row": Damage("technicolor", technicolor_rows(lambda rows: rows.pop()), TECHNICOLOR),
    "technicolor without rows": Damage("technicolor", technicolor_rows(lambda rows: rows.clear()), TECHNICOLOR),
    "technicolor with a word": Damage("technicolor", technicolor_rows(lambda r: r[2].__setitem__(3, "x")), TECHNICOLOR),
    "technicolor with NaN": Damage("technicolor", technicolor_rows(lambda r: r[2].__setitem__(9, "nan")), TECHNICOLOR),
    "technicolor without rotation": Damage(
        "technicolor", technicolor_rows(lambda rows: rows[1].__setitem__(slice(5, 9), ["0"] * 4)), TECHNICOLOR
    ),
    "technicolor without focal length": Damage(
        "technicolor", technicolor_rows(lambda rows: rows[1].__setitem__(0, "0")), TECHNICOLOR
    ),
    "technicolor with a skew": Damage("technicolor", technicolor_rows(lambda r: r[1].__setitem__(4, "3")), TECHNICOLOR),
    "technicolor of larger images": Damage(
        "technicolor", technicolor_rows(lambda rows: rows[1].__setitem__(1, "900")), TECHNICOLOR
    ),
    "technicolor header alone is missing": Damage("technicolor", technicolor_rows(lambda rows: None, ""), None),
    "technicolor without images": Damage(
        "technicolor", lambda r: [path.unlink() for path in r.glob("*.png")], "undistorted images"
    ),
    "technicolor camera without images": Damage(
        "technicolor", lambda r: [path.unlink() for path in r.glob("*_02.png")], TECHNICOLOR
    ),
    "technicolor image cut": Damage("technicolor", cut("Walk_undist_00052_01.png", 0.6), "Walk_undist_00052_01.png"),
    "technicolor frame missing": Damage("technicolor", remove("Walk_undist_00052_01.png"), None),
    "dnerf time beyond 1": Damage(
        "dnerf", edit("transforms_train.json", lambda d: d["frames"][1].update(time=30)), "transforms_train.json"
    ),
    "dnerf without times": Damage(
        "dnerf", edit("transforms_train.json", lambda d: [f.pop("time") for f in d["frames"]]), None
    ),
    "dnerf without held-out views": Damage("dnerf", remove("transforms_test.json"), "transforms_val.json"),
}
