"""K-Planes (Fridovich-Keil et al., CVPR 2023, arXiv 2301.10241) as a backend of syncnerf."""
