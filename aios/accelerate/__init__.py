"""Fast paths for a loaded network: CPU sampling, int8, bf16, Triton kernels, CUDA graphs.

`speed.accelerate` replaces modules of a network from outside. Each replacement has a test that
compares it with the plain module. May import `aios.network` and `aios.geometry`.
"""
