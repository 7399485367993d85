"""The one place that reads the environment and toml files.

    flag > RAGFORMER_<NAME> > ./ragformer.toml > the user's config.toml > default

Each value remembers which of these it came from. Nothing is read or made at import.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import platformdirs
import tomlkit

from ragformer.errors import ConfigError, NotFoundError
from ragformer.types import OPENAI_URL, RemoteModel

PREFIX = "RAGFORMER_"
PROJECT_FILE = "ragformer.toml"
DEFAULT_COLLECTION = "default"
BACKENDS = ("local", "openai")
DECODINGS = ("span", "free")
WRITER_DTYPES = ("auto", "float32", "bfloat16", "float16", "int8", "int4")
UI_PASSWORD = "RAGFORMER_UI_PASSWORD"
SERVE_TOKEN = "RAGFORMER_SERVE_TOKEN"
# Not settings, but ours: full tracebacks from the command line, and what opens page and service.
_OTHER_VARIABLES = frozenset({"RAGFORMER_DEBUG", UI_PASSWORD, SERVE_TOKEN})
Backend = RemoteModel | Path | Literal["local", "openai"] | None
"""What writes answers; "openai" is the RemoteModel of settings and environment, a path the folder
of an imported decoder."""
_COLLECTION_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class Settings:
    """Every setting with its value; `origins` says where each came from.

    home: where the collections lie. k: passages a question gets. threads: torch's; 0 lets torch
    choose. workers: processes that read PDFs; 0 means one a core, at most 4. threshold: the
    confidence below which an answer is withheld; None means the model's own. models: the folder
    with encoder/ and decoder/; None means the one that came with the program. encoder: the folder
    of an encoder, in place of the one in `models`. writer: the folder of an imported decoder that
    writes answers in our decoder's place. backend: "local" for either of them, "openai" for a
    server. decoding: how our decoder words a short answer, "span" for
    a run of a passage's characters or "free". writer_dtype: what an imported decoder's weights are
    in when it writes; "auto" for the quickest that loses nothing. openai_model, openai_context,
    openai_timeout: as in RemoteModel. ray_address: the Ray cluster whose nodes are asked for a
    collection in shards, as "10.0.0.1:6379", or "local" for one of this machine alone; "" asks
    them in this process.
    """

    home: Path
    collection: str
    k: int
    threads: int
    workers: int
    threshold: float | None
    models: Path | None
    encoder: Path | None
    writer: Path | None
    backend: str
    decoding: str
    writer_dtype: str
    openai_model: str
    openai_context: int
    openai_timeout: int
    ray_address: str
    origins: dict[str, str]

    @property
    def collections(self) -> Path:
        """The folder that holds a folder for each."""
        return self.home / "collections"

    @property
    def models_home(self) -> Path:
        """The folder that holds imported models."""
        return self.home / "models"

    def remote_model(self, backend: Backend = None) -> RemoteModel | None:
        """The server that writes answers, if any; backend None: as set.

        OPENAI_BASE_URL and OPENAI_API_KEY are read here and nowhere else. Raises ConfigError where
        the key is missing or the URL is none.
        """
        if isinstance(backend, RemoteModel):
            return backend
        if isinstance(backend, Path) or (backend or self.backend) == "local":
            return None
        return RemoteModel(
            self.openai_model,
            os.environ.get("OPENAI_BASE_URL", "").strip() or OPENAI_URL,
            os.environ.get("OPENAI_API_KEY", "").strip(),
            self.openai_context,
            self.openai_timeout,
        )


def load_settings(**flags: object) -> Settings:
    """All settings; a flag that is None was not given.

    Raises ConfigError for an unknown name, with the likeliest meant one, or an unusable value.
    """
    values: dict[str, Any] = _defaults()
    origins = dict.fromkeys(values, "default")
    for origin, pairs in _sources(flags):
        for name, raw in pairs:
            values[name] = _parse(name, raw, origin)
            origins[name] = origin
    return Settings(**values, origins=origins)


def set_for_user(name: str, value: str | None) -> None:
    """Write a setting into the user's config.toml, or take it out; the rest stays as it is.

    Raises ConfigError where the file cannot be read or written.
    """
    file = user_config_file()
    _read_toml(file)  # says what is wrong with it
    try:
        told = tomlkit.parse(file.read_text("utf-8")) if file.exists() else tomlkit.document()
        if value is not None:
            told[name] = value
        elif name in told:
            del told[name]
        else:
            return
        file.parent.mkdir(parents=True, exist_ok=True)
        scratch = file.with_suffix(".partial")
        scratch.write_text(tomlkit.dumps(told), encoding="utf-8")
        scratch.replace(file)
    except OSError as error:
        raise ConfigError(f"{file} cannot be written: {error.strerror}") from error


def ui_password() -> str:
    """What the page asks for before it shows anything; "" where none is set."""
    return os.environ.get(UI_PASSWORD, "")


def serve_token() -> str:
    """What the service asks of whoever uses it; "" where none is set."""
    return os.environ.get(SERVE_TOKEN, "")


def user_config_file() -> Path:
    return platformdirs.user_config_path("ragformer", appauthor=False) / "config.toml"


def models_folder() -> Path:
    """The folder with encoder/ and decoder/: the one set, the wheel's own, or the checkout's."""
    chosen = load_settings().models
    if chosen is not None:
        return chosen
    package = Path(__file__).parent
    # The wheel's first: beside an installed package, models/ would be somebody else's.
    for folder in (package / "models", package.parent / "models"):
        if folder.is_dir():
            return folder
    raise NotFoundError(
        f"there is no models folder in {package} or beside it; "
        "install ragformer again, or set RAGFORMER_MODELS to a folder with encoder/ and decoder/"
    )


def model_folder(kind: Literal["encoder", "decoder"], override: Path | None = None) -> Path:
    """The folder of the encoder's or decoder's weights, `override` if given."""
    if override is None and kind == "encoder":
        override = load_settings().encoder
    folder = models_folder() / kind if override is None else override
    if not folder.is_dir():
        raise NotFoundError(
            f"there is no {kind} in {folder}; check RAGFORMER_MODELS and RAGFORMER_ENCODER"
        )
    return folder


def _defaults() -> dict[str, Any]:
    return {
        "home": platformdirs.user_data_path("ragformer", appauthor=False),
        "collection": DEFAULT_COLLECTION,
        "k": 8,
        "threads": 0,
        "workers": 0,
        "threshold": None,
        "models": None,
        "encoder": None,
        "writer": None,
        "backend": "local",
        "decoding": "span",
        "writer_dtype": "auto",
        "openai_model": "",
        "openai_context": 8192,
        "openai_timeout": 120,
        "ray_address": "",
    }


def _sources(flags: dict[str, object]) -> Iterator[tuple[str, Iterable[tuple[str, object]]]]:
    """(origin, its name and value pairs), the weakest first. Empty variables count as unset."""
    for file in (user_config_file(), Path(PROJECT_FILE)):
        yield str(file), _read_toml(file).items()
    for variable, value in os.environ.items():
        if variable.startswith(PREFIX) and variable not in _OTHER_VARIABLES and value:
            yield variable, [(variable.removeprefix(PREFIX).lower(), value)]
    yield "flag", [(name, value) for name, value in flags.items() if value is not None]


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as opened:
            return tomllib.load(opened)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"{file} is not valid toml: {error}") from error


def _parse(name: str, raw: object, origin: str) -> object:
    if name not in _PARSERS:
        close = difflib.get_close_matches(name, _PARSERS, n=1)
        hint = f"did you mean {close[0]}?" if close else f"there are: {', '.join(_PARSERS)}"
        raise ConfigError(f"there is no setting {name} ({origin}); {hint}")
    try:
        return _PARSERS[name](raw)
    except ValueError as error:
        raise ConfigError(f"{name} is {raw!r} ({origin}); {error}") from error


def _path(raw: object) -> Path:
    if not isinstance(raw, str | Path) or not str(raw):
        raise ValueError("it must be a path")
    try:
        return Path(os.path.abspath(Path(raw).expanduser()))  # noqa: PTH100 (keeps links, drops ..)
    except RuntimeError as error:
        raise ValueError("there is no such user's home") from error


def _collection(raw: object) -> str:
    if not isinstance(raw, str) or not _COLLECTION_NAME.fullmatch(raw):
        raise ValueError("use up to 64 letters, digits, '.', '_' and '-', the first no mark")
    return raw


def _whole(low: int, high: int) -> Callable[[object], int]:
    def parse(raw: object) -> int:
        text = raw.strip() if isinstance(raw, str) else str(raw)
        if isinstance(raw, bool) or not text.isascii() or not text.isdigit():
            raise ValueError(f"it must be a whole number from {low} to {high}")
        if not low <= int(text) <= high:
            raise ValueError(f"it must be from {low} to {high}")
        return int(text)

    return parse


def _share(raw: object) -> float:
    if isinstance(raw, bool) or not isinstance(raw, str | int | float):
        raise ValueError("it must be a number from 0 to 1")
    try:
        value = float(raw)
    except ValueError as error:
        raise ValueError("it must be a number from 0 to 1") from error
    if not 0 <= value <= 1:
        raise ValueError("it must be from 0 to 1")
    return value


def _one_of(names: Sequence[str]) -> Callable[[object], str]:
    def parse(raw: object) -> str:
        if raw not in names:
            raise ValueError("it must be " + " or ".join(f'"{name}"' for name in names))
        return str(raw)

    return parse


def _text(raw: object) -> str:
    if not isinstance(raw, str):
        raise ValueError("it must be a text")
    return raw.strip()


_PARSERS: dict[str, Callable[[object], object]] = {
    "home": _path,
    "collection": _collection,
    "k": _whole(1, 100),
    "threads": _whole(0, 1024),
    "workers": _whole(0, 64),
    "threshold": _share,
    "models": _path,
    "encoder": _path,
    "writer": _path,
    "backend": _one_of(BACKENDS),
    "decoding": _one_of(DECODINGS),
    "writer_dtype": _one_of(WRITER_DTYPES),
    "openai_model": _text,
    "openai_context": _whole(1024, 10_000_000),
    "openai_timeout": _whole(1, 3600),
    "ray_address": _text,
}
