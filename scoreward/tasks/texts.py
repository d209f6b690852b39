"""Preferences between texts: a tiny Llama for seconds, SmolLM2-135M for real."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

from scoreward.methods.base import Draws, Given, Method, Setting, Settings
from scoreward.methods.texts import Cached, HeldOutTexts, TextPlace, TextSettings
from scoreward.models.texts.language import LanguageModel
from scoreward.models.texts.loading import LanguageLoading, TinyLlama, load_language, smollm
from scoreward.tasks.base import Task
from scoreward.tasks.text_data import TextFile, built_in, digits, from_file
from scoreward.training.geometry import Geometry
from scoreward.training.optimizer import Optimizer
from scoreward.training.run import Budget

TINY = TextSettings(
    Geometry(prompts=32, group=1, micro_batch=32),
    Optimizer(lr=1e-3, warmup=5, ema=0.0),
    Budget(rounds=60),
)


@dataclass(frozen=True)
class Smol:
    """Which model: SmolLM2 from its package, or any causal model of transformers."""

    source: str | None = None  # a folder or hub name; default: SmolLM2-135M-Instruct as packaged
    loading: LanguageLoading = field(default_factory=lambda: LanguageLoading(context=512))

    def build(self) -> LanguageModel:
        if self.source is None:
            return smollm(self.loading)
        return load_language(self.source, self.loading)


@dataclass(frozen=True)
class OnLanguage(Task):
    """A causal language model and what it learns to prefer."""

    draws: ClassVar[Draws] = "texts"
    renamed = {"--method.": "--objective.", "--model": "--model.source"}  # noqa: RUF012

    def settings(self, method: Method) -> Settings:
        return {
            "file": Setting(TextFile(), flat=True),
            "shared": Setting(TextSettings(), flat=True),
            "held_out": Setting(HeldOutTexts()),
            "reference": Setting(Cached()),
            "model": Setting(Smol()),
        }

    def opened(self, method: Method, given: Given) -> LanguageModel:
        return given["model"].build()

    def place(self, method: Method, given: Given) -> TextPlace:
        model = self.opened(method, given)
        return TextPlace(self.name, model, self.data(model, given))

    def data(self, model: LanguageModel, given: Given) -> Any:
        """A file of one's own, or what is built in."""
        if given["file"].pairs is None:
            return built_in(model, given["held_out"])
        return from_file(given["file"], model, given["held_out"])


@dataclass(frozen=True)
class OnDigits(OnLanguage):
    """A tiny Llama that learns to prefer sorted digits."""

    renamed = {"--method.": "--objective."}  # noqa: RUF012

    def settings(self, method: Method) -> Settings:
        usual = {n: s for n, s in super().settings(method).items() if n != "model"}
        return usual | {
            "shared": Setting(TINY, flat=True),
            "held_out": Setting(HeldOutTexts(pairs=64, prompts=0)),
            "llama": Setting(TinyLlama()),
            "count": Setting(512),
        }

    def opened(self, method: Method, given: Given) -> LanguageModel:
        return given["llama"].build()

    def place(self, method: Method, given: Given) -> TextPlace:
        model = self.opened(method, given)
        if given["file"].pairs is None:
            return TextPlace(self.name, model, digits(given["count"], given["held_out"]))
        return TextPlace(self.name, model, self.data(model, given))


TEXTS = (
    OnDigits("tiny_llama", "a Llama of 0.8 million parameters that learns to prefer sorted digits"),
    OnLanguage("smollm", "SmolLM2-135M-Instruct with LoRA, or any causal model by --model"),
)
