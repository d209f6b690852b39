"""Run tests/families with old and new diffusers and transformers, and write down what passes.

Each combination gets a virtual environment of its own in a scratch folder; torch and the test
tools are installed once and shared. The results are docs/compatibility.json, from which
docs/compatibility.md is written. Run it with `make compatibility`.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import time
import venv
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from tools.compatibility_page import RESULTS, ROOT, Table, read, write

TORCH = "torch==2.13.0"
SHARED = (
    *(TORCH, "pytest", "beartype", "jaxtyping", "hypothesis"),
    *("tyro", "rich", "jinja2", "matplotlib", "pillow"),
)
VERSIONS_OF = ("diffusers", "transformers", "peft", "huggingface_hub", "tokenizers")
MORE_VERSIONS = ("accelerate", "safetensors", "numpy", "torch")
CASE = re.compile(r"^(\w+)\[(.+)\]$")


@dataclass(frozen=True)
class Combination:
    """Versions that were current together; pip chooses the others that fit them."""

    diffusers: str
    transformers: str
    peft: str
    also: tuple[str, ...] = ()  # what its pipelines need besides

    @property
    def name(self) -> str:
        return f"diffusers-{self.diffusers}-transformers-{self.transformers}"

    @property
    def packages(self) -> list[str]:
        own = {"diffusers": self.diffusers, "transformers": self.transformers, "peft": self.peft}
        pins = [f"{name}=={version}" for name, version in own.items()]
        return [*pins, "accelerate", "safetensors==0.8.0", *self.also]


COMBINATIONS = (
    Combination("0.33.1", "4.48.3", "0.14.0"),
    Combination("0.34.0", "4.52.4", "0.15.2"),
    Combination("0.35.2", "4.55.4", "0.17.1", ("ftfy",)),
    Combination("0.36.0", "4.57.6", "0.18.1", ("ftfy",)),
    Combination("0.37.1", "5.0.0", "0.18.1"),
    Combination("0.38.0", "5.5.4", "0.19.1"),
    Combination("0.39.0", "5.9.0", "0.19.1"),
    Combination("0.40.0", "5.12.1", "0.20.0"),
    Combination("0.42.1", "5.24.0", "0.21.2"),
)

COLUMNS: dict[str, str] = {
    "loads": "test_latents_are_the_inverse_of_decoding_in_scale[{}]",
    "predicts": "test_the_same_predictions_and_the_same_pictures[{}]",
    "guided": "test_the_same_pictures_with_guidance[{}]",
    "path": "test_a_round_trains_the_adapters_and_nothing_else[{}-path]",
    "samples": "test_a_round_trains_the_adapters_and_nothing_else[{}-samples]",
    "contrast": "test_a_round_trains_the_adapters_and_nothing_else[{}-contrast]",
    "starts": "test_a_round_trains_the_adapters_and_nothing_else[{}-starts]",
    "adapters": "test_adapters_are_read_by_load_lora_weights[{}]",
    "whole": "test_merged_adapters_are_a_whole_pipeline[{}]",
    "refused": "test_a_pipeline_that_came_later_is_named_with_what_to_install[{}]",
}
"""The test of each column, by the name of a tiny pipeline."""


def main() -> None:
    """Every combination, or those that are named, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scratch", type=Path, default=ROOT / "build" / "compatibility")
    parser.add_argument("--only", nargs="*", default=[], help="versions of diffusers")
    parser.add_argument("--minutes", type=float, default=30, help="limit of one combination")
    given = parser.parse_args()
    known = {c.diffusers for c in COMBINATIONS}
    if unknown := set(given.only) - known:
        parser.error(
            f"diffusers {', '.join(unknown)} is not listed; {', '.join(sorted(known))} are"
        )
    for one in COMBINATIONS:
        if not given.only or one.diffusers in given.only:
            print(f"{one.name} ...", flush=True)
            table = tested(one, given.scratch.resolve(), 60 * given.minutes)
            keep(table)
            print(f"{one.name}: {table['tests']}", flush=True)


def tested(one: Combination, scratch: Path, limit: float) -> Table:
    """The results of one combination."""
    python = environment(scratch, one)
    started, report = time.monotonic(), scratch / f"{one.name}.xml"
    report.unlink(missing_ok=True)
    finished = run_tests(python, report, scratch / f"{one.name}.log", limit)
    if not report.is_file():
        raise SystemExit(f"the tests of {one.name} did not start; see {scratch / one.name}.log")
    cases = outcomes(ElementTree.parse(report).getroot())
    words = [word for word, _ in cases.values()]
    return {
        **versions(python),
        "date": datetime.now(UTC).date().isoformat(),
        "seconds": round(time.monotonic() - started),
        "finished": finished,
        "tests": {w: words.count(w) for w in sorted(set(words))},
        "families": families(cases),
        "absent": reasons(cases),
        "failures": {n: why for n, (word, why) in sorted(cases.items()) if word == "failed"},
    }


