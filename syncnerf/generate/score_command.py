"""``syncnerf score-views``: how synchronous and consistent the views of a scene are."""

import argparse
from pathlib import Path

from syncnerf.errors import UserError
from syncnerf.scene.command_options import add_scene_options, named_scene


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the subcommand ``score-views`` to the command line."""
    parser = subparsers.add_parser(
        "score-views",
        help="score how synchronous and consistent views are, generated or not",
        description="Scores how synchronous and how consistent the views of a scene are: offsets that should be zero, "
        "matches against the commanded cameras, and a field that has to show a view it was not trained on. Writes "
        "scores.json and scores.html. Needs no weights.",
    )
    add_scene_options(parser)
    add = parser.add_argument
    add("--out", type=Path, help="folder of the results (default: scores in the current folder)")
    add("--fit", type=Path, metavar="CONFIG", help="train a field with this configuration too: 4D consistency")
    add("--held-out", default="", metavar="NAME", help="view that the field has to show (default: the middle one)")
    add("--true-footage", type=Path, metavar="DIR", help="synchronous footage of a like rig: the field's ceiling")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Carry out ``syncnerf score-views``; returns the exit code."""
    from syncnerf.atomic import write_text
    from syncnerf.generate.consistency import not_fitted, score_consistency
    from syncnerf.generate.score_page import score_page
    from syncnerf.generate.scores import score_views, write_scores
    from syncnerf.scene import load_scene
    from syncnerf.scene.read_options import ReadOptions

    scene = named_scene(arguments)
    for option in ("held_out", "true_footage"):
        if getattr(arguments, option) and arguments.fit is None:
            raise UserError(f"--{option.replace('_', '-')} belongs to a field; give its configuration with --fit")
    consistency = not_fitted()
    if arguments.fit is not None:
        from syncnerf.options import parse

        true_footage = None
        if arguments.true_footage is not None:
            true_footage = load_scene(arguments.true_footage, ReadOptions(cache_dir=arguments.cache_dir))
        config = parse([f"--config={arguments.fit}", f"--datadir={arguments.datadir}"])
        consistency = score_consistency(scene, config, arguments.held_out, true_footage)
    scores = score_views(scene, consistency)
    out = arguments.out or Path("scores")
    write_scores(out / "scores.json", scores)
    write_text(out / "scores.html", score_page(scores))
    print(table(scores.scores))
    print(f"page: {out / 'scores.html'}")
    return 0


def table(scores: dict) -> str:
    """One line per score: value between floor and ceiling, or why there is none."""

    def shown(value: float | None) -> str:
        return f"{'-':>8}" if value is None else f"{value:8.3f}"

    lines = [f"{'score':20} {'value':>8} {'floor':>8} {'ceiling':>8}"]
    for score in scores.values():
        cells = " ".join(shown(value) for value in (score.value, score.floor, score.ceiling))
        lines.append(f"{score.label:20} {cells}  {score.reason or score.unit}")
    return "\n".join(lines)
