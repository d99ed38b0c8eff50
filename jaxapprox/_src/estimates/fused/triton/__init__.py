"""The kernels for NVIDIA GPUs, by Pallas's Triton backend: what they read of a sample they load themselves."""
