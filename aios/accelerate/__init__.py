"""Fast paths for a loaded network, installed from outside by one call.

`install.accelerate(network, device, speed, calibration_photos)` prepares a network for inference,
`install.accelerate_training(network)` for training. Both replace modules of the plain network:

* inference: `fold_batch_norm` folds frozen batch norm into convolutions;
* inference on a CPU: `cpu` and `padded_levels` replace encoder and decoder; for speed "fast",
  `int8`, `int8_layers` and `int8_scale` convert large products to 8 bits;
* everywhere: `person_attention` computes self-attention among people in blocks;
* CUDA: `kernel_attention` and `deformable_kernel` sample deformable attention; for speed "fast",
  `bf16` and `bf16_layers` compute large products in bf16, `fused` and `fused_kernels` fuse the
  steps between them, and `cuda_graphs` launches all kernels as one.

`self_test` compares a kernel with the plain form on its device before the first use. `tf32` sets
the precision of CUDA products for a block of code. `tests/accelerate` compares every fast path
with the plain network. May import `aios.network` and `aios.geometry`.
"""
