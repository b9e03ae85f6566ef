"""Passes over graphs. Those that use what a net file says to run the net faster can be switched off by name."""

OPTIONAL = ("halo_elision", "interpolation", "scale_fusion", "norm_folding", "winograd", "cuda_graphs")
