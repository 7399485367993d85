"""What a transformer looks like, as data.

One description covers an encoder, a decoder, and a decoder that attends to an encoder; families
of checkpoints differ in these values and nowhere else.
"""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from pathlib import Path
from reprlib import repr as brief
from typing import Any, Literal

from ragformer.errors import WeightsError

_CHOICES = {
    "position": ("rope", "learned", "sinusoidal"),
    "norm": ("rms", "layer"),
    "norm_place": ("pre", "post"),
    "mlp": ("swiglu", "gelu", "gelu_tanh"),
}

# Far above any model there is, and low enough for the sizes of tensors to be 64-bit numbers.
_MOST_WIDE = 1_000_000
_MOST = {"n_layers": 10_000, "vocab_size": 10_000_000, "max_seq_len": 1_000_000_000}
_MOST_BYTES = 16 * 2**20
"""Of a file beside the weights, but tokenizer.json: the largest vocabularies take 5 MB."""


@dataclass(frozen=True, slots=True)
class RopeScaling:
    """Rotary frequencies stretched for texts longer than `trained_seq_len`, by up to `factor`.

    A wave shorter than trained_seq_len / high_freq_factor tokens stays as it is, one longer than
    trained_seq_len / low_freq_factor is stretched whole. Source: Llama Team 2024 (Llama 3),
    arXiv:2407.21783, as released with Llama 3.1.
    """

    factor: float
    low_freq_factor: float
    high_freq_factor: float
    trained_seq_len: int

    def __post_init__(self) -> None:
        for name in self.__slots__:
            _require_positive(name, getattr(self, name))
        if self.low_freq_factor >= self.high_freq_factor:
            raise WeightsError(
                f"low_freq_factor {self.low_freq_factor} is not below high_freq_factor"
                f" {self.high_freq_factor}"
            )


@dataclass(frozen=True, slots=True)
class TransformerConfig:
    """Sizes and choices of a transformer. Defaults give a small modern decoder.

    position: "rope" (Su et al. 2021, arXiv:2104.09864), "learned" (one vector a position) or
    "sinusoidal" (waves, Vaswani et al. 2017, arXiv:1706.03762).
    norm: "rms" (Zhang & Sennrich 2019, arXiv:1910.07467) or "layer".
    norm_place: "pre" (norm before each sublayer, one more at the end) or "post" (after it).
    rope_scaling: None for frequencies as they are.
    mlp: "swiglu" (Shazeer 2020, arXiv:2002.05202), "gelu", or "gelu_tanh", its approximation.
    qk_norm: normalise queries and keys a head (Dehghani et al. 2023, arXiv:2302.05442).
    n_segments: rows of an extra input embedding (segments, match features); 0 means none.
    logit_scale: multiplies the logits; a tied embedding with large entries needs it below 1.
    d_pointer: width of the pointer head over the prompt; 0 means none.
    """

    vocab_size: int
    d_model: int = 256
    n_layers: int = 4
    n_heads: int = 4
    n_kv_heads: int = 4
    d_head: int = 64
    d_ff: int = 704
    max_seq_len: int = 512
    causal: bool = True
    cross_attention: bool = False
    position: Literal["rope", "learned", "sinusoidal"] = "rope"
    rope_theta: float = 10_000.0
    rope_scaling: RopeScaling | None = None
    norm: Literal["rms", "layer"] = "rms"
    norm_place: Literal["pre", "post"] = "pre"
    norm_eps: float = 1e-6
    qk_norm: bool = False
    mlp: Literal["swiglu", "gelu", "gelu_tanh"] = "swiglu"
    qkv_bias: bool = False
    bias: bool = False
    n_segments: int = 0
    tie_embeddings: bool = True
    logit_scale: float = 1.0
    d_pointer: int = 0

    def __post_init__(self) -> None:
        sizes = ("vocab_size", "d_model", "n_layers", "n_heads", "n_kv_heads", "d_head", "d_ff")
        for name in (*sizes, "max_seq_len"):
            value, most = getattr(self, name), _MOST.get(name, _MOST_WIDE)
            if type(value) is not int or value < 1:
                raise WeightsError(f"{name} is {brief(value)}; it must be a whole number from 1")
            if value > most:
                raise WeightsError(f"{name} is {brief(value)}; this takes up to {most:,}")
        for name in ("rope_theta", "norm_eps", "logit_scale"):
            _require_positive(name, getattr(self, name))
        if not isinstance(self.tie_embeddings, bool):
            raise WeightsError(
                f"tie_embeddings is {brief(self.tie_embeddings)}; it is true or false"
            )
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise WeightsError(
                    f"{name} is {getattr(self, name)!r}; it must be {' or '.join(choices)}"
                )
        if self.n_heads % self.n_kv_heads:
            raise WeightsError(
                f"n_heads {self.n_heads} is not a multiple of n_kv_heads {self.n_kv_heads}"
            )
        if self.position == "rope" and self.d_head % 2:
            raise WeightsError(f"rotary positions need an even d_head, not {self.d_head}")
        if self.position == "sinusoidal" and self.d_model % 2:
            raise WeightsError(f"sinusoidal positions need an even d_model, not {self.d_model}")

    @property
    def n_block_weights(self) -> int:
        """In the linear layers of the blocks, by each of which a token is multiplied once; those of
        attention to a memory are not among them."""
        heads = self.d_head * (2 * self.n_heads + 2 * self.n_kv_heads)
        mlp = (3 if self.mlp == "swiglu" else 2) * self.d_ff
        return self.n_layers * self.d_model * (heads + mlp)

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TransformerConfig:
        """The config of a parsed config.json; an unknown field is refused by name."""
        known = {field.name for field in dataclasses.fields(cls)}
        if unknown := sorted(set(values) - known):
            raise WeightsError(f"this transformer config has unknown fields: {', '.join(unknown)}")
        if "vocab_size" not in values:
            raise WeightsError("this transformer config has no vocab_size")
        if scaling := values.get("rope_scaling"):
            values = {**values, "rope_scaling": RopeScaling(**scaling)}
        return cls(**values)


