"""Compares the signing keys of these settings with those that workers have announced."""

from __future__ import annotations

from collections.abc import Sequence

from forebay_backends.ledger.presence import WorkerPresence
from forebay_backends.settings import Settings, SettingsError
from forebay_backends.signing.keys import SAME_KEYS, mismatch
from forebay_gateway.cli.finding import Finding

_SUBJECT = "signing keys"


def signing_finding(settings: Settings, workers: Sequence[WorkerPresence]) -> Finding | None:
    """None if neither these settings nor any worker has keys."""
    try:
        keyring = settings.keyring()
    except SettingsError as error:
        return Finding(_SUBJECT, False, str(error), "correct the file")
    if not keyring.is_on and not any(worker.signing_keys for worker in workers):
        return None
    problems = [
        f"worker {worker.worker} {problem}"
        for worker in workers
        if (problem := mismatch(keyring.ids, worker.signing_keys)) is not None
    ]
    if problems:
        return Finding(_SUBJECT, False, "; ".join(problems), SAME_KEYS)
    signer, *others = keyring.ids
    description = f"{signer} signs" + (f"; {', '.join(others)} verify, too" if others else "")
    if not keyring.is_required:
        description += "; messages without a signature are accepted (signing_required = false)"
    return Finding(_SUBJECT, True, description)
