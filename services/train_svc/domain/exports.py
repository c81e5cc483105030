"""Which formats a model can be taken away in, and in which number formats each is written."""

from __future__ import annotations

from bessemer.kernel.errors import InvalidRequest

__all__ = ["FORMATS", "precision_of"]

# Format to its number formats, the usual one first.
FORMATS = {
    "safetensors": ("fp32", "bf16", "fp16"),
    "gguf": ("fp16", "fp32", "bf16", "int8", "int4"),
    "onnx": ("fp32", "int8", "int4"),
    "openvino": ("fp32", "int8"),
}


def precision_of(form: str, precision: str) -> str:
    """Return the number format to write: what is asked for, or the usual one.

    Raises: InvalidRequest.
    """
    if form not in FORMATS:
        raise InvalidRequest(
            f"format must be one of {', '.join(FORMATS)}; got {form!r}", field="model_job.export.format"
        )
    known = FORMATS[form]
    if precision and precision not in known:
        raise InvalidRequest(
            f"{form} is written in {', '.join(known)}; got {precision!r}", field="model_job.export.precision"
        )
    return precision or known[0]
