"""JSON as it goes out: UTF-8, whatever a file's name is made of."""

from __future__ import annotations

import json
from typing import Any

from fastapi.responses import JSONResponse


def as_json(value: Any) -> bytes:
    """What is no UTF-8 in it, as in names from old disks, becomes question marks: half the clients
    there are cannot read a lone surrogate."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")


class Json(JSONResponse):
    """`as_json`, of what an endpoint returns."""

    def render(self, content: Any) -> bytes:
        return as_json(content)
