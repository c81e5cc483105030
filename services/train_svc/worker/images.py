"""Images of conversations: found by digest beside the rows, put where the text names them, read when a step needs them.

A message's content may be a list of parts: `{"type": "text", "text": ...}` and `{"type": "image", "image": <sha256>}`,
whose file lies in the dataset version as `images/<sha256>`.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from bessemer.kernel.errors import FailedPrecondition, InvalidRequest
from bessemer.modeling.chat import Message
from bessemer.modeling.tokenizer import Tokenizer
from bessemer.modeling.transformers_config import ImageInput
from torch import Tensor

from train_svc.worker.rows import Image

__all__ = ["Images", "has_images", "read_pixels"]

_DIGEST = re.compile(r"[0-9a-f]{64}")
_PIXELS_MAX = 64 << 20  # of a decoded image; a few bytes can claim any size
_FORMATS = ("PNG", "JPEG", "WEBP")


@dataclass(frozen=True)
class Images:
    """The image files of a dataset version, and how the model wants them."""

    folder: Path
    shape: ImageInput
    tokenizer: Tokenizer

    def write_out(self, messages: Sequence[Message]) -> tuple[list[Message], list[Path]]:
        """Return messages with plain text, in which each image stands as its tokens, and the files in that order.

        Raises: InvalidRequest for parts of another form, and for images that the version does not hold.
        """
        files: list[Path] = []
        flat: list[Message] = []
        for message in messages:
            content = message.get("content")
            if isinstance(content, list):
                content = "".join(self._part(part, files) for part in content)
            flat.append({**message, "content": content})
        return flat, files

    def place(self, ids: npt.NDArray[np.int64], files: Sequence[Path]) -> tuple[Image, ...]:
        """Return where the images of a conversation stand.

        Raises: InvalidRequest if its text holds image tokens of its own, or the template repeats or drops some.
        """
        places = np.flatnonzero(ids == self.shape.token_id)
        count = self.shape.num_tokens
        if len(places) != count * len(files):
            raise InvalidRequest(
                f"a conversation with {len(files)} images has {len(places)} image tokens instead of "
                f"{count * len(files)}; its text must not name them, and the chat template must keep them",
                reason="SOURCE_INVALID",
            )
        spans = places.reshape(len(files), count)
        return tuple(Image(file, int(s[0]), int(s[-1]) + 1) for file, s in zip(files, spans, strict=True))

    def _part(self, part: Any, files: list[Path]) -> str:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "text" and isinstance(part.get("text"), str):
            return str(part["text"])
        digest = part.get("image") if kind == "image" else None
        if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
            raise InvalidRequest(
                "a part of a message must be a text, or an image named by its sha256", reason="SOURCE_INVALID"
            )
        file = self.folder / "images" / digest
        if not file.is_file():
            raise InvalidRequest(f"the dataset version holds no file images/{digest}", reason="SOURCE_INVALID")
        files.append(file)
        return self._tokens()

    def _tokens(self) -> str:
        """Return the text of an image; models that know marks for the end of a line and of the image have them."""
        backend = self.tokenizer.backend
        token = str(backend.id_to_token(self.shape.token_id))
        marks = [mark if backend.token_to_id(mark) is not None else "" for mark in ("[IMG_BREAK]", "[IMG_END]")]
        side = self.shape.side
        if self.shape.form != "sized" or not all(marks):
            return token * self.shape.num_tokens
        return marks[0].join([token * side] * side) + marks[1]


def has_images(messages: Sequence[Message]) -> bool:
    """Whether any message holds an image."""
    parts = [part for m in messages if isinstance(m.get("content"), list) for part in m["content"]]
    return any(isinstance(part, dict) and part.get("type") == "image" for part in parts)


def read_pixels(path: Path, shape: ImageInput) -> Tensor:
    """Return an image as the vision part wants it, [3, size, size] in fp32.

    Raises: InvalidRequest for files that are no PNG, JPEG or WebP, or that are larger than 64 million pixels.
    """
    try:
        import PIL.Image
    except ImportError:
        raise FailedPrecondition(
            "reading images needs Pillow; install bessemer[train]", reason="FIELD_INVALID"
        ) from None
    try:
        with warnings.catch_warnings(), PIL.Image.open(path, formats=_FORMATS) as image:
            warnings.simplefilter("error")
            if image.width * image.height > _PIXELS_MAX:
                raise ValueError(f"{image.width} x {image.height} pixels")
            resized = image.convert("RGB").resize((shape.size, shape.size), PIL.Image.Resampling.BICUBIC)
            values = np.asarray(resized, np.float32) / 255
    except Exception as error:  # noqa: BLE001 - decoders raise errors of many kinds
        raise InvalidRequest(f"image {path.name[:12]} cannot be read: {error}", reason="SOURCE_INVALID") from None
    normalised = (values - np.array(shape.mean, np.float32)) / np.array(shape.std, np.float32)
    return torch.from_numpy(normalised.transpose(2, 0, 1).copy())
