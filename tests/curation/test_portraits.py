"""The embedded pipeline: verifier A finds faults, the model edits itself, verifier B judges.

[rpo] (critique), [rpo] (instruct), [sdedit] (Alg. 1), [diffedit] (Step 1), [repaint] (8)
"""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from scoreward.core.keys import Key
from scoreward.core.prediction import Prediction
from scoreward.core.process import RectifiedFlow
from scoreward.curation.finish import finish
from scoreward.curation.pictures import media, picture
from scoreward.curation.portraits import (
    MEANING,
    AttributeCritic,
    InpaintingDenoiser,
    ModelEditor,
    PortraitEditing,
    Template,
    complaint,
    descriptions,
    instruction,
)
from scoreward.curation.records import Critique
from scoreward.curation.run import Curation
from scoreward.curation.stages import Edit, Editor, Generator, Instructor, PictureCritic
from scoreward.data.portraits import FIELDS, load, parse
from scoreward.models.base import Model
from scoreward.models.builtin.portraits import portraits as built_in
from scoreward.rewards.portraits import Verifier
from scoreward.tasks.curating import portraits


def edits(count: int, hat: str = "green") -> list[Edit]:
    """Pictures of the pack without a hat, to which one is to be added."""
    pack = load("validation")
    rows = [i for i, row in enumerate(pack.labels.tolist()) if row[4] == 0][:count]
    wanted = f", a {hat} hat"
    said = (complaint("hat", "none", hat),)
    return [
        Edit(
            picture((pack.images[i] + 1) / 2),
            pack.captions[i] + wanted,
            Critique(said),
            (instruction("hat", hat),),
        )
        for i in rows
    ]


def keys(count: int) -> list[Key]:
    return [Key(("test", i)) for i in range(count)]


def test_complaints_are_in_words() -> None:
    assert complaint("hat", "red", "green").text == "the hat should be green, not red"
    assert complaint("hat", "none", "green").text == "there should be a green hat"
    assert complaint("hat", "red", "none").text == "there should be no hat"
    assert complaint("clothes", "red", "blue").text == "the shirt should be blue, not red"
    assert complaint("hair", "short", "long").text == "the hair should be long, not short"
    assert complaint("mouth", "sad", "happy").text == "the person should be happy, not sad"


def test_every_instruction_means_one_thing_in_few_words() -> None:
    values = [(name, value) for name, options in FIELDS.items() for value in options]
    assert sorted(MEANING.values()) == sorted(values)
    assert all(len(line.split()) <= 15 for line in MEANING)


def test_the_critic_sees_what_is_wrong_with_a_real_picture() -> None:
    """Pictures of the pack under their own captions, and with one word of the caption changed."""
    pack, critic = load("validation"), AttributeCritic(Verifier.load("a"))
    images = [picture((one + 1) / 2) for one in pack.images[:100]]
    right = critic(pack.captions[:100], images)
    assert sum(not one.complaints for one in right) >= 95
    swapped = [
        c.replace("happy", "SAD").replace("sad", "happy").replace("SAD", "sad")
        for c in pack.captions[:100]
    ]
    found = critic(swapped, images)
    assert sum([c.about for c in one.complaints] == ["mouth"] for one in found) >= 95
    assert found[0].score == pytest.approx(10 - 9 / 7)
    told = Template(1)(swapped, images, found)
    assert {line for one in told for line in one.lines} <= {
        *("make the person happy", "make the person sad"),
    }


def test_descriptions_differ_in_what_the_instructions_say() -> None:
    prompt = "a happy person with short red hair, a blue shirt, a green hat"
    said = (complaint("hair_color", "black", "red"), complaint("hat", "none", "green"))
    (one,) = edits(1)
    both = replace(
        one, prompt=prompt, critique=Critique(said), instructions=("put on a green hat",)
    )
    is_now, should_be = map(parse, descriptions(both))
    expected = list(parse(prompt))
    expected[1] = FIELDS["hair_color"].index("black")
    assert list(should_be) == expected
    expected[4] = 0
    assert list(is_now) == expected
    with pytest.raises(ValueError, match="does not understand 'smile'"):
        descriptions(replace(one, instructions=("smile",)))


