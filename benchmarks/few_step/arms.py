"""The arms: what is matched, what is as published, and the controls.

Every arm may spend the same network evaluations (a trained one counts three), sees the same
pictures with the same careless captions, and starts from the shipped weights.
"""

from dataclasses import dataclass, replace

from scoreward.methods.sampling import Sampling
from scoreward.objectives.samples.denoising import Denoising
from scoreward.objectives.samples.few_step import FewStep
from scoreward.recipes import recipe
from scoreward.tasks.builtin import HeldOut
from scoreward.tasks.portraits import Captions
from scoreward.training.geometry import Geometry
from scoreward.training.optimizer import Optimizer
from scoreward.training.run import Run

BATCH, WARMUP = 32, 20  # in the warm-up the energy learns faster than the sampler
CRITIC = FewStep(critic_rate=1e-3, critic_steps=2)  # of all matched arms


@dataclass(frozen=True)
class Arm:
    """An objective and how it is optimised; `lr` is what was chosen on validation."""

    objective: FewStep | Denoising
    lr: float
    trials: tuple[float, ...] = ()
    batch: int = BATCH
    warmup: int = WARMUP
    decay: str = "constant"
    weight_decay: float = 0.0

    def run(self, steps: int, lr: float | None, updates: int) -> Run:
        optimizer = Optimizer(
            lr=lr or self.lr,
            warmup=self.warmup,
            decay=self.decay,  # pyright: ignore
            total=updates if self.decay != "constant" else None,
            weight_decay=self.weight_decay,
        )
        online = isinstance(self.objective, FewStep)
        return recipe("few_step", on="portraits").run(
            objective=self.objective,
            sampling=Sampling(steps=steps, eta=1.0),
            geometry=Geometry(prompts=self.batch, group=1),
            optimizer=optimizer,
            held_out=HeldOut(steps=steps),
            captions=Captions(dropout=0.0 if online else 0.1),
        )

    def cost(self, steps: int) -> int:
        """Network evaluations of an update."""
        return self.batch * (3 + (steps if isinstance(self.objective, FewStep) else 0))


LADDER = (3e-6, 1e-5, 3e-5)
ARMS = {
    # matched: same batch, learning rates to choose from, optimiser, critic and updates
    "dxmi": Arm(replace(CRITIC, descent="dxmi"), 1e-5, LADDER),
    "ctrl": Arm(replace(CRITIC, descent="ctrl"), 1e-5, LADDER),
    # an ablation of it, at its rate and not tuned by itself
    "ctrl, no clips": Arm(replace(CRITIC, descent="ctrl", clip=None, limit=None, clamp=None), 1e-5),
    # published: batch 128 and 512 over 16; sampler rates times 33, critic rates times 50
    "dxmi, as published": Arm(FewStep(descent="dxmi", critic_rate=5e-4), 3.3e-6, batch=8, warmup=0),
    # 0.9995 an update leaves 5 % after the published 6,000; here the fall is linear to 0
    "ctrl, as published": Arm(
        FewStep(descent="ctrl", critic_rate=1e-3),
        *(1e-5, ()),
        warmup=0,
        decay="linear",
        weight_decay=0.01,
    ),
    # control: go on with pretraining, at the same evaluations
    "pretraining": Arm(Denoising(), 1e-4, (1e-5, 1e-4, 1e-3)),
}
