"""Which pixels, at which frames, a training step sees."""
