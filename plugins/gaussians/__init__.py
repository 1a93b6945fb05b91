"""Moving Gaussians as a backend: whole pictures of any moment in milliseconds."""
