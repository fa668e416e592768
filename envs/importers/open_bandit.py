"""Import one behaviour policy's log of the Open Bandit Dataset as a feedback log.

The dataset (Saito et al. 2021, *Open Bandit Dataset and Pipeline*) has a folder for each campaign
and policy, such as ``random/`` or ``bts/``, with ``CAMPAIGN.csv`` and ``item_context.csv``. A line
is one slot of a page with its item, click and P(item at that slot); which slots shared a page it
does not say. So each line becomes a slate of one, and ``slot`` (0-based) keeps where it stood.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from envs.errors import UserError
from envs.feedback import check_feedback
from envs.importers.drops import without_bad_rows

_ITEMS = "item_context.csv"
_COLUMNS = {"item_id": "item_id", "click": "click", "propensity_score": "pscore"}
_USERS = "user_feature_"
_AFFINITY = "user-item_affinity_"


def read_open_bandit(folder: Path) -> pd.DataFrame:
    """Return the log of one policy; any line that breaks a rule is a UserError."""
    frame, _ = import_open_bandit(folder)
    return frame


def import_open_bandit(folder: Path, *, drop: bool = False) -> tuple[pd.DataFrame, dict[str, int]]:
    """Return the log of one policy, and lines left out by reason.

    Columns: slate_id, position (0), item_id, reward (the click), click, pscore, timestamp (seconds
    since 1970), logging_policy (the folder's name), ``slot``, ``user_feature_*`` (hashed) and
    ``affinity`` (of this visitor to this item).

    Args:
        folder: such as ``men/bts``.
        drop: leave out lines that break a rule instead of refusing the first.

    Raises:
        UserError: the folder is not of this kind, or the log breaks a rule.
    """
    path = _log_file(folder)
    table = _read(path)
    for column in (*_COLUMNS, "timestamp", "position"):
        if column not in table:
            raise UserError(
                f"{path}: column {column!r} is missing; name a folder of the Open Bandit Dataset, "
                "such as men/random."
            )
    frame = pd.DataFrame(
        {  # type: ignore[misc]  # columns of every kind
            "slate_id": range(len(table)),
            "position": 0,
            **{ours: table[theirs] for theirs, ours in _COLUMNS.items()},
            "reward": table["click"],
            "timestamp": _seconds(table["timestamp"], path),
            "logging_policy": folder.name,
            "slot": table["position"] - 1,
            **{c: table[c] for c in table if str(c).startswith(_USERS)},
            **_affinity(table),
        }
    )
    dropped: dict[str, int] = {}
    if drop:
        frame, dropped = without_bad_rows(frame)
    check_feedback(frame, str(path))
    return frame.assign(reward=frame["reward"].astype(float)), dropped


def with_uniform_target(frame: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Return the log with the target that shows each item equally often at each slot: ``random``.

    Its probability is exact: one over the number of items in the folder's ``item_context.csv``.
    """
    return frame.assign(eval_pscore=1 / len(_read(folder / _ITEMS)))


def with_shares_as_target(frame: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    """Return the log with ``other``'s policy as the target, by its items' shares at each slot.

    That is the other policy averaged over its visitors and its time: what it learnt about single
    visitors is left out.
    """
    shown = other.groupby(["slot", "item_id"]).size()
    shares = (shown / shown.groupby("slot").transform("sum")).rename("eval_pscore")
    joined = frame.join(shares, on=["slot", "item_id"])
    return joined.assign(eval_pscore=joined["eval_pscore"].fillna(0.0))


def _log_file(folder: Path) -> Path:
    found = [path for path in sorted(folder.glob("*.csv")) if path.name != _ITEMS]
    if len(found) != 1:
        raise UserError(
            f"{folder}: must hold one log CAMPAIGN.csv beside {_ITEMS}, but holds {len(found)}; "
            "name a folder of one campaign and policy, such as men/random."
        )
    return found[0]


def _read(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(path, index_col=0)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path}: cannot be read as CSV ({reason}).") from error


def _seconds(values: pd.Series, path: Path) -> pd.Series:
    try:
        moments = pd.to_datetime(values, utc=True, format="ISO8601")
    except ValueError as error:
        raise UserError(f"{path}: column 'timestamp' must hold times ({error}).") from error
    return (moments - pd.Timestamp(0, tz="UTC")).dt.total_seconds()


def _affinity(table: pd.DataFrame) -> dict[str, object]:
    """The visitor's affinity to the item shown, one of as many columns as there are items."""
    names = [column for column in table if str(column).startswith(_AFFINITY)]
    if not names:
        return {}
    place = {int(str(name).removeprefix(_AFFINITY)): n for n, name in enumerate(names)}
    if not set(table["item_id"]) <= set(place):
        return {}
    column = table["item_id"].map(place).to_numpy()
    return {"affinity": table[names].to_numpy()[range(len(table)), column]}