def _require_positive(name: str, value: object) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < math.inf:
        raise WeightsError(f"{name} is {brief(value)}; it must be a number above 0")


def check_file(path: Path) -> None:
    """Raise WeightsError for what is no file, or larger than any beside a model's weights."""
    if not path.is_file():  # of a pipe the end never comes
        raise WeightsError(f"there is no {path}; is the model folder complete?")
    if (size := path.stat().st_size) > _MOST_BYTES:
        raise WeightsError(f"{path} takes {size:,} bytes, more than any such file; is it damaged?")


def read_config(path: Path) -> dict[str, Any]:
    """The object in a config.json, or a WeightsError that says what is wrong with the file."""
    check_file(path)
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{path} is not JSON: {error}") from error
    if not isinstance(values, dict):
        raise WeightsError(f"{path} does not hold a JSON object")
    return values


def read_optional_config(path: Path) -> dict[str, Any]:
    """As `read_config`; {} where there is no such file."""
    return read_config(path) if path.is_file() else {}


def model_config(folder: Path, kind: str) -> TransformerConfig:
    """The transformer of the model in `folder`, which must be of this kind ("encoder", say)."""
    values = read_config(folder / "config.json")
    if values.get("kind") != kind:
        found = values.get("kind", "unknown")
        raise WeightsError(f"the model in {folder} is of kind {found}, not {kind}")
    if not isinstance(values.get("transformer"), dict):
        raise WeightsError(f"{folder / 'config.json'} describes no transformer")
    return TransformerConfig.from_dict(values["transformer"])


def write_model_config(
    config: TransformerConfig, kind: str, folder: Path, **more: dict[str, Any]
) -> None:
    """Write the config.json that `model_config` reads, and what `more` a model's kind needs."""
    values = {"kind": kind, "transformer": dataclasses.asdict(config), **more}
    (folder / "config.json").write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
