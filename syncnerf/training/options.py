"""Options of the training: its length, learning rates, and how often it logs and saves."""

from dataclasses import dataclass

from syncnerf.option import Range, check_values, count, option, share


@dataclass(frozen=True)
class TrainingConfig:
    """Length, learning rate, and what is written when."""

    steps: int = option(90_000, "training steps", count(1, "a training takes steps"))
    lr: float = option(
        1e-2,
        "learning rate of the field (Adam)",
        Range(0, 1e3, "no step is taken with 0, and below it the loss is climbed", above=True),
    )
    lr_schedule: str = option("cosine", "decay of the learning rates over the training", ("cosine", "constant"))
    warmup_steps: int = option(512, "steps over which the learning rate rises", count(0, "a number of steps"))
    lr_final: float = option(
        0.0, "learning rate at the end, as a share of its height", share(), {"lr_schedule": ("cosine",)}
    )
    seed: int = option(0, "seed of every random draw", Range(0, 2**63 - 1, "generators take 63 bits"))
    device: str = option("auto", "auto, cpu, cuda or cuda:N")
    precision: str = option(
        "float32",
        "numbers that the networks compute with while training; parameters, offsets and evaluation stay 32-bit or more",
        ("float32", "bfloat16", "float16"),
    )
    prefetch: int = option(
        -1,
        "batches that a thread draws ahead; 0 for none, -1 for 2 on a GPU and none on a busy CPU",
        count(-1, "batches are held in memory", 1024),
    )
    engine: str = option(
        "auto",
        "kernels of the field: torch (anywhere), triton, tcnn (networks) or gsplat (Gaussians), on CUDA; auto is the "
        "best that is installed",
        ("auto", "torch", "triton", "tcnn", "gsplat"),
    )
    compile: str = option(
        "auto",
        "torch.compile what gains by it (the regularisers): takes about 20 s at first and a C++ compiler, or Triton "
        "on CUDA; auto compiles for trainings of 10,000 steps and more",
        ("auto", "on", "off"),
    )
    cuda_graphs: bool = option(True, "record steps of fixed shapes as CUDA graphs and replay them; nothing on a CPU")
    log_every: int = option(50, "steps between lines of TensorBoard and offsets.csv", count(1, "a rhythm in steps"))
    save_every: int = option(
        5000,
        "steps between checkpoints; the last two are kept",
        count(0, "a rhythm in steps; 0 for the last step alone"),
    )
    image_every: int = option(
        5000, "steps between TensorBoard images of the test view; 0 for none", count(0, "a rhythm in steps")
    )

    __post_init__ = check_values
