"""How this process computes: threads, determinism, number format, and what the machine can reach."""

from __future__ import annotations

import ctypes
import time
from typing import NamedTuple

import torch

from bessemer.kernel.errors import InvalidRequest

__all__ = ["Numerics", "prepare"]

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
_TRUE_FP32_ERROR = 1e-5
# Far from both: processors without bf16 instructions gain 0.01, those with them 1.25 to 2.3, and busy caches blur it.
_BF16_GAIN_MIN = 1.1
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -3, -4  # numbers of glibc's malloc.h


class Numerics(NamedTuple):
    """The number format to compute in, and the matrix product rate measured in it.

    Units: peak_flops in floating-point operations per second, all threads together.
    """

    dtype: torch.dtype
    peak_flops: float

    @property
    def name(self) -> str:
        """`fp32` or `bf16`."""
        return next(name for name, dtype in _DTYPES.items() if dtype == self.dtype)


def prepare(threads: int, dtype: str = "auto") -> Numerics:
    """Fix threads and deterministic algorithms, measure matrix products for about 0.3 s, choose the format.

    Raises: InvalidRequest unless `dtype` is auto, fp32 or bf16.
    """
    if dtype not in ("auto", *_DTYPES):
        raise InvalidRequest(f"dtype must be auto, fp32 or bf16; got {dtype!r}", field="recipe.dtype")
    # One thread is measured and multiplied: on a busy machine two would measure their waiting for each other.
    torch.set_num_threads(1)
    torch.set_float32_matmul_precision("medium")
    if _relative_error() > _TRUE_FP32_ERROR:  # with AMX "medium" rounds to bf16; then stay exact
        torch.set_float32_matmul_precision("highest")
    chosen = _fastest() if dtype == "auto" else _DTYPES[dtype]
    peak = threads * _gemm_flops(chosen, size=384)
    torch.set_num_threads(threads)
    _keep_freed_memory()
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined] # all we allocate we write
    return Numerics(chosen, peak)


def _keep_freed_memory() -> None:
    # By default glibc gives every large tensor back to the kernel, and zeroing it again took a third of a step.
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1)


def _fastest() -> torch.dtype:
    # Small products: without bf16 instructions large ones would take seconds.
    fp32, bf16 = (_gemm_flops(kind, size=96, budget_s=0.05) for kind in (torch.float32, torch.bfloat16))
    return torch.bfloat16 if bf16 > _BF16_GAIN_MIN * fp32 else torch.float32


def _relative_error() -> float:
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(64, 256, generator=generator), torch.randn(256, 64, generator=generator)
    exact = a.double() @ b.double()
    return float(((a @ b).double() - exact).abs().max() / exact.abs().max())


def _gemm_flops(dtype: torch.dtype, *, size: int, budget_s: float = 0.1) -> float:
    a, b = torch.ones(size, 2 * size, dtype=dtype), torch.ones(2 * size, 2 * size, dtype=dtype)
    best, end = float("inf"), time.perf_counter() + budget_s
    a @ b  # the first one builds kernels
    while best == float("inf") or time.perf_counter() < end:
        start = time.thread_time()  # time of this thread only: other processes do not count
        a @ b
        best = min(best, time.thread_time() - start)
    return 2.0 * size * (2 * size) ** 2 / best
