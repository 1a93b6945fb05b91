"""``syncnerf train-generator``: train view synchronisation on SynCamVideo."""

import argparse
from pathlib import Path

from syncnerf.errors import UserError
from syncnerf.generate.model_options import add_model_options, named_model, parse_size
from syncnerf.option import Range, add_number, count, share


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the subcommand ``train-generator`` to the command line."""
    parser = subparsers.add_parser(
        "train-generator",
        help="train view synchronisation for Wan 2.1 on SynCamVideo",
        description="Trains the view-synchronisation module of SynCamMaster on SynCamVideo; the base model stays as it "
        "is. Latents of the videos are encoded once and kept beside the data set. One process, one device.",
    )
    add_model_options(parser)
    add = parser.add_argument
    add("--datadir", type=Path, required=True, help="folder of SynCamVideo: scenes at any depth below it")
    add("--captions", type=Path, required=True, help="csv with the columns scene and caption; others are left out")
    add("--view-sync", type=Path, help="weights to start from (default: the module's own start, which changes nothing)")
    add("--expname", default="generator", help="name of the run's folder")
    add("--logdir", type=Path, default=Path("runs"), help="folder of all runs")
    add("--angles", default="0:60,30:90,60:120", help="degrees between paired views, from easy to hard")
    add_number(parser, "--single-share", float, 0.2, "share of steps on single views", share())
    add_number(parser, "--steps", int, 50_000, "training steps", count(1, "a training takes steps"))
    add_number(parser, "--batch-size", int, 1, "pairs in a step", count(1, "a step takes pairs, all in memory", 4096))
    add_number(parser, "--lr", float, 1e-4, "learning rate of AdamW", Range(0, 1, "0 takes no step", above=True))
    add_number(parser, "--warmup-steps", int, 500, "steps over which it rises", count(0, "a number of steps"))
    add_number(parser, "--seed", int, 0, "seed of every random draw", Range(0, 2**63 - 1, "generators take 63 bits"))
    add_number(parser, "--log-every", int, 50, "steps between points of TensorBoard's curves", count(1, "a rhythm"))
    add_number(parser, "--save-every", int, 1000, "steps between checkpoints; two are kept", count(1, "a rhythm"))
    add("--resume", action="store_true", help="continue the run's newest checkpoint")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Carry out ``syncnerf train-generator``; returns the exit code."""
    from syncnerf.generate.extra import require_generate

    require_generate()
    from syncnerf.generate.adapter import ViewSyncAdapter
    from syncnerf.generate.dataset import find_scenes, prepare, read_captions
    from syncnerf.generate.training import WEIGHTS, AngleSchedule, GeneratorTrainer
    from syncnerf.generate.view_pairs import ViewPairs
    from syncnerf.generate.weights import load_view_sync
    from syncnerf.training.checkpoints import list_checkpoints
    from syncnerf.training.options import TrainingConfig

    model, precision = named_model(arguments)
    config = TrainingConfig(
        steps=arguments.steps, lr=arguments.lr, lr_schedule="constant", warmup_steps=arguments.warmup_steps,
        seed=arguments.seed, precision=precision, log_every=arguments.log_every, save_every=arguments.save_every,
    )  # fmt: skip
    schedule = AngleSchedule.parse(arguments.angles)
    width, height = parse_size(arguments.size)
    folder = arguments.logdir / arguments.expname
    if list_checkpoints(folder / "checkpoints") and not arguments.resume:
        raise UserError(f"{folder}: holds a run already; continue it with --resume or change --expname")
    captions = read_captions(arguments.captions, find_scenes(arguments.datadir))
    clips = prepare(arguments.datadir, captions, model, arguments.frames, width, height)
    adapter = ViewSyncAdapter(model.transformer())
    if arguments.view_sync is not None:
        load_view_sync(adapter, arguments.view_sync)
    pairs = ViewPairs(clips, arguments.single_share)
    trainer = GeneratorTrainer(adapter, pairs, config, schedule, folder, model.device, arguments.batch_size)
    trainer.resume()
    stopped_by = trainer.fit()
    print(f"weights: {folder / WEIGHTS} (step {trainer.step})")
    return 0 if stopped_by is None else 128 + stopped_by
