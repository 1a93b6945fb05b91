"""``syncnerf convert-view-sync``: the module's tensors of a released checkpoint alone, as safetensors."""

import argparse
from pathlib import Path


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the subcommand ``convert-view-sync`` to the command line."""
    parser = subparsers.add_parser(
        "convert-view-sync",
        help="take SynCamMaster's own tensors out of its checkpoint",
        description="Takes the view-synchronisation tensors out of SynCamMaster's step*.ckpt, which holds a copy of "
        "Wan besides, and writes them as safetensors. Nothing in the checkpoint is executed.",
    )
    parser.add_argument("source", type=Path, help="step20000.ckpt")
    parser.add_argument("target", type=Path, help="file to write, .safetensors")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Carry out ``syncnerf convert-view-sync``; returns the exit code."""
    from syncnerf.generate.extra import require_generate

    require_generate()
    from syncnerf.generate.weights import convert_view_sync

    count = convert_view_sync(arguments.source, arguments.target)
    print(f"{count} tensors, {arguments.target.stat().st_size / 1e6:.1f} MB: {arguments.target}")
    return 0