def test_the_editor_puts_a_hat_on_and_leaves_the_rest() -> None:
    wanted = edits(40)
    model, judge = built_in(), Verifier.load("b")
    after = ModelEditor(model)(wanted, keys(40))
    prompts = [one.prompt for one in wanted]
    before = [one.image for one in wanted]
    assert judge.right(media(before), prompts)[:, 4].sum() <= 2
    assert judge.right(media(after), prompts)[:, 4].sum() >= 28
    same = (media(after) - media(before)).abs().amax(1) < 1 / 255
    assert same[:, 8:].float().mean() > 0.75  # below the hat
    plain = ModelEditor(model, PortraitEditing(masked=False))(wanted, keys(40))
    redrawn = (media(plain) - media(before)).abs().amax(1) < 1 / 255
    assert redrawn.float().mean() < 0.5 < same.float().mean()


def test_outside_the_mask_not_one_value_changes() -> None:
    """A network that says something else everywhere; the region is the top half."""

    class Nonsense(torch.nn.Module):
        calls = 0

        def forward(self, x: torch.Tensor, t: torch.Tensor, cond: torch.Tensor) -> torch.Tensor:
            Nonsense.calls += len(x)
            top = torch.zeros_like(x)
            top[:, :, :8] = cond.sum((1, 2))[:, None, None, None]
            return top + 3 * x

    base = built_in()
    network = Nonsense()
    model: Model = replace(base, network=network)
    wanted = edits(3)
    editing = PortraitEditing(mask_noises=2)
    after = ModelEditor(model, editing)(wanted, keys(3))
    before = media([one.image for one in wanted])
    same = (media(after) == before).all(1)
    assert same[:, 9:].all()  # the region grows by one pixel
    assert not same[:, :8].any()
    assert network.calls == 3 * editing.evaluations == 3 * (2 * 8 + 2 * 2)


def test_outside_the_mask_picture_and_noise_are_known() -> None:
    """A step then keeps to the path of the old picture, which the network sees around its edit."""
    key, process = Key(("kept",)), RectifiedFlow()
    x0, eps, x_t, said = ((key / i).normal(1, 3, 4, 4) for i in range(4))
    mask = torch.zeros(1, 1, 4, 4)
    mask[..., :2] = 1

    def network(x: torch.Tensor, t: torch.Tensor, cond: object) -> Prediction:
        return Prediction.of("velocity", said, x, t, process)

    t = torch.full((1,), 0.5)
    found, own = InpaintingDenoiser(network, mask, x0, eps)(x_t, t, None), network(x_t, t, None)
    for part, old, new in ((found.x0, x0, own.x0), (found.eps, eps, own.eps)):
        assert torch.equal(part[..., 2:], old[..., 2:])
        assert torch.equal(part[..., :2], new[..., :2])


def test_an_editor_that_starts_at_data_changes_nothing() -> None:
    wanted = edits(4)
    near = ModelEditor(built_in(), PortraitEditing(start=1e-4, masked=False))(wanted, keys(4))
    torch.testing.assert_close(
        media(near), media([one.image for one in wanted]), atol=1.5 / 255, rtol=0
    )


def test_guidance_leads_from_one_description_to_the_other() -> None:
    """ε̂ = ε_source + w (ε_target − ε_source), by hand."""
    model = built_in()
    (one,) = edits(1)
    is_now, should_be = (model.encode([text]) for text in descriptions(one))
    x, t = Key(("x",)).normal(1, 3, 16, 16), torch.tensor([0.6])
    said = ModelEditor(model, PortraitEditing(guidance=3.0)).guided(is_now)(x, t, should_be)
    with torch.no_grad():
        source, target = (
            Prediction.of("velocity", model.network(x, t, c), x, t, RectifiedFlow())
            for c in (is_now, should_be)
        )
    expected = source.eps + 3 * (target.eps - source.eps)
    torch.testing.assert_close(said.eps, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.long
def test_pairs_are_better_by_the_judge_that_decided_nothing(tmp_path: Path) -> None:
    """A small copy of the measurement in docs/curation.md: at least 0.8 of 60.

    With the 0.908 measured on 600 pairs, fewer than 48 of 60 has a probability of 3 in 1000; the
    seed is fixed, so this fails only if something changes.
    """
    curation = Curation(portraits, tmp_path, 60)
    assert isinstance(curation.pipeline.generator, Generator)
    assert isinstance(curation.pipeline.critic, PictureCritic)
    assert isinstance(curation.pipeline.instructor, Instructor)
    assert isinstance(curation.pipeline.editor, Editor)
    *_, last = curation.steps()
    summary = finish(curation, last)
    judge = summary["judges"]["verifier_b"]
    assert summary["pairs"] == 60
    assert judge["share"] >= 0.8
    assert judge["worse"] <= 2
    assert summary["similarity"] > 0.7
    assert set(curation.pipeline.judging or {}).isdisjoint(curation.pipeline.deciding)
