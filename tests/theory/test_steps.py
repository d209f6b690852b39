"""Steps of generalised DDIM: printed vectors, and the one that knows the data's variance."""

from math import log

import pytest
import torch

from scoreward.core.kernel import DDIM, DataAware, dance_sde, flow_sde, generalised, reverse_sde
from scoreward.core.prediction import Kind, Prediction
from scoreward.core.process import DiscreteVP, LinearVP, Process, RectifiedFlow
from scoreward.theory.gaussian import GaussianLaw, Levels
from scoreward.theory.gaussian import exact as exact_steps
from scoreward.theory.path_kl import step_weights
from tests.core.laws import PROCESSES, affine, exact, line, marginal
from tests.theory.printed import printed, real

VP = LinearVP(1.0, 1.0)  # α² = exp(−t)
NOW, THEN = -log(0.3), -log(0.5)  # ᾱ = 0.3 → 0.5
STEPS = {  # η: coefficient of ε, std, mean, next, log-probability, KL per |Δε|²
    0.0: ("-0.3730166685", "0", "1.1820022264", "1.1820022264", "", ""),
    0.5: (
        *("-0.4440783603", "0.3089444031", "1.2104269031"),
        *("1.2876630039", "0.2244054103", "1.0330671744"),
    ),
    1.0: (
        *("-0.6172133998", "0.5345224838", "1.2796809189"),
        *("1.4133115399", "-0.3238070490", "0.6666666667"),
    ),
    1.3: (
        *("-0.7345466181", "0.6169089507", "1.3266142062"),
        *("1.4808414439", "-0.4671546994", "0.7088699862"),
    ),
    2.0: (
        *("-0.9502466940", "0.6950769945", "1.4128942366"),
        *("1.5866634852", "-0.5864558771", "0.9344948446"),
    ),
}


def prediction(process: Process, kind: Kind, said: float, x: float, t: float) -> Prediction:
    return Prediction.of(kind, real(said)[:, None], real(x)[:, None], real(t), process)


@pytest.mark.parametrize("eta", STEPS)
def test_a_vp_step_is_that_of_the_table(eta: float) -> None:
    """[gddim] (Thm. 1) and [score-as-action] (step KL)"""
    coefficient, std, mean, after, nats, weight = STEPS[eta]
    law = DDIM(generalised(eta))(prediction(VP, "eps", -0.4, 0.8, NOW), real(THEN))
    other = DDIM(generalised(eta))(prediction(VP, "eps", 0.6, 0.8, NOW), real(THEN))
    state = law.sample(real(0.25)[:, None])
    found = [(other.mean - law.mean).item(), law.mean.item(), state.item()]
    assert found == printed(coefficient, mean, after)
    assert law.std.item() == pytest.approx(float(std), abs=5.01e-11)
    if eta > 0:
        assert law.log_prob(state).item() == printed(nats)[0]
        assert law.kl(other).item() == printed(weight)[0]
        levels = Levels.of(VP, (NOW, THEN))
        assert step_weights(levels, eta).tolist() == printed(weight)


FLOW = {
    0.0: ("0", "0.83", "0.83"),
    0.5: ("0.2141864953", "0.7972246812", "0.8507713051"),
    1.0: ("0.3726779962", "0.7166666667", "0.8098361657"),
    1.3: ("0.4318602110", "0.6613502290", "0.7693152818"),
    2.0: ("0.4901483341", "0.5571604938", "0.6796975774"),
}


@pytest.mark.parametrize("eta", FLOW)
def test_a_rectified_flow_step_is_that_of_the_table(eta: float) -> None:
    """[gddim] (Thm. 1)"""
    pred = prediction(RectifiedFlow(), "velocity", -0.3, 0.8, 0.6)
    assert [pred.x0.item(), pred.eps.item()] == pytest.approx([0.98, 0.68], rel=1e-14)
    law = DDIM(generalised(eta))(pred, real(0.5))
    state = law.sample(real(0.25)[:, None])
    texts = [text if "." in text else "0.000000000000" for text in FLOW[eta]]
    found = [law.std.item(), law.mean.item(), state.item()]
    assert found == pytest.approx([float(text) for text in texts], abs=5.01e-11)


GAUSSIAN = {
    0.0: ("0.7997448341", "0.0000000000"),
    0.5: ("0.7517084199", "0.3353938523"),
    1.0: ("0.6276254668", "0.6030226892"),
    1.3: ("0.5358789592", "0.7160878410"),
    2.0: ("0.3372861926", "0.8539233952"),
}


