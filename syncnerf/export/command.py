"""``syncnerf export``: a synchronised scene in the forms that other tools read."""

import argparse
from collections.abc import Callable
from pathlib import Path

from syncnerf.atomic import atomic_folder
from syncnerf.errors import UserError, did_you_mean
from syncnerf.export.aligned import write_aligned, write_freemocap
from syncnerf.export.alignment import Alignment, read_alignment
from syncnerf.export.ffmpeg_script import write_script
from syncnerf.export.nerf_folders import write_n3v, write_transforms
from syncnerf.export.pose2sim import write_pose2sim
from syncnerf.export.timeline import write_final_cut, write_otio
from syncnerf.export.timestamps import write_caliscope
from syncnerf.option import Range, add_number
from syncnerf.scene.command_options import add_scene_options, named_scene
from syncnerf.scene.read_options import DOWNSAMPLE, names_in
from syncnerf.sync.command import DEFAULT_OUT

FORMATS: dict[str, tuple[str, Callable[[Alignment, Path], list[str] | None]]] = {
    "aligned": ("aligned", write_aligned),
    "freemocap": ("synchronized_videos", write_freemocap),
    "caliscope": ("caliscope", write_caliscope),
    "transforms": ("transforms", write_transforms),
    "n3v": ("n3v", write_n3v),
    "otio": ("timeline.otio", write_otio),
    "fcpxml": ("timeline.xml", write_final_cut),
    "ffmpeg": ("align.sh", write_script),
}
"""By name: what it is called in the folder, and what writes it and returns notes."""
POSE2SIM, POSE_FOLDER = "pose2sim", "pose-sync"
SPLATS = "splats"
"""Written of a run, by ``--splats``; all other formats are of the scene."""
NAMES = (*FORMATS, POSE2SIM)
MOMENT_COUNT = Range(1, 100_000, "each is a file of megabytes", also=0)


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the subcommand ``export`` to the command line."""
    parser = subparsers.add_parser(
        "export",
        help="write a synchronised scene in the forms that other tools read",
        description="Writes a synchronised scene in the forms that other tools read, by sync's or training's offsets.",
    )
    add_scene_options(parser)
    add = parser.add_argument
    add("--offsets", type=Path, default=Path(DEFAULT_OUT), help=f"offsets file (default: {DEFAULT_OUT} here)")
    add("--to", default="", metavar="FORMATS", help=f"comma-separated: {', '.join(NAMES)}")
    add("--out", type=Path, required=True, metavar="DIR", help="folder to make, with a part for each format")
    add(
        "--poses", type=Path, metavar="DIR", help="for pose2sim: its folder 'pose' with a <camera>_json for each camera"
    )
    add_number(
        parser, "--downsample", float, 0.0, "for transforms and n3v: images this many times smaller; 0: the format's",
        DOWNSAMPLE,
    )  # fmt: skip
    add("--splats", type=Path, metavar="RUN", help="a run of Gaussians: a .ply per moment, and the model")
    add_number(parser, "--moments", int, 0, "for --splats: number of moments; 0: the reference's frames", MOMENT_COUNT)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Carry out ``syncnerf export``; returns the exit code."""
    wanted = names_in(arguments.to)
    for name in wanted:
        if name not in NAMES:
            raise UserError(f"no export format '{name}'{did_you_mean(name, NAMES)} (known: {', '.join(NAMES)})")
    if not wanted and arguments.splats is None:
        raise UserError(f"--to: names no format (known: {', '.join(NAMES)})")
    if (POSE2SIM in wanted) != (arguments.poses is not None):
        raise UserError("--to pose2sim and --poses go together: the keypoints lie in Pose2Sim's folder 'pose'")
    if arguments.moments and arguments.splats is None:
        raise UserError("--moments is for --splats: name the run with it")
    if arguments.downsample and not {"transforms", "n3v"} & set(wanted):
        raise UserError("--downsample is for --to transforms and --to n3v: the other formats hold no images")
    with atomic_folder(arguments.out) as folder:
        notes = _write_scene(arguments, wanted, folder) if wanted else []
        if arguments.splats is not None:
            # Imported here: nothing else of this command needs what trains.
            from syncnerf.export.splats import write_splats

            notes += write_splats(arguments.splats, arguments.datadir, arguments.moments, folder / SPLATS)
    places = {name: POSE_FOLDER if name == POSE2SIM else FORMATS[name][0] for name in wanted}
    if arguments.splats is not None:
        places[SPLATS] = SPLATS
    for name, place in places.items():
        print(f"{name:10}  {arguments.out / place}")
    for note in notes:
        print(note)
    return 0


def _write_scene(arguments: argparse.Namespace, wanted: tuple[str, ...], folder: Path) -> list[str]:
    """Write the scene in the wanted forms; notes, one line each."""
    scene = named_scene(arguments, downsample=arguments.downsample)
    alignment = read_alignment(scene, arguments.offsets)
    notes = [f"camera {name} is left out: it has no offset" for name in alignment.left_out]
    for name in wanted:
        if name == POSE2SIM:
            notes += write_pose2sim(alignment, arguments.poses, folder / POSE_FOLDER)
        else:
            place, write = FORMATS[name]
            notes += write(alignment, folder / place) or []
    return notes
