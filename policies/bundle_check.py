"""The whole check of a bundle: its files, what it answers, and what its reasons claim."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from policies.bundle import load_bundle
from policies.bundle_book import check_book
from policies.bundle_files import BOOK, BOOK_BEFORE, check_bundle
from policies.bundle_selftest import run_self_test
from rewards.claims import ClaimChecker


@dataclass(frozen=True)
class Checked:
    """What was looked at, all of it in order."""

    schema: int
    files: int
    #: Requests of the self-test, and reasons whose claims were found again.
    requests: int
    reasons: int


def check_whole(folder: Path) -> Checked:
    """Check the digests and kinds of all files, then the self-test, then the claims of reasons.

    Raises:
        UserError: for the first thing that is not as it was exported.
    """
    manifest = check_bundle(folder)
    bundle = load_bundle(folder, verify=False)
    requests = run_self_test(bundle, folder)
    checker = ClaimChecker(bundle.catalogue)
    reasons = sum(
        check_book(folder / name, bundle.catalogue, bundle.profiles.n_segments, checker)
        for name in (BOOK, BOOK_BEFORE)
        if (folder / name).is_file()
    )
    return Checked(manifest.schema_version, len(manifest.files), requests, reasons)
