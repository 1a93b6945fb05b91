"""The table that a run ends with."""

import math

import torch

from syncnerf.clock import Clock
from syncnerf.evaluation.evaluate import Evaluation
from syncnerf.evaluation.offset_errors import aligned_errors, relative_rates
from syncnerf.offset_fit import OffsetFit
from syncnerf.scene.scene import Scene
from syncnerf.scene.true_offsets import PARTS_PER_MILLION


def result_table(
    scene: Scene, clock: Clock, fits: list[OffsetFit], before: Evaluation, after: Evaluation | None
) -> str:
    """Per camera the recovered offset, the true one and the error in frames; then PSNR and SSIM before and after.

    True offsets are shifted by the median difference over the training cameras, the part that nothing can observe.

    Args:
        scene: names, split and ground truth.
        clock: offsets and their standard errors.
        fits: test-time fits.
        before: scores with the test cameras at offset 0.
        after: scores with the fitted offsets, or None.
    """
    interval, errors, offsets = scene.frame_interval, None, clock.offsets().detach().cpu()
    known = clock.stderr().cpu().isfinite()
    known[scene.reference] = False
    if scene.true_offsets is not None:
        errors = aligned_errors(offsets, scene)[0]
    fitted = {fit.camera: fit for fit in fits}
    lines = [f"{'camera':<12} {'recovered':>10} {'true':>10} {'error':>8}   (frames)"]
    for index, name in enumerate(scene.names):
        if index in scene.test and index not in fitted:
            continue
        if index in fitted and fitted[index].reason:
            lines.append(f"{name:<12} {'-':>10} {'-':>10} {'-':>8}   test camera, undetermined: {fitted[index].reason}")
            continue
        value = offsets[index].item()
        true = error = "-"
        if errors is not None:
            true, error = f"{(value - errors[index].item()) / interval:.3f}", f"{errors[index].item() / interval:+.3f}"
        note = ""
        if index == scene.reference:
            note = "reference"
        elif index in fitted:
            note = f"test camera, fitted, standard error {fitted[index].stderr / interval:.3f}"
        elif not known[index] and known.any():
            note = "undetermined: neither its motion nor the field tells"
        if index in scene.train:
            note = "; ".join(filter(None, [note, *_learned_beside(scene, clock, index)]))
        lines.append(f"{name:<12} {value / interval:>10.3f} {true:>10} {error:>8}   {note}".rstrip())
    if clock.learned and len(scene.train) > 1 and not known[list(scene.train)].any():
        lines.append("no standard errors: neither motion nor the field tells these offsets yet; train longer")
    if errors is not None:
        size = errors[torch.tensor(scene.train)].abs() / interval
        lines.append(f"training cameras: mean absolute error {size.mean():.4f} frame, largest {size.max():.4f}")
    if lost := [scene.names[fit.camera] for fit in fits if fit.reason]:
        lines.append(f"scored at offset 0 for want of a fit: {', '.join(lost)}")
    for label, scores in (("before the test-time fit", before), ("after the test-time fit", after)):
        if scores is not None:
            lines.append(_scores(label, scores))
    return "\n".join(lines)


def _learned_beside(scene: Scene, clock: Clock, camera: int) -> list[str]:
    """What a trained camera's clock has learned beside its offset: a rate, but for the reference, and a readout."""
    said = []
    if "skews" in clock.unknowns and camera != scene.reference:
        rate, error = clock.rates()[camera].item(), clock.rates_stderr()[camera].item()
        true = None if scene.true_rates is None else relative_rates(scene.true_rates, scene.reference)[camera].item()
        said.append(_measured("rate", rate, error, true, PARTS_PER_MILLION, "ppm"))
    if "row_times" in clock.unknowns:
        true = None if scene.true_row_times is None else scene.true_row_times[camera].item()
        found, error = clock.row_times[camera].item(), clock.readout_stderr[camera].item()
        said.append(_measured("readout", found, error, true, 1e-3, "ms"))
    return said


def _measured(what: str, value: float, error: float, true: float | None, unit: float, sign: str) -> str:
    """A value with its standard error, where it is known, and the true one, where that is; in a unit."""
    spread = f" +- {error / unit:.1f}" if math.isfinite(error) else ""
    known = "" if true is None else f" (true {true / unit:+.1f})"
    return f"{what} {value / unit:+.1f}{spread} {sign}{known}"


def _scores(label: str, evaluation: Evaluation) -> str:
    psnr, ssim = evaluation.mean["psnr"], evaluation.mean["ssim"]
    shown = ["-" if value is None else f"{value:.{digits}f}" for value, digits in ((psnr, 2), (ssim, 4))]
    own = evaluation.mean["psnr_colours"]
    colours = "" if own is None else f" ({own:.2f} with the camera's fitted colours)"
    line = f"{label:<25} PSNR {shown[0]} dB{colours}   SSIM {shown[1]}   (protocol {evaluation.protocol.name})"
    apart = evaluation.unseen_count
    if apart:
        line += (
            f"\n{'':<25} over {len(evaluation.frames) - apart} of {len(evaluation.frames)} frames; the other {apart} "
            f"are at moments that no training camera saw (PSNR {evaluation.unseen['psnr']:.2f} dB)"
        )
    return line
