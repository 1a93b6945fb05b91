"""TensorBoard curves and pictures of a run."""

from pathlib import Path

from jaxtyping import Float
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from syncnerf.clock import Clock


class Monitor:
    """Writes scalars and images.

    Args:
        folder: the run's folder.
        names: the cameras in order.
        frame_interval: seconds per frame; offset curves are in frames.
        resumed_at: step from which a resumed run continues; TensorBoard hides what was logged for later steps before.
    """

    def __init__(self, folder: Path, names: list[str], frame_interval: float, resumed_at: int = 0):
        self.writer = SummaryWriter(str(folder), purge_step=resumed_at or None)
        self.names, self.frame_interval = names, frame_interval

    def scalars(self, step: int, group: str, values: dict[str, float]) -> None:
        """Curves ``<group>/<name>``."""
        for name, value in values.items():
            self.writer.add_scalar(f"{group}/{name}", value, step)

    def clock(self, step: int, clock: Clock) -> None:
        """Curves per training camera: offset in frames, rate if it is learned, and how well its gradients agree."""
        frames = (clock.offsets().detach() / self.frame_interval).tolist()
        millionths = (clock.rates().detach() * 1e6).tolist()
        signal = list(clock.gradient_signal())
        for camera in clock.is_trained.nonzero()[:, 0].tolist():
            name = self.names[camera]
            self.scalars(step, "offset_frames", {name: frames[camera]})
            if "skews" in clock.unknowns:
                self.scalars(step, "rate_ppm", {name: millionths[camera]})
            if signal:
                self.scalars(step, "offset_gradient", {name: signal[camera][0]})
                self.scalars(step, "offset_gradient_agreement", {name: signal[camera][1]})

    def image(self, step: int, name: str, picture: Float[Tensor, "H W 3"]) -> None:
        """A picture [H, W, 3] in [0, 1]."""
        self.writer.add_image(name, picture.detach().cpu().clamp(0, 1), step, dataformats="HWC")

    def close(self) -> None:
        """Flush and close the event file."""
        self.writer.close()
