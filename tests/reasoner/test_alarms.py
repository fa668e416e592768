"""Alarms: each is raised by the curve it is meant for, once, and by no healthy one."""

from typing import Any

import pytest
from pydantic import ValidationError

from policies.reasoner.alarms import (
    AlarmsConfig,
    Limit,
    all_alarms,
    constant_for,
    held_out_fall,
    left_of,
    new_alarms,
    risen,
)

Row = dict[str, float]
OFF: dict[str, Any] = dict.fromkeys(AlarmsConfig.model_fields)


def rows(**figures: list[float]) -> list[Row]:
    """Return a curve with these figures, one value a cycle."""
    length = len(next(iter(figures.values())))
    return [
        {"cycle": float(i + 1), **{name: values[i] for name, values in figures.items()}}
        for i in range(length)
    ]


def only(**limits: Any) -> AlarmsConfig:
    return AlarmsConfig(**(OFF | limits))


def test_a_collapse_is_measured_against_the_first_three_cycles() -> None:
    curve = rows(distinct2=[0.3, 0.5, 0.4, 0.9, 0.1, 0.2, 0.3])
    assert left_of(curve, "distinct2") == pytest.approx(0.2 / 0.4)
    assert left_of(curve[:5], "distinct2") is None  # the ends would overlap


def test_an_alarm_is_raised_once_when_it_is_crossed_and_again_after_it_was_left() -> None:
    values = [1.0, 1.0, 1.0, 1.0, 0.2, 0.2, 0.2, 0.2, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0]
    found = all_alarms(rows(entropy=values), only(entropy=Limit(limit=0.5, action="stop")))
    # Means of three, from the sixth cycle on: .47, .2, .2, .47, .73, 1, .67, .33, 0.
    assert [one["cycle"] for one in found] == [6, 13]
    assert found[0] == {
        "cycle": 6,
        "name": "entropy",
        "value": pytest.approx((1.0 + 0.2 + 0.2) / 3),
        "limit": 0.5,
        "action": "stop",
    }


def test_the_kl_ceiling_is_a_mean_of_three() -> None:
    curve = rows(kl_sequence=[0.0, 1.0, 5.0, 9.0, 13.0])
    assert new_alarms(curve[:4], only(kl=Limit(limit=8.0))) == []
    (alarm,) = new_alarms(curve, only(kl=Limit(limit=8.0)))
    assert (alarm.name, alarm.value, alarm.action) == ("kl", 9.0, "warn")


def test_vetoes_are_judged_by_their_rise() -> None:
    curve = rows(vetoed=[0.3, 0.3, 0.3, 0.2, 0.45, 0.55])
    assert risen(curve, "vetoed") == pytest.approx(0.1)
    assert new_alarms(curve, only(vetoed=Limit(limit=0.05)))[0].name == "vetoed"
    assert new_alarms(curve, only(vetoed=Limit(limit=0.2))) == []


def measured(curve: list[Row], held: dict[int, float]) -> list[Row]:
    for cycle, value in held.items():
        curve[cycle - 1] |= {"held_reward": value, "held_reward_se": 0.3}
    return curve


def test_overfitting_is_a_fall_on_held_out_prompts_while_training_reward_rises() -> None:
    curve = measured(rows(reward=[1.0, 1.0, 2.0, 3.0]), {2: 1.5, 4: 0.0})
    # The difference of two independent means with error .3 has error .3 * sqrt 2.
    assert held_out_fall(curve) == pytest.approx(1.5 / (0.3 * 2**0.5))
    assert held_out_fall(curve[:3]) is None  # not measured in its last cycle


def test_a_fall_in_both_is_no_overfitting() -> None:
    curve = measured(rows(reward=[2.0, 2.0, 1.0, 0.5]), {2: 1.5, 4: 0.0})
    assert held_out_fall(curve) == 0


def test_figures_that_are_not_there_raise_nothing() -> None:
    healthy = rows(reward=[1.0] * 9, reward_range=[1.0] * 9)
    assert all_alarms(healthy, AlarmsConfig()) == []
    assert all_alarms([], AlarmsConfig()) == []


def test_constant_rewards_are_counted_back_from_the_last_cycle() -> None:
    assert constant_for(rows(reward_range=[0.0, 1.0, 0.0, 0.0])) == 2
    assert constant_for(rows(reward_range=[0.0, 1.0])) == 0
    assert constant_for([]) == 0


def test_an_action_that_is_none_is_refused() -> None:
    with pytest.raises(ValidationError, match="'warn' or 'stop'"):
        AlarmsConfig.model_validate({"kl": {"limit": 1.0, "action": "pray"}})
