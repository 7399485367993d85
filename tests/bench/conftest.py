"""Texts to search in and to read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest


@pytest.fixture
def reading_file(tmp_path: Path) -> Path:
    """Five contexts with a question each."""
    rows = [
        {
            "id": animal,
            "title": f"The {animal}",
            "context": f"By day the {animal} hunts for food at the river, alone.",
            "question": f"What does the {animal} hunt for?",
            "answers": [{"text": "food", "start": 0}],
            "answerable": True,
        }
        for animal in ["otter", "falcon", "beetle", "salmon", "badger"]
    ]
    path = tmp_path / "reading.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return path
