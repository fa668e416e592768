"""Click models, one file each, one contract (`envs.clicks.base.ClickModel`)."""

from typing import Literal

from envs.clicks.base import ClickModel
from envs.clicks.cascade import Cascade
from envs.clicks.parameters import ClickParameters
from envs.clicks.position import PositionBased

ClickModelName = Literal["position", "cascade"]


def make_click_model(name: ClickModelName, slots: int, parameters: ClickParameters) -> ClickModel:
    """Return the click model ``name`` for slates of ``slots`` items."""
    return PositionBased(slots, parameters.decay) if name == "position" else Cascade()
