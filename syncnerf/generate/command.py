"""``syncnerf generate``: synchronous views of one scene from a text."""

import argparse
from pathlib import Path

from syncnerf.generate.model_options import add_model_options, named_model, parse_size
from syncnerf.option import Range, add_number, count


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the subcommand ``generate`` to the command line."""
    parser = subparsers.add_parser(
        "generate",
        help="make synchronous views of one scene from a text (needs Wan 2.1 and SynCamMaster's weights)",
        description="Makes videos of one scene from several cameras out of a text, with Wan 2.1 and the view "
        "synchronisation of SynCamMaster. The result is a scene that info, sync, train and score-views open.",
    )
    add_model_options(parser)
    add = parser.add_argument
    add("--view-sync", type=Path, required=True, help="SynCamMaster's step*.ckpt, or what convert-view-sync wrote")
    add("--prompt", required=True, help="what the views show")
    add("--negative-prompt", default="", help="what they should not look like (Wan has one of its own)")
    add("--cameras", required=True, metavar="RIG", help="arc:4,15,3, raise:3,10,3, dolly:3,1,3, a json, or a scene")
    metres = Range(0, 1e9, "a length", above=True)
    add_number(parser, "--metres", float, 1.0, "metres per unit of a json's or scene's coordinates", metres)
    add("--out", type=Path, required=True, help="folder of the scene to make")
    add_number(parser, "--steps", int, 50, "steps of the sampling", count(1, "noise becomes a video in steps", 10_000))
    guidance = Range(1, 100, "beyond it nothing but the prompt is left", below=True)
    add_number(parser, "--guidance", float, 5.0, "weight of the prompt; 1: none, half the time", guidance)
    add_number(parser, "--seed", int, 0, "seed of the noise", Range(0, 10**12, "seeds of all views follow from it"))
    add("--anchored", action="store_true", help="two views at once at most, each beside the first: for little memory")
    add("--tiled", action="store_true", help="decode frames in tiles: for little memory")
    add("--resume", action="store_true", help="go on with an interrupted sampling")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Carry out ``syncnerf generate``; returns the exit code."""
    from syncnerf.generate.extra import require_generate

    require_generate()
    from syncnerf.generate.generate import Wish, generate
    from syncnerf.generate.poses import read_rig

    width, height = parse_size(arguments.size)
    wish = Wish(
        arguments.prompt,
        arguments.negative_prompt,
        width,
        height,
        arguments.frames,
        arguments.steps,
        arguments.guidance,
        arguments.seed,
        arguments.anchored,
    )
    rig = read_rig(arguments.cameras, arguments.metres)
    folder, _ = named_model(arguments)
    generate(folder, arguments.view_sync, rig, wish, arguments.out, resume=arguments.resume, tiled=arguments.tiled)
    print(f"scene: {arguments.out} (generated, {len(rig.names)} views)")
    return 0
