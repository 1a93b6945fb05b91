"""MixVoxels (Wang et al., ICCV 2023, arXiv 2212.00190) as a backend of syncnerf."""
