"""``syncnerf import``: another tool's calibration and a folder of videos become a scene."""

import argparse
from pathlib import Path

from syncnerf.errors import UserError
from syncnerf.importers.calibration import CENTIMETRE, METRE, MILLIMETRE, Calibration
from syncnerf.importers.fit_check import check_fit
from syncnerf.importers.formats import IMPORTERS, read_calibration
from syncnerf.importers.import_scene import ImportedScene, import_scene
from syncnerf.scene.info_command import table
from syncnerf.scene.read_options import ReadOptions
from syncnerf.scene.readers import load_scene, told_already
from syncnerf.sync.synchronize import WORKING_SIDE

UNITS = {"m": METRE, "cm": CENTIMETRE, "mm": MILLIMETRE, "inch": 0.0254}
PICTURE = "rig.png"


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the subcommand ``import`` to the command line."""
    parser = subparsers.add_parser(
        "import",
        help="make a scene of another tool's calibration and a folder of videos",
        description="Makes a scene of another tool's calibration and a folder of videos, one per camera, and checks "
        "that they fit.",
    )
    add = parser.add_argument
    add("calibration", type=Path, help="file or folder of the calibration")
    add("--videos", type=Path, required=True, metavar="DIR", help="folder of the videos")
    add("--out", type=Path, required=True, metavar="SCENE", help="folder of the scene, to be made")
    add("--format", default="auto", help=f"of the calibration: auto or one of {', '.join(IMPORTERS)}")
    add("--unit", choices=("auto", *UNITS), default="auto", help="of the calibration; auto: the format's own")
    add("--fit", choices=("scale", "crop"), default="scale",
        help="how a video of another shape shows the calibrated image: whole, or its centre cut out")  # fmt: skip
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Carry out ``syncnerf import``; returns the exit code."""
    calibration = in_unit(read_calibration(arguments.calibration, arguments.format), arguments.unit)
    imported = import_scene(calibration, arguments.videos, arguments.out, arguments.fit)
    show(calibration, imported)
    return 0


def show(calibration: Calibration, imported: ImportedScene) -> None:
    """Print a table of what was imported, with notes, and draw the rig.

    Raises:
        UserError: the picture cannot be written.
    """
    scene = load_scene(imported.root)
    print(f"{calibration.format} calibration: {len(calibration.cameras)} cameras, {len(scene.cameras)} with a video\n")
    print(table(scene))
    for note in imported.notes:
        print(note)
    with told_already():
        larger = load_scene(imported.root, ReadOptions(max_side=WORKING_SIDE))
    print(check_fit(larger, calibration.format != "nerfstudio"))
    from syncnerf.scene.rig_picture import draw_rig  # here: matplotlib is slow to load

    try:
        draw_rig(scene, imported.root / PICTURE)
    except (OSError, ValueError) as error:
        raise UserError(f"{imported.root / PICTURE}: cannot be written ({error}); make room and run info") from error
    print(f"\nscene: {imported.root}\nrig from above: {imported.root / PICTURE}")


def in_unit(calibration: Calibration, unit: str) -> Calibration:
    """The calibration in the unit that the user states; ``auto``: the format's own."""
    return calibration if unit == "auto" else calibration.with_unit(UNITS[unit])
