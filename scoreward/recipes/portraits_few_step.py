"""Few-step fine-tuning on the built-in portraits: no reward, real pictures and a learned energy.

The pictures and their careless captions are those of pretraining, so that what is learned is to
draw in few steps and nothing new about the words.
"""

from scoreward.data import portraits as data
from scoreward.objectives.few_step import FewStep
from scoreward.recipes.portraits import Captions, HeldOut, Start
from scoreward.recipes.sampling import Sampling
from scoreward.training.geometry import Geometry
from scoreward.training.optimizer import Optimizer
from scoreward.training.run import Budget, Keeping, Run
from scoreward.training.source import Offline


def portraits_few_step(
    objective: FewStep = FewStep(critic_steps=3),
    sampling: Sampling = Sampling(steps=4, eta=1.0),
    geometry: Geometry = Geometry(prompts=64, group=1),
    optimizer: Optimizer = Optimizer(lr=1e-5, warmup=30),
    budget: Budget = Budget(rounds=80),
    held_out: HeldOut = HeldOut(steps=4),
    captions: Captions = Captions(dropout=0.0),
    model: Start = Start(),
) -> Run:
    """Few-step fine-tuning: a stochastic sampler of 4 steps goes down a learned energy.

    The reported reward is the learned one, minus the energy; it says how far the sampler is from
    deceiving the energy, not how good it is. Measure with as many steps as are trained. In the
    warm-up the energy learns and the sampler hardly does; rates ten times higher ruined it.
    """
    train = data.load("train")
    words = data.careless_captions(train, captions.misnamed)
    rollout = sampling.sampler()
    return Run(
        name="portraits_few_step",
        model=model.build(),
        objective=objective,
        source=Offline(train.images, words, geometry, captions.dropout, rollout),
        optimizer=optimizer,
        budget=budget,
        evaluation=held_out.evaluation(),
        keeping=Keeping(every=held_out.every),
    )
