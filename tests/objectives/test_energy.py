"""The learned energy: what it learns, its Adam, and what its network can tell apart."""

import pytest
import torch

from scoreward.core.keys import Key
from scoreward.objectives.samples.energy import (
    STEPS,
    WEIGHTS,
    EnergyInput,
    adam,
    energy,
    fresh,
    phrases,
)
from scoreward.objectives.samples.few_step import fit

KEY = Key(("energy",))


def test_adam_on_one_vector_is_torch_adam() -> None:
    weight = torch.nn.Parameter((KEY / "w").normal(7))
    theirs = torch.optim.Adam([weight], lr=0.03, betas=(0.8, 0.95))
    zero = torch.zeros(7)
    memory = {WEIGHTS: weight.detach().clone(), STEPS: torch.zeros(())}
    memory |= {"energy/mean": zero, "energy/spread": zero}
    for k in range(5):
        weight.grad = (KEY / "slope" / k).normal(7)
        adam(memory, weight.grad, 0.03, (0.8, 0.95))
        theirs.step()
    torch.testing.assert_close(memory[WEIGHTS], weight.detach())
    assert int(memory[STEPS]) == 5


def test_the_energy_learns_the_contrast_of_two_normal_laws() -> None:
    """[dxmi] (energy): N(±1, 1) has the minimum −tanh(x)/2γ."""
    layout, gamma = EnergyInput((1,), 0, False, width=32), 1.0
    weights = fresh(layout, KEY / "fresh")
    assert energy(layout, weights, torch.ones(3, 1), torch.zeros(3), None).tolist() == [0, 0, 0]
    memory = {WEIGHTS: weights, STEPS: torch.zeros(())}
    memory |= {name: torch.zeros_like(weights) for name in ("energy/mean", "energy/spread")}
    t = torch.zeros(512)
    for k in range(300):
        live = memory[WEIGHTS].clone().requires_grad_()
        noise = (KEY / "pair" / k).normal(2, 512, 1)
        data, drawn = (energy(layout, live, x, t, None) for x in (noise[0] + 1, noise[1] - 1))
        error = fit(data, drawn.expand(2, -1), gamma, 0.0)
        (gradient,) = torch.autograd.grad(error, live)
        adam(memory, gradient, 5e-3, (0.9, 0.999))
    x = torch.linspace(-2, 2, 41)[:, None]
    seen = energy(layout, memory[WEIGHTS], x, torch.zeros(41), None)
    assert (seen + x[:, 0].tanh() / (2 * gamma)).abs().max() < 0.07


def test_an_energy_of_pictures_reads_phrases_one_by_one() -> None:
    """The mean of two phrases does not say which word belongs to which."""
    layout = EnergyInput((3, 8, 8), 4, True)
    weights = fresh(layout, KEY)
    weights = weights + 0.1 * (KEY / "more").normal(len(weights))
    x, t = (KEY / "x").normal(2, 3, 8, 8), torch.tensor([0.1, 0.9])
    words = (KEY / "words").normal(2, 3, 4)
    value = energy(layout, weights, x, t, words)
    assert value.shape == (2,)
    torch.testing.assert_close(energy(layout, weights, x, t, words[:, [2, 0, 1]]), value)
    mean = words.mean(1, keepdim=True).expand(-1, 3, -1)
    assert (energy(layout, weights, x, t, mean) - value).abs().min() > 1e-5
    assert (energy(layout, weights, x, t + 0.1, words) - value).abs().min() > 1e-5
    assert phrases(None) is None
    assert phrases(torch.tensor([2, 1])).shape == (2, 1, 1)  # pyright: ignore


def test_other_conditions_are_refused() -> None:
    with pytest.raises(ValueError, match=r"give the model another `encode`"):
        phrases(torch.zeros(1, 2, 3, 4))
