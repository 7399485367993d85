"""Chat with a folder of PDFs, privately, on transformers written and trained here.

    library = ragformer.open_library()
    for step in library.index([Path("documents")]): ...
    print(library.ask("How long is the warranty?").text)

Names are loaded when first used: `import ragformer` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ragformer.answer.reader import load_decoder
    from ragformer.errors import RagformerError
    from ragformer.library import Library, open_library
    from ragformer.retrieve.embed import load_encoder
    from ragformer.types import (
        Answer,
        Citation,
        Document,
        FileOutcome,
        Page,
        Passage,
        Progress,
        RemoteModel,
        Report,
        Span,
        Word,
    )

__all__ = [
    "Answer",
    "Citation",
    "Document",
    "FileOutcome",
    "Library",
    "Page",
    "Passage",
    "Progress",
    "RagformerError",
    "RemoteModel",
    "Report",
    "Span",
    "Word",
    "load_decoder",
    "load_encoder",
    "open_library",
]

_ELSEWHERE = {
    "Library": "ragformer.library",
    "RagformerError": "ragformer.errors",
    "load_decoder": "ragformer.answer.reader",
    "load_encoder": "ragformer.retrieve.embed",
    "open_library": "ragformer.library",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'ragformer' has no attribute {name!r}")
    return getattr(importlib.import_module(_ELSEWHERE.get(name, "ragformer.types")), name)
