"""Which importer reads a calibration: by its content, or by name."""

from dataclasses import replace
from pathlib import Path

from syncnerf.errors import UserError, did_you_mean
from syncnerf.importers.calibration import Calibration, Importer
from syncnerf.importers.caliscope import CALISCOPE
from syncnerf.importers.colmap import COLMAP
from syncnerf.importers.easymocap import EASYMOCAP
from syncnerf.importers.named_sections import ANIPOSE, FREEMOCAP, POSE2SIM
from syncnerf.importers.nerfstudio import NERFSTUDIO
from syncnerf.importers.opencap import OPENCAP
from syncnerf.importers.opencv_yaml import OPENCV_YAML
from syncnerf.importers.panoptic_studio import PANOPTIC_STUDIO
from syncnerf.importers.qualisys import QUALISYS

# In the order in which they are tried: more specific formats first.
IMPORTERS: dict[str, Importer] = {
    "caliscope": CALISCOPE,
    "freemocap": FREEMOCAP,
    "pose2sim": POSE2SIM,
    "anipose": ANIPOSE,
    "qualisys": QUALISYS,
    "easymocap": EASYMOCAP,
    "panoptic-studio": PANOPTIC_STUDIO,
    "opencap": OPENCAP,
    "colmap": COLMAP,
    "nerfstudio": NERFSTUDIO,
    "opencv-yaml": OPENCV_YAML,
}
LARGEST_FOLDER = 200
"""Most files of a folder that are examined."""


def read_calibration(path: Path, name: str = "auto") -> Calibration:
    """Read a calibration.

    What a format has a place for in a folder (``transforms.json``, ``intri.yml``) goes before other files there; where
    it was found by ``auto``, a note names these.

    Args:
        path: its file, or a folder that holds one.
        name: a format's name, or ``auto`` to recognise it.

    Raises:
        UserError: there is none, it is of no known format, a folder holds several, or something in it is unfit.
    """
    if name != "auto" and name not in IMPORTERS:
        raise UserError(
            f"no calibration format '{name}'{did_you_mean(name, IMPORTERS)} (known: {', '.join(IMPORTERS)})"
        )
    if not path.exists():
        raise UserError(f"{path}: no such file or folder; name the calibration")
    tried = IMPORTERS if name == "auto" else {name: IMPORTERS[name]}
    found = _recognised(path, tried)
    inside = _inside(path, tried) if path.is_dir() else []
    if found is not None:
        taken = found.read(path)
        return taken if name != "auto" else _with_others_named(taken, found, [file for file, _ in inside])
    if len(inside) > 1:
        names = ", ".join(file.name for file, _ in inside[:4])
        raise UserError(f"{path}: holds several calibrations ({names}); name one of them")
    if inside:
        file, found = inside[0]
        return found.read(file)
    raise UserError(f"{path}: holds no calibration of a known format (known: {', '.join(IMPORTERS)}); see --format")


def _inside(folder: Path, importers: dict[str, Importer]) -> list[tuple[Path, Importer]]:
    """The files of a folder that are calibrations by themselves, and what reads them."""
    files = sorted(file for file in folder.iterdir() if file.is_file())[:LARGEST_FOLDER]
    return [(file, importer) for file in files if (importer := _lenient(file, importers)) is not None]


def _with_others_named(taken: Calibration, importer: Importer, files: list[Path]) -> Calibration:
    """The calibration of a folder with a note on those of its files, read by themselves, that were not taken."""
    whole = taken.path.is_dir()
    others = [file.name for file in files if not (importer.recognises(file) if whole else file == taken.path)]
    if not others:
        return taken
    which = f"the {taken.format} calibration" if whole else f"{taken.path.name} ({taken.format})"
    note = f"{which} is taken, and not {', '.join(others[:4])} beside it; name the one that is meant"
    return replace(taken, notes=(*taken.notes, note))


def _recognised(path: Path, importers: dict[str, Importer]) -> Importer | None:
    return next((importer for importer in importers.values() if importer.recognises(path)), None)


def _lenient(path: Path, importers: dict[str, Importer]) -> Importer | None:
    """The importer of one of several files, or None; unlike a file that the user names, it may be anything."""
    try:
        return _recognised(path, importers)
    except UserError:
        return None
