"""Laws of the settings: who wins, what is refused, and that looking changes nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragformer import config
from ragformer.config import load_settings, model_folder, models_folder
from ragformer.errors import ConfigError, NotFoundError
from ragformer.types import OPENAI_URL, RemoteModel


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No settings from the machine the tests run on."""
    for variable in [name for name in config.os.environ if name.startswith(config.PREFIX)]:
        monkeypatch.delenv(variable)
    monkeypatch.setattr(config, "user_config_file", lambda: tmp_path / "user" / "config.toml")
    monkeypatch.chdir(tmp_path)


def write_user_file(tmp_path: Path, text: str) -> None:
    (tmp_path / "user").mkdir()
    (tmp_path / "user" / "config.toml").write_text(text)


def test_each_source_beats_the_one_below_and_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert (load_settings().k, load_settings().origins["k"]) == (8, "default")
    write_user_file(tmp_path, "k = 2")
    assert load_settings().k == 2
    assert load_settings().origins["k"].endswith("config.toml")
    Path("ragformer.toml").write_text("k = 3")
    assert (load_settings().k, load_settings().origins["k"]) == (3, "ragformer.toml")
    monkeypatch.setenv("RAGFORMER_K", "4")
    assert (load_settings().k, load_settings().origins["k"]) == (4, "RAGFORMER_K")
    assert (load_settings(k=5).k, load_settings(k=5).origins["k"]) == (5, "flag")
    assert load_settings(k=None).k == 4


def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAGFORMER_COLLECTION", "")
    assert load_settings().collection == "default"


def test_home_follows_its_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RAGFORMER_HOME", "somewhere/../else")
    assert load_settings().home == tmp_path / "else"


@pytest.mark.parametrize("place", ["flag", "variable", "file"])
def test_an_unknown_name_is_refused_with_a_suggestion(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = {}
    match place:
        case "flag":
            flags = {"colection": "x"}
        case "variable":
            monkeypatch.setenv("RAGFORMER_COLECTION", "x")
        case "file":
            Path("ragformer.toml").write_text("colection = 'x'")
    with pytest.raises(ConfigError, match="did you mean collection"):
        load_settings(**flags)


def test_a_name_like_no_other_gets_the_whole_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAGFORMER_QQQQQQ", "x")
    with pytest.raises(ConfigError, match="there are: home, collection"):
        load_settings()


def test_debug_is_no_setting_and_no_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAGFORMER_DEBUG", "1")
    assert load_settings().origins["k"] == "default"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("k", 0),
        ("k", 101),
        ("k", "many"),
        ("k", True),
        ("k", 2.5),
        ("k", "-3"),
        ("workers", 65),
        ("threads", "²"),
        ("threshold", 1.1),
        ("threshold", "nan"),
        ("threshold", "high"),
        ("threshold", []),
        ("collection", ""),
        ("collection", ".."),
        ("collection", "a/b"),
        ("collection", 7),
        ("collection", "x" * 65),
        ("home", 3),
        ("home", "~no-such-user-here/x"),
        ("backend", "cloud"),
        ("openai_model", 7),
        ("openai_context", 1023),
        ("openai_timeout", 0),
        ("decoding", "beam"),
    ],
)
def test_an_unusable_value_is_refused_with_name_value_and_origin(name: str, value: object) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(**{name: value})
    assert f"{name} is {value!r} (flag)" in str(caught.value)


def test_a_file_that_is_not_toml_is_named() -> None:
    Path("ragformer.toml").write_bytes(b"k = \xff")
    with pytest.raises(ConfigError, match=r"ragformer\.toml is not valid toml"):
        load_settings()


def test_a_folder_in_place_of_the_file_is_named() -> None:
    Path("ragformer.toml").mkdir()
    with pytest.raises(ConfigError, match=r"ragformer\.toml cannot be read"):
        load_settings()


@given(st.integers(1, 100))
def test_numbers_mean_the_same_from_a_variable_and_from_a_flag(k: int) -> None:
    assert load_settings(k=str(k)).k == load_settings(k=k).k == k


@given(st.text())
def test_a_collection_never_leaves_its_folder(name: str) -> None:
    home = Path("/home/somebody")
    try:
        collection = load_settings(collection=name).collection
    except ConfigError:
        return
    assert (home / collection).parent == home
    assert Path(f"/home/{collection}").resolve().parent == Path("/home")


def test_models_are_found_beside_the_package_unless_set(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert (models_folder() / "encoder").is_dir()
    assert model_folder("decoder") == models_folder() / "decoder"
    monkeypatch.setenv("RAGFORMER_MODELS", str(tmp_path))
    assert models_folder() == tmp_path
    with pytest.raises(NotFoundError, match="RAGFORMER_MODELS"):
        model_folder("encoder")
    assert model_folder("encoder", tmp_path) == tmp_path


def test_importing_the_library_loads_nothing_heavy_and_makes_nothing(tmp_path: Path) -> None:
    code = (
        "import sys, ragformer, ragformer.config; ragformer.config.load_settings();"
        "print(sorted({'torch', 'faiss', 'numpy', 'sentencepiece'} & set(sys.modules)))"
    )
    home = tmp_path / "home"
    environment = {"HOME": str(home), "RAGFORMER_HOME": str(home), "PATH": ""}
    command = [sys.executable, "-c", code]
    result = subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert result.stdout == "[]\n"
    assert not home.exists()


def test_every_public_name_is_importable() -> None:
    import ragformer

    assert all(getattr(ragformer, name) is not None for name in ragformer.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = ragformer.nonsense


def test_key_and_url_of_a_server_are_read_when_it_is_to_be_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert load_settings().remote_model() is None
    chosen = load_settings(backend="openai", openai_model=" m ", openai_context="2048")
    with pytest.raises(ConfigError, match="OPENAI_API_KEY is not set"):
        chosen.remote_model()
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1\n")
    wanted = RemoteModel("m", OPENAI_URL, "sk-1", 2048, 120)
    assert chosen.remote_model() == load_settings().remote_model(wanted) == wanted
    assert chosen.remote_model("local") is None
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/v1")
    other = load_settings().remote_model("openai")
    assert other is not None
    assert (other.name, other.address) == ("", "http://127.0.0.1:1/v1")
    assert "sk-1" not in repr((chosen, other))
