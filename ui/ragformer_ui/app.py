"""What `streamlit run` serves: the script, and a gate before the files that a browser sends.

Importing the pages here makes the first visit as quick as any other.
"""

from __future__ import annotations

import gc
import importlib
from pathlib import Path

import streamlit as st
from starlette.middleware import Middleware

import ragformer_ui.chat
import ragformer_ui.documents
import ragformer_ui.evaluation
import ragformer_ui.lessons  # noqa: F401
from ragformer_ui.guard import UploadGate

importlib.import_module("pandas")  # Streamlit would at the first table
gc.freeze()  # Streamlit collects garbage after every run: what is here stays, so it need not look


def _address() -> str | None:
    address: str | None = st.get_option("server.address")
    return address


app = st.App(
    Path(__file__).with_name("script.py"),
    middleware=[Middleware(UploadGate, address=_address)],
)