def environment(scratch: Path, one: Combination) -> Path:
    """The interpreter of a combination, made where it is missing."""
    base = made(scratch / "base", list(SHARED), ["-c", str(ROOT / "constraints.txt")], None)
    return made(scratch / one.name, one.packages, [], packages_of(base))


def made(folder: Path, packages: list[str], options: list[str], shared: Path | None) -> Path:
    """A virtual environment with these packages, that also sees the `shared` ones."""
    python, stamp = folder / "bin" / "python", folder / "installed.json"
    if stamp.is_file() and json.loads(stamp.read_text()) == packages:
        return python
    venv.create(folder, with_pip=True, clear=True)
    if shared is not None:
        (packages_of(python) / "shared.pth").write_text(f"{shared}\n")
    command = [str(python), "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
    subprocess.run([*command, *options, *packages], check=True)
    stamp.write_text(json.dumps(packages))
    return python


def packages_of(python: Path) -> Path:
    """The folder in which an environment keeps its packages."""
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    return Path(subprocess.check_output([str(python), "-c", code], text=True).strip())


def versions(python: Path) -> dict[str, str]:
    """What is really installed."""
    names = [*VERSIONS_OF, *MORE_VERSIONS]
    code = (
        "import json, platform; from importlib.metadata import version\n"
        f"found = {{n: version(n) for n in {names}}}\n"
        "print(json.dumps(found | {'python': platform.python_version()}))"
    )
    return json.loads(subprocess.check_output([str(python), "-c", code], text=True))


def run_tests(python: Path, report: Path, log: Path, limit: float) -> bool:
    """Whether pytest came to its end in time; either way it leaves a report of what it ran."""
    command = [str(python), "-m", "pytest", "-q", "tests/families", "-p", "no:cacheprovider"]
    command += ["-m", "not slow"]  # those train the recipes, on the same adapters
    command += ["--ignore=tests/families/test_compatibility.py", f"--junitxml={report}"]
    settings = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with log.open("w") as stream:
        running = subprocess.Popen(command, cwd=ROOT, env=settings, stdout=stream, stderr=stream)
        try:
            running.wait(limit)
        except subprocess.TimeoutExpired:
            running.send_signal(signal.SIGINT)  # pytest then writes its report
            running.wait(120)
            return False
    return True


def outcomes(report: ElementTree.Element) -> dict[str, tuple[str, str]]:
    """What became of each test, and why, by its name."""
    found: dict[str, tuple[str, str]] = {}
    for case in report.iter("testcase"):
        word, why = "passed", ""
        for note in case:
            if note.tag in ("failure", "error"):
                word, why = "failed", first_line(note.get("message", ""))
            elif note.tag == "skipped":
                word, why = "absent", first_line(note.get("message", ""))
        found[case.get("name", "")] = (word, why)
    return found


def first_line(message: str) -> str:
    """Without the folders of this machine."""
    line = message.strip().partition("\n")[0]
    return re.sub(r"(?<![\w.])/[^\s:'\"]*/", "", line)[:200]


def families(cases: Mapping[str, tuple[str, str]]) -> dict[str, dict[str, str]]:
    """Family by column: passed, failed, absent from that diffusers, or none (not a test)."""
    names = sorted({m[2] for name in cases if (m := CASE.match(name)) and is_loading(m[1])})
    return {
        name: {
            column: cases.get(test.format(name), ("none", ""))[0]
            for column, test in COLUMNS.items()
        }
        for name in names
    }


def is_loading(test: str) -> bool:
    return COLUMNS["loads"].startswith(f"{test}[")


def reasons(cases: Mapping[str, tuple[str, str]]) -> dict[str, str]:
    """Why a family is absent, by its name."""
    loaded = ((CASE.match(name), told) for name, told in cases.items())
    return {m[2]: why for m, (word, why) in loaded if m and is_loading(m[1]) and word == "absent"}


def keep(table: Table) -> None:
    """Put one combination's results among the others', and write the page."""
    listed = {(c.diffusers, c.transformers): place for place, c in enumerate(COMBINATIONS)}
    tables: list[Any] = read() if RESULTS.is_file() else []
    by = {(t["diffusers"], t["transformers"]): t for t in [*tables, table]}
    kept = sorted((k for k in by if k in listed), key=lambda k: listed[k])
    RESULTS.write_text(json.dumps([by[k] for k in kept], indent=1) + "\n", encoding="utf-8")
    write()


if __name__ == "__main__":
    sys.exit(main())
