"""Imported models from the command line: brought in, used, asked and removed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from chat_checkpoint import write_checkpoint

Ragformer = Callable[..., Any]


@pytest.fixture
def imported(
    ragformer: Ragformer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    """A decoder imported as "qwen"; the user's configuration is a folder of its own."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    source = write_checkpoint(tmp_path / "Qwen", ["The notice period is two months."], 4096)
    ran = ragformer("models", "import", source, "--name", "qwen", "--json")
    assert ran.code == 0, ran.err
    found: dict[str, Any] = ran.json
    return found


def test_a_decoder_is_imported_used_and_removed(
    ragformer: Ragformer, imported: dict[str, Any], home: Path
) -> None:
    assert imported == {"path": str(home / "models" / "qwen"), "unused": [], "kind": "writer"}
    *ours, listed = ragformer("models", "list", "--json").json
    assert len(ours) == 2
    assert (listed["name"], listed["kind"], listed["in_use"]) == ("qwen", "writer", False)
    assert "qwen is in use as the writer" in ragformer("models", "use", "qwen").out
    assert ragformer("models", "list", "--json").json[-1]["in_use"]
    settings = ragformer("doctor", "--json").json["settings"]
    assert settings["writer"]["value"] == imported["path"]
    assert ragformer("models", "info", "qwen", "--json").json["config"]["kind"] == "decoder"
    assert ragformer("models", "use", "box", "--json").json == {"in_use": "box"}
    assert not ragformer("models", "list", "--json").json[-1]["in_use"]
    ragformer("models", "use", "qwen")
    assert ragformer("models", "rm", "qwen", "--json").json["removed"] == "qwen"
    assert not Path(imported["path"]).exists()
    assert ragformer("doctor", "--json").json["settings"]["writer"]["value"] is None
    gone = ragformer("models", "use", "qwen")
    assert (gone.code, "no imported model is called qwen" in gone.err) == (1, True)


def test_it_answers_by_name_with_quotations_that_hold(
    ragformer: Ragformer, imported: dict[str, Any], write_pdf: Callable[..., Path]
) -> None:
    ragformer("index", write_pdf("lease.pdf", "The notice period is two months."))
    ran = ragformer("ask", "How long is the notice period?", "--model", "qwen", "--json")
    assert ran.code in (0, 3), ran.err
    answer = ran.json
    assert answer["backend"] == "local"
    assert answer["model"] == ragformer("models", "list", "--json").json[-1]["id"]
    assert answer["confidence"] is None
    assert not answer["dropped"].get("quotes")
    assert all(citation["verified"] for citation in answer["citations"])


def test_a_folder_that_is_no_model_is_said(ragformer: Ragformer, tmp_path: Path) -> None:
    assert f"there is no model in {tmp_path}; give" in ragformer("models", "import", tmp_path).err
    (tmp_path / "config.json").write_text('{"model_type": "mamba"}')
    ran = ragformer("models", "import", tmp_path)
    assert (ran.code, "is of model_type 'mamba'" in ran.err) == (1, True)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    assert "is a BERT without modules.json" in ragformer("models", "import", tmp_path).err
    named = ragformer("models", "import", tmp_path, "--name", "../out")
    assert named.code == 1
