"""Block-sampled products as Pallas kernels: only the sampled blocks are read, and nothing is copied beforehand."""
