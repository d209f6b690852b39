"""Sizes of a round: what is algorithm, what is memory, and that nothing has to divide anything."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from scoreward.core.keys import Key
from scoreward.training.geometry import Geometry

sizes = st.integers(1, 9)


@given(prompts=sizes, group=sizes, processes=st.integers(1, 40))
def test_shares_partition_the_round_for_any_number_of_processes(
    prompts: int, group: int, processes: int
) -> None:
    geometry = Geometry(prompts, group)
    shares = [geometry.share(rank, processes) for rank in range(processes)]
    assert [i for share in shares for i in share] == list(range(prompts * group))
    lengths = [len(share) for share in shares]
    assert max(lengths) - min(lengths) <= 1


@given(prompts=sizes, group=sizes, data=st.data())
def test_minibatches_partition_the_round_into_nearly_equal_parts(
    prompts: int, group: int, data: st.DataObject
) -> None:
    minibatches = data.draw(st.integers(1, prompts * group))
    parts = Geometry(prompts, group, minibatches).parts(Key(("a", 0)))
    assert len(parts) == minibatches
    assert sorted(torch.cat(parts).tolist()) == list(range(prompts * group))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_minibatches_depend_on_their_address_and_not_on_memory_settings() -> None:
    key = Key(("scoreward", 0)) / "round" / 3 / "epoch" / 0
    one = Geometry(4, 4, 3).parts(key)
    other = Geometry(4, 4, 3, rollout_batch=5, micro_batch=2).parts(key)
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    elsewhere = Geometry(4, 4, 3).parts(Key(("scoreward", 0)) / "round" / 3 / "epoch" / 1)
    assert not torch.equal(torch.cat(one), torch.cat(elsewhere))


def test_a_round_counts_its_samples_and_updates() -> None:
    geometry = Geometry(prompts=5, group=7, minibatches=4, epochs=3)
    assert (geometry.samples, geometry.updates) == (35, 12)


def test_the_plan_is_explained_in_sentences() -> None:
    plan = Geometry(prompts=3, group=5, minibatches=2, epochs=3, rollout_batch=4, micro_batch=2)
    assert plan.explain(2) == [
        "A round is 3 prompts x 5 samples = 15 samples.",
        "It is used for 6 optimiser step(s) of 8 samples: 3 epoch(s) x 2 minibatch(es).",
        "2 process(es) hold 7 + 8 samples, generated 4 at a time and trained 2 at a time; "
        "these only set memory, not the result.",
    ]


def test_a_batch_larger_than_the_share_is_not_promised() -> None:
    (line,) = [s for s in Geometry(2, 3, minibatches=2).explain() if "process(es) hold" in s]
    assert "generated 6 at a time and trained 3 at a time" in line


def test_the_plan_says_when_processes_have_nothing_to_do() -> None:
    last = Geometry(1, 2).explain(5)[-1]
    assert last == "3 process(es) have nothing to do: use fewer, or more samples."
    assert len(Geometry(1, 2).explain(2)) == 3


@pytest.mark.parametrize(
    "name", ["prompts", "group", "minibatches", "epochs", "rollout_batch", "micro_batch"]
)
@pytest.mark.parametrize("value", [0, -3])
def test_a_size_below_one_is_refused_by_name(name: str, value: int) -> None:
    with pytest.raises(ValueError, match=rf"^`{name}` must be at least 1, got {value}$"):
        Geometry(**{name: value})


def test_more_minibatches_than_samples_are_refused_with_the_sum() -> None:
    with pytest.raises(ValueError, match=r"^5 minibatches cannot be made of 4 samples \(2 prompts"):
        Geometry(prompts=2, group=2, minibatches=5)
    assert Geometry(prompts=2, group=2, minibatches=4).updates == 4


@given(prompts=sizes, group=sizes, micro=sizes, rollout=sizes, processes=sizes)
def test_no_memory_setting_has_to_divide_anything(
    prompts: int, group: int, micro: int, rollout: int, processes: int
) -> None:
    geometry = Geometry(prompts, group, rollout_batch=rollout, micro_batch=micro)
    assert geometry.explain(processes)[0].endswith(f"= {prompts * group} samples.")


# Whole groups


@given(prompts=sizes, group=sizes, processes=st.integers(1, 12))
def test_shares_of_whole_groups_partition_the_round(
    prompts: int, group: int, processes: int
) -> None:
    geometry = Geometry(prompts, group)
    shares = [geometry.share(rank, processes, unit=group) for rank in range(processes)]
    assert [i for share in shares for i in share] == list(range(prompts * group))
    assert all(share.start % group == share.stop % group == 0 for share in shares)
    lengths = [len(share) // group for share in shares]
    assert max(lengths) - min(lengths) <= 1


@given(prompts=sizes, group=sizes, data=st.data())
def test_minibatches_of_whole_groups_partition_the_prompts(
    prompts: int, group: int, data: st.DataObject
) -> None:
    minibatches = data.draw(st.integers(1, prompts))
    geometry = Geometry(prompts, group, minibatches)
    parts = geometry.parts(Key(("a", 0)), geometry.unit(whole_groups=True))
    assert sorted(torch.cat(parts).tolist()) == list(range(prompts * group))
    for part in parts:
        counts = torch.bincount(part // group, minlength=prompts)
        assert set(counts.tolist()) <= {0, group}
    sizes_in_prompts = [len(part) // group for part in parts]
    assert max(sizes_in_prompts) - min(sizes_in_prompts) <= 1


def test_which_prompts_go_together_changes_from_pass_to_pass() -> None:
    geometry = Geometry(prompts=6, group=2, minibatches=3)
    orders = {
        tuple(torch.cat(geometry.parts(Key(("a", 0)) / e, unit=2)).tolist()) for e in range(9)
    }
    assert len(orders) > 5


def test_samples_stay_together_only_where_groups_must() -> None:
    geometry = Geometry(prompts=5, group=4, minibatches=6)
    assert geometry.unit(whole_groups=False) == 1
    with pytest.raises(ValueError, match="6 minibatches cannot be made of 5 prompts; lower"):
        geometry.unit(whole_groups=True)
    assert Geometry(prompts=5, group=4, minibatches=5).unit(whole_groups=True) == 4
