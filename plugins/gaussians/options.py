"""Options of the Gaussians backend, a dataclass per part; each is known to the code of that part alone."""

from dataclasses import dataclass

from syncnerf.option import Range, check_values, count, option, share, weight

CARRIED = {"motion": ("scaffold",)}
"""Of which motion an option is."""


@dataclass(frozen=True)
class CloudConfig:
    """The Gaussians, and what they are when a training begins."""

    gaussians: int = option(
        8000, "number of Gaussians, the same throughout", count(1, "pictures are made of Gaussians", 2**24)
    )
    harmonics_degree: int = option(1, "degree of the spherical harmonics of their colours", (0, 1, 2, 3))
    shade_knots: int = option(
        0,
        "knots of a spline through time that is added to each colour, for shadows and changing light; 0 for none",
        count(4, "a cubic spline has four knots", 1024, also=0),
    )
    start_size: float = option(
        0.6,
        "standard deviation at the start, in distances to the nearest other start",
        Range(0, 100, "a Gaussian has an extent", above=True),
    )
    start_opacity: float = option(
        0.3, "opacity at the start", Range(0.01, 0.99, "what is not seen, or hides all, does not learn")
    )

    __post_init__ = check_values


@dataclass(frozen=True)
class ScaffoldConfig:
    """The nodes that carry them."""

    nodes: int = option(200, "nodes of the scaffold", count(1, "something carries what moves", 2**16))
    knot_spacing: float = option(
        4.0, "frames between the finest knots of their paths", Range(0.5, 1e4, "closer ones fit noise")
    )
    knot_levels: int = option(
        3, "splines that a path is the sum of, each twice as fine as the one before", count(1, "a path is a spline", 8)
    )
    levels_until: float = option(
        0.25, "share of the training from which on all of them learn, the coarsest from the beginning", share()
    )
    moments: int = option(
        12, "moments at which Gaussians are at home", count(1, "a Gaussian has a place at some moment", 1024)
    )
    rigidity_weight: float = option(5e-3, "weight of neighbours' motion against each other", weight())
    acceleration_weight: float = option(1e-5, "weight of the paths' bends", weight())
    regularize_every: int = option(
        4, "steps between these two, whose weights grow to match", count(1, "a rhythm in steps")
    )
    rigidity_reach: float = option(
        8.0, "frames, at most, between the two moments that are compared", Range(0, 1e4, "moments are some way apart")
    )

    __post_init__ = check_values


@dataclass(frozen=True)
class DensityConfig:
    """Where Gaussians are spent."""

    relocate_every: int = option(
        100,
        "steps after which Gaussians that show nothing move to where pictures are wrong",
        count(1, "a rhythm in steps"),
    )
    relocate_start: int = option(200, "step of the first move", count(0, "a step"))
    relocate_until: float = option(0.8, "share of the training after which none moves any more", share())
    look_every: int = option(10, "steps between looks at what each Gaussian shows", count(1, "a rhythm in steps"))
    idle_opacity: float = option(0.02, "opacity below which a Gaussian is taken to show nothing", share())
    idle_share: float = option(0.01, "the same, of what it adds to pictures, as a share of the mean over all", share())

    __post_init__ = check_values


@dataclass(frozen=True)
class LossesConfig:
    """What pictures are compared by, and what is held back."""

    similarity_weight: float = option(
        0.2, "share of structural dissimilarity in the loss; the rest is the absolute difference", share()
    )
    squares_from: float = option(
        0.8, "share of the training after which squared differences take the place of both", share()
    )
    squares_weight: float = option(5.0, "weight of these", weight())
    opacity_weight: float = option(0.0, "weight of the mean opacity", weight())
    scale_weight: float = option(0.0, "weight of the mean standard deviation, in halves of the box", weight())

    __post_init__ = check_values


@dataclass(frozen=True)
class RatesConfig:
    """Learning rates, in units of the training's."""

    mean_rate: float = option(2.0, "of the centres, in halves of the box", weight("below 0 the loss is climbed"))
    turn_rate: float = option(3.0, "of the Gaussians' quaternions", weight("below 0 the loss is climbed"))
    scale_rate: float = option(5.0, "of the scales' logarithms", weight("below 0 the loss is climbed"))
    opacity_rate: float = option(30.0, "of the opacities' logits", weight("below 0 the loss is climbed"))
    colour_rate: float = option(10.0, "of the colours", weight("below 0 the loss is climbed"))
    side_rate: float = option(
        2.0, "of their change with the direction, and with time", weight("below 0 the loss is climbed")
    )
    skin_rate: float = option(
        10.0, "of the nodes' shares in carrying", weight("below 0 the loss is climbed"), CARRIED
    )
    path_rate: float = option(
        2.0, "of the nodes' paths, in halves of the box", weight("below 0 the loss is climbed"), CARRIED
    )
    node_turn_rate: float = option(2.0, "of the nodes' quaternions", weight("below 0 the loss is climbed"), CARRIED)

    __post_init__ = check_values
