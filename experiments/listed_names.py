"""Names that an option lists, separated by commas."""

from __future__ import annotations

from collections.abc import Iterable

from envs.errors import UserError, nearest


def read_names(option: str, listed: str, known: Iterable[str], kind: str) -> tuple[str, ...]:
    """Return the listed names, each once, in order.

    Args:
        option: what messages call the option, for example ``--algorithms``.
        listed: names separated by commas.
        known: the names that there are.
        kind: what they are names of.

    Raises:
        UserError: a name that is none, or no name at all.
    """
    every = list(known)
    names = tuple(dict.fromkeys(name.strip() for name in listed.split(",") if name.strip()))
    for name in names:
        if name not in every:
            raise UserError(
                f"{option} {listed}: there is no {kind} {name!r}; choose among "
                f"{', '.join(every)}.{nearest(name, every)}"
            )
    if not names:
        raise UserError(f"{option} {listed!r}: no name; choose among {', '.join(every)}.")
    return names
