"""The command `syncnerf`."""

from __future__ import annotations

import argparse
import logging
import os
import re
import signal
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from syncnerf import __version__
from syncnerf.errors import UserError, usage
from syncnerf.option import at_home

OUT_OF_MEMORY = re.compile(r"can't allocate memory|out of memory|Storage size calculation overflowed")
"""In the words of torch's allocators."""
SIZE_ASKED = re.compile(r"tried to allocate ([0-9]+) bytes")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand; returns the exit code: 2 for errors that are the user's to mend, in one line."""
    arguments = [at_home(argument) for argument in (sys.argv[1:] if arguments is None else arguments)]
    logging.basicConfig(level=logging.INFO, format="%(levelname).1s %(message)s", stream=sys.stderr)
    return report_user_errors(lambda: _dispatch(arguments))


def report_user_errors(command: Callable[[], int]) -> int:
    """Run a command; an error that is the user's to mend becomes one line on standard error and exit code 2.

    Among these are a lack of memory, however it was noticed, and whatever the system says of a file.
    """
    try:
        code = command()
        sys.stdout.flush()  # here, where an error can still be told
        return code
    except UserError as error:
        print(f"syncnerf: error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # who read the output has seen enough, as in `syncnerf info | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except OSError as error:
        where, reason = error.filename or "a file", error.strerror or error
        print(f"syncnerf: error: {where}: {reason}; mend that, or choose another folder", file=sys.stderr)
        return 2
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and not OUT_OF_MEMORY.search(str(error)):
            raise
        asked = SIZE_ASKED.search(str(error))
        what = f"{asked[1]} bytes at once" if asked else "what was asked for"
        print(
            f"syncnerf: error: not enough memory for {what}; make the field, the images (--downsample) or the parts "
            "(--batch-size, --render-chunk) smaller",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:
        print("syncnerf: interrupted", file=sys.stderr)
        return 130


def _dispatch(arguments: list[str]) -> int:
    if arguments[:1] == ["train"]:
        return _train(arguments[1:])
    parsed = _parser().parse_args(arguments)
    return parsed.run(parsed)


def _train(arguments: list[str]) -> int:
    if os.environ.get("RANK", "0") != "0":  # of several processes (torchrun), the first speaks for all
        os.environ["TQDM_DISABLE"] = "1"
        logging.getLogger().setLevel(logging.ERROR)

    from syncnerf.options import parse
    from syncnerf.processor import settle_processor
    from syncnerf.run import run

    settle_processor()
    return run(parse(arguments))


class _Parser(argparse.ArgumentParser):
    """Usage errors in one line, as all other errors; subcommands' parsers are of this class too."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{usage(message)}; see {self.prog} --help")


def _parser() -> argparse.ArgumentParser:
    from syncnerf.export.command import add_parser as add_export
    from syncnerf.generate.command import add_parser as add_generate
    from syncnerf.generate.score_command import add_parser as add_score_views
    from syncnerf.generate.training_command import add_parser as add_train_generator
    from syncnerf.generate.weights_command import add_parser as add_convert_view_sync
    from syncnerf.importers.calibrate_command import add_parser as add_calibrate
    from syncnerf.importers.command import add_parser as add_import
    from syncnerf.scene.info_command import add_parser as add_info
    from syncnerf.sync.command import add_parser as add_sync

    parser = _Parser(
        prog="syncnerf",
        description="Finds out when each camera really started, and makes a dynamic radiance field of their videos.",
    )
    parser.add_argument("--version", action="version", version=f"syncnerf {__version__}")
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    # `train` has a parser of its own (its options depend on the backend): see _train.
    subparsers.add_parser("train", help="train, evaluate or render a field; syncnerf train --help", add_help=False)
    add_import(subparsers)
    add_calibrate(subparsers)
    add_sync(subparsers)
    add_export(subparsers)
    add_info(subparsers)
    add_score_views(subparsers)
    add_generate(subparsers)
    add_convert_view_sync(subparsers)
    add_train_generator(subparsers)
    return parser
