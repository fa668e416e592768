"""Propensities for a log that has none: estimated, cross-fitted, and flagged as such.

A model of which item stands at each position, from what was known before the page was shown. With
p_l(a | x) its estimate for position l, slates are filled from the top without showing an item
twice, so the stages are p_l(a_l | x) / (1 - sum over the items above of p_l). Estimates are no
substitute for logged propensities: whatever else decided the page and is not among the columns
biases every value found with them, and no diagnostic can see it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from envs.errors import UserError, nearest
from envs.feedback import PROPENSITIES, slate_order
from experiments.ope.evaluate import ESTIMATED

#: Times that each item is counted as shown before any is: no item is impossible.
_PRIOR = 1.0


def estimate_propensities(
    frame: pd.DataFrame,
    features: Sequence[str] = (),
    *,
    rng: np.random.Generator,
    folds: int = 3,
    cluster: str = "session_id",
) -> pd.DataFrame:
    """Return the log with estimated ``pscore, pscore_cascade, pscore_item_position``.

    Column ``pscore_estimated`` is 1 on all rows, and every estimate made from the log says so.

    Args:
        frame: a feedback log without propensities: slate_id, position, item_id.
        features: columns known before the page was shown (numbers, or categories); without any,
            propensities are the shares of items at a position, smoothed by one count each.
        rng: shuffles clusters into folds.
        folds: number of folds, at least 2: no page is predicted by a model that saw its cluster.
        cluster: the column whose values are kept in one fold; slates where it is absent.

    Raises:
        UserError: a column is missing, or there are fewer clusters than folds.
    """
    _check_columns(frame, features)
    groups, _ = pd.factorize(frame[cluster if cluster in frame else "slate_id"])
    if not 2 <= folds <= groups.max() + 1:
        raise UserError(
            f"a propensity model needs from 2 folds to as many as there are clusters "
            f"({groups.max() + 1}), but folds is {folds}."
        )
    items, known = pd.factorize(frame["item_id"])
    position = frame["position"].to_numpy(dtype=np.int64)
    splitter = GroupKFold(folds, shuffle=True, random_state=int(rng.integers(2**31)))
    table = np.empty((len(frame), len(known)))
    for train, held_out in splitter.split(items, groups=groups):
        for place in np.unique(position):
            fit, ask = train[position[train] == place], held_out[position[held_out] == place]
            if len(ask):
                table[ask] = _chances(
                    frame.iloc[fit], items[fit], frame.iloc[ask], len(known), features
                )
    return frame.assign(**stage_propensities(frame, items, table), **{ESTIMATED: 1})


def _chances(
    fit: pd.DataFrame, items: np.ndarray, ask: pd.DataFrame, count: int, features: Sequence[str]
) -> np.ndarray:
    """P(item at this position) for each row of ``ask``, (R, I) float64, each row summing to 1."""
    shares = (np.bincount(items, minlength=count) + _PRIOR) / (len(items) + _PRIOR * count)
    if not features or len(np.unique(items)) < 2:
        return np.broadcast_to(shares, (len(ask), count))
    model = make_pipeline(_encoder(fit, features), LogisticRegression(max_iter=300))
    model.fit(fit[list(features)], items)
    found = np.zeros((len(ask), count))
    found[:, model.classes_] = model.predict_proba(ask[list(features)])
    # Items that the training rows never showed here get what the prior leaves them.
    unseen = np.setdiff1d(np.arange(count), model.classes_)
    found *= 1 - shares[unseen].sum()
    found[:, unseen] = shares[unseen]
    return found


def _encoder(frame: pd.DataFrame, features: Sequence[str]) -> object:
    numbers = [name for name in features if pd.api.types.is_numeric_dtype(frame[name])]
    others = [name for name in features if name not in numbers]
    return make_column_transformer(
        (StandardScaler(), numbers), (OneHotEncoder(handle_unknown="ignore"), others)
    )


def stage_propensities(
    frame: pd.DataFrame, items: np.ndarray, table: np.ndarray
) -> dict[str, np.ndarray]:
    """Return the three propensities of each row, in the frame's order.

    Args:
        frame: R rows with slate_id and position.
        items: (R,) int, the item of each row.
        table: (R, I) float64, P(item at this row's position) when nothing stands above.
    """
    order, starts = slate_order(frame)
    lengths = np.diff(starts, append=len(order))
    chance = table[np.arange(len(items)), items]
    above = np.zeros(len(items))
    for back in range(1, int(lengths.max())):
        # The item that stands `back` places above, where the slate has one.
        depth = np.arange(len(order)) - np.repeat(starts, lengths)
        here = np.flatnonzero(depth >= back)
        above[order[here]] += table[order[here], items[order[here - back]]]
    stage = np.minimum(chance / np.maximum(1 - above, 1e-12), 1.0)
    logs = np.cumsum(np.log(stage[order]))
    before = np.repeat(np.concatenate([[0.0], logs])[starts], lengths)
    cascade = np.empty(len(order))
    cascade[order] = np.exp(logs - before)
    whole = np.empty(len(order))
    whole[order] = np.repeat(cascade[order[starts + lengths - 1]], lengths)
    return dict(zip(PROPENSITIES, (whole, cascade, chance), strict=True))


def _check_columns(frame: pd.DataFrame, features: Sequence[str]) -> None:
    for name in ("slate_id", "position", "item_id", *features):
        if name not in frame:
            raise UserError(
                f"a propensity model needs column {name!r}, which the log does not have."
                + nearest(name, map(str, frame.columns))
            )
        if frame[name].isna().any():
            row = int(frame[name].isna().to_numpy().argmax())
            raise UserError(
                f"a propensity model needs column {name!r} on every row, but row {row} (counted "
                "from 0) has no value; fill it, or leave the column out."
            )