@pytest.mark.parametrize("eta", GAUSSIAN)
def test_the_exact_step_on_gaussian_data_is_that_of_the_table(eta: float) -> None:
    """[gddim] (Prop. 6) and [reward-gap] (E): data N(0.2, 0.6), from x = 0.8."""
    denoised = exact(VP, 0.2, 0.6)(real(0.8)[:, None], real(NOW))
    law = DataAware(eta, 0.6)(denoised, real(THEN))
    assert [law.mean.item(), law.std.item()] == printed(*GAUSSIAN[eta])
    law = exact_steps(GaussianLaw.of(0.2, 0.6), Levels.of(VP, (NOW, THEN)), eta).push(
        GaussianLaw.of(0.8, 0.0)
    )
    assert [law.mean.item(), law.variance.sqrt().item()] == printed(*GAUSSIAN[eta])


STABLE = {
    (981, 1.0): ("1.12285170", "-0.23293578", "0.45446327"),
    (981, 1.2): ("1.12285170", "-0.27728923", "0.53218725"),
    (981, 1.5): ("1.12285170", "-0.35321974", "0.63668885"),
    (21, 1.0): ("1.00909553", "-0.12928714", "0.03947955"),
    (21, 1.2): ("1.00909553", "-0.13432834", "0.04067887"),
    (21, 1.5): ("1.00909553", "-0.13875446", "0.04119797"),
}


@pytest.mark.parametrize(("step", "eta"), STABLE)
def test_steps_of_stable_diffusion_are_those_of_the_table(step: int, eta: float) -> None:
    """[gddim] (Thm. 1): x_s = c_x x_t + c_eps ε + std z on the 50-step grid."""
    process, kernel = DiscreteVP(), DDIM(generalised(eta))
    t, s = process.time_of(step), process.time_of(step - 20)

    def mean(x: float, eps: float) -> float:
        return kernel(prediction(process, "eps", eps, x, t), real(s)).mean.item()

    std = kernel.std(process, real(t), real(s)).item()
    assert [mean(1.0, 0.0), mean(0.0, 1.0), std] == printed(*STABLE[step, eta])


@pytest.mark.parametrize("process", PROCESSES, ids=repr)
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0, 2.0])
def test_the_data_aware_step_is_exact_on_any_grid(process: Process, eta: float) -> None:
    """[gddim] (Prop. 6), property (iii): also where DDIM(generalised) loses variance."""
    times = [0.95, 0.6, 0.2, 0.1]
    chain = affine(DataAware(eta, 0.25), exact(process), times)
    found = chain.push(*marginal(process, 0.95))
    assert found == pytest.approx(marginal(process, 0.1), rel=1e-9)
    plain = affine(DDIM(generalised(eta)), exact(process), times)
    assert plain.push(*marginal(process, 0.95))[1] < 0.99 * found[1]


def test_the_data_aware_step_starts_from_pure_noise() -> None:
    for eta in (0.0, 1.5):
        chain = affine(DataAware(eta, 0.25), exact(RectifiedFlow()), line(1.0, 0.0, 3))
        assert chain.push(0.0, 1.0) == pytest.approx((0.7, 0.25), rel=1e-12)


@pytest.mark.parametrize("process", PROCESSES, ids=repr)
def test_without_variance_the_data_aware_step_is_generalised_ddim(process: Process) -> None:
    """[gddim] (Prop. 6) at c = 0"""
    pred = prediction(process, "eps", -0.4, 0.8, 0.7)
    for eta in (0.0, 0.6, 1.8):
        found, expected = (
            k(pred, real(0.3)) for k in (DataAware(eta, 0.0), DDIM(generalised(eta)))
        )
        torch.testing.assert_close(found.mean, expected.mean)
        torch.testing.assert_close(found.std, expected.std)


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(ValueError, match=r"eta must not be negative, got -1"):
        DataAware(-1.0, 0.2)
    with pytest.raises(ValueError, match=r"variance must not be negative, got -0\.2"):
        DataAware(1.0, -0.2)


def test_published_noise_levels_as_eta() -> None:
    """[flow-grpo] (9) is η = a/√2; [dance-grpo] (step) is η(t) = e √((1 − t)/(2t))."""
    t, flow = real(0.1, 0.4, 0.9), RectifiedFlow()
    torch.testing.assert_close(flow_sde(0.7)(flow, t), reverse_sde(0.7 / 2**0.5)(flow, t))
    eta = 0.3 * ((1 - t) / (2 * t)).sqrt()
    torch.testing.assert_close(dance_sde(0.3)(flow, t), eta * flow.g(t))
    assert printed("0.4950")[0] == 0.7 / 2**0.5
