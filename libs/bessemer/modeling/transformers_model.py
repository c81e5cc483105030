"""Any language model that transformers has a class for, behind the interface of our own decoder.

Packed documents never see each other (`transformers_attention`), the load of experts is watched and evened out whether
or not the class knows how, and adapters cover every linear map. Where an architecture carries state from token to
token by other means than attention, packing would leak: the first call finds out, and from then on every document goes
through alone.
"""

from __future__ import annotations

import inspect
import logging
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bessemer.kernel.errors import InvalidRequest
from bessemer.modeling.balance import Balance
from bessemer.modeling.transformers_attention import ATTENTION, documents, register
from bessemer.modeling.transformers_config import TransformersConfig, net_class, parse_config

__all__ = ["TransformersModel"]

_LOG = logging.getLogger(__name__)
_TOLERANCE = 1e-3  # of the range of a value; wrong arithmetic is off by tenths


class TransformersModel(nn.Module):
    """A model of transformers; parameters have its names."""

    def __init__(self, config: TransformersConfig, net: Any) -> None:
        """Take over a model made with our attention.

        Raises: InvalidRequest if its logits are not those of a plain head on its hidden states.
        """
        super().__init__()
        self.config = config
        self.net = net
        # Arguments of the part below the head.
        self._inner = net.model if hasattr(net, "model") else net.base_model
        self._balances = _watch_routers(net)
        try:
            self._packs = self._check()
        except (TypeError, AttributeError) as error:
            raise InvalidRequest(
                f"the class of {config.model_type} cannot be driven with positions and packed rows: {error}",
                field="config.json:model_type",
            ) from None

    @staticmethod
    def create(config: TransformersConfig, dtype: torch.dtype = torch.float32) -> TransformersModel:
        """Return a model with weights as the class draws them from torch's generator."""
        net = net_class(config.model_type)._from_config(_ours(config), dtype=dtype)  # noqa: SLF001 - the way to state a dtype
        return TransformersModel(config, net.eval())

    @staticmethod
    def load(folder: Path, config: TransformersConfig, dtype: torch.dtype) -> TransformersModel:
        """Read a folder in Hugging Face layout.

        Raises: InvalidRequest if tensors are missing, extra, or of another shape.
        """
        file = next(iter(sorted(folder.glob("*.safetensors"))), folder / "model.safetensors")
        try:
            net, info = net_class(config.model_type).from_pretrained(
                folder,
                config=_ours(config),
                dtype=dtype,
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # they are reported, and refused below with their names
            )
        except Exception as error:  # noqa: BLE001 - the library raises errors of many kinds
            raise InvalidRequest(
                f"{folder.name} cannot be read: {str(error)[:300]}", reason="SOURCE_INVALID", file=file.name
            ) from None
        for what in ("missing_keys", "unexpected_keys", "mismatched_keys"):
            if info.get(what):
                names = sorted(map(str, info[what]))
                raise InvalidRequest(
                    f"{len(names)} {what.replace('_', ' ')} in {file.name}, such as {names[0]}",
                    reason="SOURCE_INVALID",
                    file=file.name,
                )
        return TransformersModel(config, net.eval())

    @property
    def head(self) -> Tensor:
        """The output weight, [V, hidden]."""
        weight = self.net.get_output_embeddings().weight
        assert isinstance(weight, Tensor)
        return weight

    @property
    def dtype(self) -> torch.dtype:
        """Number format of the weights."""
        return self.head.dtype

    @property
    def packs(self) -> bool:
        """Whether documents may go through side by side; otherwise they go through one by one."""
        return self._packs

    def forward(self, ids: Tensor, positions: Tensor, lengths: list[int], pixels: Tensor | None = None) -> Tensor:
        """Return the hidden states of packed documents, [T, hidden]; `lengths` sum to T.

        Shapes: pixels [N, 3, size, size] for images in the order of their tokens.
        """
        if self._packs or len(lengths) == 1:
            return self._hidden(ids, positions, lengths, pixels)
        outs, begin, used = [], 0, 0
        for length in lengths:
            part = slice(begin, begin + length)
            begin += length
            own = None
            if pixels is not None:
                assert self.config.image is not None
                count = int((ids[part] == self.config.image.token_id).sum()) // self.config.image.num_tokens
                own, used = (pixels[used : used + count] if count else None), used + count
            outs.append(self._hidden(ids[part], positions[part], [length], own))
        return torch.cat(outs)

    def logits(self, hidden: Tensor) -> Tensor:
        """Map hidden states [T, hidden] to logits [T, V]."""
        return nn.functional.linear(hidden, self.head)

    def continued(self, ids: Tensor, cache: Any, pixels: Tensor | None = None) -> tuple[Tensor, Any]:
        """Return the hidden states of more tokens of sequences of equal length, [B, T, hidden], and their cache.

        Shapes: ids [B, T]; `cache` is what the call before returned, None at first.
        """
        with documents(None):
            out = self._inner(
                input_ids=ids, use_cache=True, **{self._cache_name: cache}, **self._image_arguments(pixels)
            )
        return out.last_hidden_state, out[self._cache_name]

    def balances(self) -> list[Balance]:
        """Return the load of each layer whose router could be watched."""
        return self._balances

    def linear_maps(self) -> list[tuple[nn.Module, str]]:
        """Return modules and parameter names of all maps of the language model and the projector, without routers."""
        maps: list[tuple[nn.Module, str]] = []
        head = self.net.get_output_embeddings()
        for path, module in self.net.named_modules():
            if "vision" in path or module is head or path.rsplit(".", 1)[-1] in {"gate", "router"}:
                continue
            if isinstance(module, nn.Linear):
                maps.append((module, "weight"))
            elif path.endswith("experts"):
                maps += [(module, name) for name, p in module.named_parameters(recurse=False) if p.dim() == 3]
        return maps

    def layers(self) -> list[nn.Module]:
        """Return the layers of the language model, those with the most weights."""
        lists = [module for module in self.net.modules() if isinstance(module, nn.ModuleList)]
        largest: nn.ModuleList = max(lists, key=_num_weights)
        return list(largest)

    def projector(self) -> list[nn.Parameter]:
        """Return the weights between vision and language."""
        return [
            parameter for name, parameter in self.net.named_parameters() if "projector" in name or ".connector." in name
        ]

    def save(self, folder: Path) -> None:
        """Write the weights under the names that files of this architecture have."""
        self.net.save_pretrained(folder, max_shard_size="100000GB")
        (folder / "generation_config.json").unlink(missing_ok=True)  # made up; that of the model is copied by its owner

    @property
    def _cache_name(self) -> str:
        # transformers 5.24 renamed it.
        return "cache" if "cache" in inspect.signature(self._inner.forward).parameters else "past_key_values"

    def _hidden(self, ids: Tensor, positions: Tensor, lengths: list[int], pixels: Tensor | None) -> Tensor:
        with documents(lengths):
            out = self._inner(
                input_ids=ids[None],
                position_ids=positions[None],
                use_cache=False,
                **self._image_arguments(pixels),
            )
        hidden: Tensor = out.last_hidden_state[0]
        return hidden

    def _image_arguments(self, pixels: Tensor | None) -> dict[str, Tensor]:
        image = self.config.image
        if pixels is None or image is None:
            return {}
        pixels = pixels.to(self.dtype)
        if image.form == "nested":
            return {"pixel_values": pixels[None]}
        if image.form == "sized":
            return {"pixel_values": pixels, "image_sizes": torch.tensor([[image.size, image.size]] * len(pixels))}
        return {"pixel_values": pixels}

    def _check_images(self) -> None:
        image = self.config.image
        if image is not None:
            blank = torch.full((1, 3, image.size, image.size), 0.5, dtype=self.dtype)
            found = self._inner.get_image_features(**self._image_arguments(blank), return_dict=True)
            count = sum(len(part.flatten(0, -2)) for part in getattr(found, "pooler_output", found))
            if count != image.num_tokens:
                raise InvalidRequest(
                    f"an image gives {count} vectors, the configuration says {image.num_tokens} tokens",
                    field="config.json:vision_config",
                )

    @torch.no_grad()
    def _check(self) -> bool:
        """Return whether documents can be packed.

        Raises: InvalidRequest if the model does more after its hidden states than multiply them with its head.
        """
        if self.head.is_meta:
            return True
        self._check_images()
        length = min(12, self.config.context_length)
        image = -1 if self.config.image is None else self.config.image.token_id
        ids = torch.tensor([i for i in range(self.config.vocab_size) if i != image][: 2 * length])
        length = len(ids) // 2
        alone = self._hidden(ids[length : 2 * length], torch.arange(length), [length], None)
        with documents([length]):
            said = self.net(input_ids=ids[None, length : 2 * length], use_cache=False).logits[0]
        if _differ(self.logits(alone), said):
            raise InvalidRequest(
                f"models of type {self.config.model_type} change their logits after the head, which is not supported",
                field="config.json:model_type",
            )
        positions = torch.arange(length).repeat(2)
        packed = self._hidden(ids[: 2 * length], positions, [length, length], None)[length:]
        leaks = _differ(packed, alone)
        if leaks:
            _LOG.warning("%s leaks between packed documents; they go through one by one", self.config.model_type)
        return not leaks


