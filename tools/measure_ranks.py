"""What a second process is worth: rays/s of two processes that train together, against one with the same batch.

    python tools/measure_ranks.py --datadir syncnerf/data/demo --config configs/kplanes/demo.txt --batch-size 1024

Every process has one thread. Rounds alternate between one process, two together, and two that know nothing of each
other and have half of the rays each: what the machine gives at best, for its cores share memory and sometimes more.
Every option of `syncnerf train` can be given.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

STEPS, REHEARSED = 40, 15
TOGETHER = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")


def main() -> int:
    """Measure and print; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each kind (default 3)")
    parser.add_argument("--steps", type=int, default=STEPS, help=f"timed steps of a round (default {STEPS})")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    own, options = parser.parse_known_args()
    if own.worker:
        work(options, own.steps)
        return 0
    from syncnerf.options import parse

    batch = parse(options).sampling.batch_size
    half = [*options, f"--batch-size={batch // 2}"]
    seconds: dict[str, list[float]] = {"one process": [], "two together": [], "two apart": []}
    for index in range(own.rounds):
        found = {
            "one process": finish([start([], options, own.steps)]),
            "two together": finish([start(TOGETHER, options, own.steps)]),
            "two apart": finish([start([], half, own.steps) for _ in range(2)]),
        }
        for name, values in found.items():
            seconds[name] += values
        medians = ", ".join(f"{name} {1e3 * statistics.median(values):.1f} ms" for name, values in found.items())
        print(f"round {index + 1}: {medians}", flush=True)
    alone = seconds["one process"]
    for name, values in seconds.items():
        median, least = statistics.median(values), min(values)
        print(
            f"{name}: {batch} rays in {1e3 * median:.1f} ms (least {1e3 * least:.1f}), {batch / median:.0f} rays/s, "
            f"{statistics.median(alone) / median:.2f} times one process (by the least {min(alone) / least:.2f})"
        )
    return 0


def start(launcher, options: list[str], steps: int) -> subprocess.Popen:
    """A process, or what starts two, that measures steps."""
    command = [sys.executable, *launcher, __file__, "--worker", f"--steps={steps}", *options]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    )  # fmt: skip


def finish(processes: list[subprocess.Popen]) -> list[float]:
    """Seconds of all steps that the processes measured."""
    seconds = []
    for process in processes:
        output = process.communicate()[0]
        if process.returncode:
            raise SystemExit("a training failed; try the same options with syncnerf train")
        seconds += json.loads(output)
    return seconds


def work(options: list[str], steps: int) -> None:
    """Train, and print the seconds of each step as JSON; of several processes the first one does."""
    import torch
    from compare_engines import make_trainer

    from syncnerf.options import parse
    from syncnerf.processor import settle_processor
    from syncnerf.training.ranks import join_ranks

    settle_processor()
    with join_ranks(torch.device("cpu")) as ranks, tempfile.TemporaryDirectory() as folder:
        trainer = make_trainer(parse(options), Path(folder), ranks)
        seconds = []
        for index in range(REHEARSED + steps):
            begin = time.perf_counter()
            trainer.train_step()
            if index >= REHEARSED:
                seconds.append(time.perf_counter() - begin)
        if ranks.writes:
            print(json.dumps(seconds))


if __name__ == "__main__":
    sys.exit(main())
