"""Adapters merged into their base: the comparison that every merge passes, and adapters that come from elsewhere."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from bessemer.api.train.v1.model_pb2 import ParityReport
from bessemer.kernel.errors import FailedPrecondition
from bessemer.modeling.adapter_files import ADAPTER_FILES, add_adapter, save_adapter
from bessemer.modeling.load import load_decoder, save_model
from bessemer.modeling.lora import merged_weights
from bessemer.modeling.parity.compare import compare, require
from bessemer.modeling.parity.subjects import TorchSubject, probes_of
from bessemer.modeling.transformer import Transformer

from train_svc.worker.model_folder import ADAPTER_FOLDER, TOKENIZER_FILES

__all__ = ["is_adapter", "keep_adapter", "merge_adapter", "merged_parity"]


def is_adapter(folder: Path) -> bool:
    """Say whether a folder holds adapters and not a model."""
    return (folder / ADAPTER_FILES[0]).is_file()


def keep_adapter(model: Transformer, folder: Path) -> int:
    """Write adapters beside the merged weights of a model folder, for engines of the base, and return their rank.

    With routed experts nothing is written, and the rank is 0: no engine takes such adapters.
    """
    return 0 if model.config.experts is not None else save_adapter(model, folder / ADAPTER_FOLDER)


def merge_adapter(raw: Path, base: Path, folder: Path) -> tuple[Transformer, int]:
    """Write the model that an adapter makes of its base, with the adapter beside it; return both apart, and the rank.

    Raises: InvalidRequest if it does not fit the base; FailedPrecondition TOKENIZER_MISMATCH if it brings new tokens.
    """
    _check_tokens(raw, base)
    model = load_decoder(base)
    rank = add_adapter(model, raw)
    save_model(model, folder, weights=merged_weights(model))
    for name in TOKENIZER_FILES:
        if (base / name).is_file():
            shutil.copyfile(base / name, folder / name)
    (folder / ADAPTER_FOLDER).mkdir()
    for name in ADAPTER_FILES:
        shutil.copyfile(raw / name, folder / ADAPTER_FOLDER / name)
    return model, rank


def merged_parity(base: Path, model: Transformer, folder: Path, check: Callable[[], None]) -> ParityReport:
    """Compare what was merged and stored with the adapters beside their base.

    Raises: FailedPrecondition PARITY_FAILED if it says something else.
    """
    reference = TorchSubject(base, model)
    report = compare(reference, TorchSubject(folder), probes_of(reference), hop="merge", precision="fp32", check=check)
    return require(report)


def _check_tokens(raw: Path, base: Path) -> None:
    given, known = raw / "tokenizer.json", base / "tokenizer.json"
    if given.is_file() and _tokens(given) != _tokens(known):
        raise FailedPrecondition(
            "the adapter brings a tokenizer.json with other tokens than its base has; merge it where it was trained "
            "and import the whole model",
            reason="TOKENIZER_MISMATCH",
        )


def _tokens(file: Path) -> dict[str, int]:
    content = json.loads(file.read_text(encoding="utf-8"))
    added = {token["content"]: token["id"] for token in content.get("added_tokens", [])}
    vocabulary: dict[str, int] = content["model"]["vocab"]
    return {**vocabulary, **added}
