"""JSON Lines read back as written, and a fault is named with its file and line."""

from __future__ import annotations

import json
import lzma

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragformer.errors import InputError
from ragformer.text.jsonl import read_jsonl, read_lines

values = st.none() | st.integers(-9, 9) | st.text(st.characters(codec="utf-8"), max_size=5)
rows = st.lists(st.dictionaries(st.text(st.characters(codec="utf-8")), values, max_size=3))


@given(rows, st.booleans(), st.booleans())
def test_rows_come_back_in_order(tmp_path_factory, written, packed, ascii_only):
    text = "\n\n".join(json.dumps(row, ensure_ascii=ascii_only) for row in written)
    path = tmp_path_factory.mktemp("rows") / ("a.jsonl.xz" if packed else "a.jsonl")
    path.write_bytes(lzma.compress(text.encode()) if packed else text.encode())
    assert list(read_jsonl(path)) == written


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'{"a": 1}\n{"a": \n', "line 2 is not JSON"),
        ("a.jsonl", b"[1]\n", "line 1 is not a JSON object"),
        ("a.jsonl", b"[" * 100_000, "line 1 is not JSON"),
        ("a.jsonl", rb'{"a": "\uD800"}', "line 1 is not JSON: .* surrogates not allowed"),
        ("a.jsonl", b"\xff\n", "is not UTF-8 text"),
        ("a.jsonl.xz", b"{}\n", "is not an xz file of UTF-8 text"),
        ("a.jsonl.xz", lzma.compress(b'{"a": 1}\n' * 9)[:-20], "is not an xz file"),
    ],
)
def test_a_fault_is_one_sentence(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        list(read_jsonl(tmp_path / name))


def test_lines_keep_their_numbers(tmp_path):
    (tmp_path / "a.tsv").write_text("one\n\n \nfour\n")
    assert list(read_lines(tmp_path / "a.tsv")) == [(1, "one\n"), (4, "four\n")]
    with pytest.raises(InputError, match="there is no file"):
        list(read_lines(tmp_path / "none"))
