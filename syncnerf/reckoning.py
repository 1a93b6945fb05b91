"""Reckoning: what the field's word on the cameras' clocks is worth beside what was known of them beforehand.

Both are estimates with errors, and training seeks the best of both: the photometric loss and the misfit to what was
known, each as strong as it is certain. (A field that explains little says anything, and one that is trained on wrong
offsets adapts to them.)
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator

import torch

from syncnerf.batch import Batch
from syncnerf.clock_evidence import FRAMES, trained_clock
from syncnerf.clock_weighing import Evidence, joint_covariance
from syncnerf.config import HeldOutConfig
from syncnerf.loss_curvature import loss_curvatures
from syncnerf.lost_clocks import find_lost
from syncnerf.modes import frozen
from syncnerf.scene.scene import Scene
from syncnerf.synced import SyncedBackend
from syncnerf.training.batches import Batches

logger = logging.getLogger(__name__)

PIXELS = 4096
"""Pixels of each camera that a reckoning looks at, through single rays."""
PIXELS_OF_VIEWS = 32768
"""The same where whole views are rendered, of which more pixels cost nothing."""
SHARES = (0.1, 0.25, 0.4, 0.7, 0.9)
"""Shares of the training after which there is a reckoning, beside its end.

The first after which most cameras are explained lets the clock move: a field follows the clock that it is trained with,
and the longer it does so with a wrong one, the longer it takes to turn round.
"""
NUDGE = 0.1
"""Frames by which times are moved to see how the loss bends."""
BATCHES = (4, 64)
"""Batches that each camera is looked for in, to see how the loss bends, and batches at most."""
ADAPTED = 2.0
"""A field that was trained on a camera's frames has followed that camera's clock in part: its evidence, with the field
held, moves back towards the truth by less than the clock is off, and claims more than it knows. Its errors are taken so
many times larger."""
MANY_CAMERAS = 12
"""With fewer of them each sees more that no other does, and the field follows its clock further: when all is learned,
the errors are taken as many times larger as these are more. (Measured with Gaussians, root mean square of errors in
stated ones: 0.4 to 0.9 with 9 cameras or more; with 7 in a garden and around spheres 1.0 to 2.0 without this.)"""
IMPROVEMENT = 2.0
"""What a field does not explain shrinks until the end of its training: the variance of its word to the exponential of
minus this many times the share of the training that is left. (Measured: by 1.2 to 2.5 from 70% on,
2.3 to 10 from 40%; in rooms the least.)"""
DISAGREEMENT = 3.0
"""Standard errors by which field and beforehand may differ without a word. (Where both were right it was 2.2 at most,
over 250 cameras of fifteen trainings.)"""


class Reckoner:
    """Reckons, at some steps of a training, how strongly its clock is to be held to what was known beforehand.

    Args:
        synced: clock and field.
        scene: cameras and frames.
        batches: the training's, whose loss is weighed against what was known.
        steps: length of the training.
        seed: choice of the pixels.
        search: how cameras are sought of whose clocks nothing was known.
    """

    def __init__(
        self,
        synced: SyncedBackend,
        scene: Scene,
        batches: Batches,
        steps: int,
        seed: int = 0,
        search: HeldOutConfig | None = None,
    ):
        self.synced, self.scene, self.batches = synced, scene, batches
        self.device, self.seed, self.search = synced.device, seed, search or HeldOutConfig()
        self.last, self.shares = steps, {round(share * steps) for share in SHARES}

    def __call__(self, done: int) -> bool:
        """Reckon where it is time for it, after so many steps; whether the clock's state was changed."""
        clock = self.synced.clock
        last = done == self.last
        if not clock.unknowns or not (last or (clock.reckoned and done in self.shares)):
            return False
        evidence = self._evidence(done)
        if last:
            evidence = evidence.widened(max(1.0, MANY_CAMERAS / len(self.scene.train)))
            if clock.reckoned:
                self._compare(evidence)
            # Offsets that are not learned are believed, and nothing is said of their errors.
            covariance = joint_covariance(clock, evidence) if clock.learned else clock.covariance
            clock.settle(covariance, evidence.readout_stderr)
        else:
            clock.hold_by(self._pull(evidence, done))
            if clock.pull > 0.0:
                find_lost(self.synced, self.scene, self.search, self.seed)
        return True

    def _pull(self, evidence: Evidence, done: int) -> float:
        """What turns the misfit to what was known, in variances, into the loss's unit; 0 where too few cameras tell.

        Field and what was known are weighed as they will be at the end, when the field has learned what is left.
        """
        left = 1.0 - done / self.last
        variances = evidence.of_all_frames[:, 0, 0] * math.exp(-IMPROVEMENT * left)
        told = variances.isfinite()
        if 2 * told.sum() < len(self.scene.train):
            return 0.0
        nudge = NUDGE * self.scene.frame_interval
        # By as much less does the loss bend once the field has followed.
        curvatures = loss_curvatures(self.synced, self._batches(done), done, nudge).cpu() / ADAPTED
        return max(0.0, float((curvatures * variances)[told & curvatures.isfinite()].median()))

    def _batches(self, done: int) -> Iterator[Batch]:
        """Batches of the training, until each camera was in some of them."""
        generator = torch.Generator().manual_seed(self.seed + done)
        wanted, most = BATCHES
        shown = torch.zeros(len(self.scene.cameras), dtype=torch.int64)
        for number in range(most):
            batch = self.batches.draw(generator, done + number)
            shown[batch.cameras.unique()] += 1
            yield batch.to(self.device)
            if shown[list(self.scene.train)].min() >= wanted:
                return

    def _evidence(self, done: int) -> Evidence:
        clock, scene = self.synced.clock, self.scene
        values, known = clock.middle_values(), clock.unknown_count
        unknowns = ("shift", "rate")[:known] + (("readout",) if "row_times" in clock.unknowns else ())
        covariances = torch.full((len(values), *[len(unknowns)] * 2), torch.inf, dtype=torch.float64)
        shares, seed = torch.ones(len(values), dtype=torch.float64), self.seed + 1_000_003 * done
        unknown, doubts = clock.prior.variances.isinf(), torch.zeros_like(shares)
        count = PIXELS_OF_VIEWS if self.synced.backend.renders_views else PIXELS
        # A rough field errs by more than it shows: before the end, more pixels would have it trusted too early.
        most_frames = FRAMES if done == self.last else None
        with frozen(self.synced):
            for camera in scene.train:
                # Readout times follow the gradient; here they only widen the errors of what they are confused with.
                _, fit, shares[camera] = trained_clock(
                    self.synced, scene, camera, count, seed, unknowns, most_frames
                )
                if fit is not None:
                    values[camera], covariances[camera] = fit.unknowns[:known].cpu(), ADAPTED**2 * fit.covariance.cpu()
                    doubts[camera] = fit.doubt if unknown[camera] else 0.0
        readout = covariances[:, known, known] if len(unknowns) > known else None
        return Evidence(values, covariances[:, :known, :known], readout, shares, doubts)

    def _compare(self, evidence: Evidence) -> None:
        """Warn of cameras of which the field says something else than was known beforehand."""
        clock = self.synced.clock
        errors = (evidence.covariances[:, 0, 0] + clock.prior.variances).sqrt()
        difference = evidence.values[:, 0] - clock.prior.values[:, 0].cpu()
        known = errors.isfinite()
        difference = difference - (difference[known].median() if known.any() else 0.0)
        for camera in (known & (difference.abs() > DISAGREEMENT * errors)).nonzero()[:, 0].tolist():
            better = evidence.covariances[camera, 0, 0] < clock.prior.variances[camera]
            logger.warning(
                "%s: the field puts its offset %.4f s from where it was known to be, %.1f standard errors away; %s has "
                "the smaller error of the two. If a file said so (--offset-init), run syncnerf sync again, or leave "
                "the camera out of it, and it is sought", self.scene.names[camera], difference[camera],
                (difference[camera] / errors[camera]).abs(), "the field" if better else "what was known",
            )  # fmt: skip