def _ours(config: TransformersConfig) -> Any:
    """Return the configuration with our attention in the language part."""
    register()
    parsed = parse_config(config.raw)
    text = parsed.get_text_config()
    text._attn_implementation = ATTENTION  # noqa: SLF001 - the name transformers documents for sub-configurations
    if text is not parsed:
        for key in parsed.sub_configs:
            part = getattr(parsed, key)
            if part is not text:
                part._attn_implementation = "sdpa"  # noqa: SLF001 - the same
        parsed._attn_implementation_internal = ATTENTION  # noqa: SLF001 - without a dict over its parts
    return parsed


def _watch_routers(net: nn.Module) -> list[Balance]:
    """Count what routers choose; those that return (logits [T, E], weights [T, K], chosen [T, K]) can be watched."""
    balances = []
    for module in net.modules():
        router = getattr(module, "gate", None) or getattr(module, "router", None)
        number = getattr(router, "num_experts", 0)
        if isinstance(router, nn.Module) and isinstance(getattr(module, "experts", None), nn.Module) and number:
            balance = Balance(int(number))
            router.register_forward_hook(_balanced(balance))
            balances.append(balance)
    return balances


def _balanced(balance: Balance) -> Any:
    def hook(_module: nn.Module, _inputs: object, outputs: Any) -> Any:
        if not (isinstance(outputs, tuple) and len(outputs) == 3):
            return outputs
        logits, weights, chosen = outputs
        return logits, balance(weights, logits.float().softmax(-1), chosen), chosen

    return hook


def _num_weights(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def _differ(a: Tensor, b: Tensor) -> bool:
    a, b = a.float(), b.float()
    tolerance = _TOLERANCE if a.dtype == torch.float32 else 20 * _TOLERANCE
    return not bool((a - b).abs().max() <= tolerance * b.abs().max().clamp(min=1e-6))
