"""Which weights lie in a folder, told from the bytes of its files: nothing here loads a model."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ragformer.errors import WeightsError

_BESIDE = ("config.json", "tokenizer.model", "tokenizer.json")


def weight_files(folder: Path) -> list[Path]:
    """The shards in `folder`, in order."""
    files = sorted(path for path in folder.glob("model*.safetensors") if path.is_file())
    if not files:
        raise WeightsError(f"there are no weights (model*.safetensors) in {folder}")
    return files


def weights_id(folder: Path) -> str:
    """The first 12 hex digits of the sha256 over the shards, config and tokenizer in `folder`.

    The same weights under another config (prefixes, for example) or tokenizer do other work.
    """
    beside = [path for name in _BESIDE if (path := folder / name).is_file()]
    digest = hashlib.sha256()
    for path in [*weight_files(folder), *beside]:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
