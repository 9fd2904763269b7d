"""When a certificate counts as overdue, and the words for it."""

from __future__ import annotations

import datetime
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.x509 import load_pem_x509_certificate

from forebay_gateway.tls.expiry import expiry
from tests.certificates import Authority


@pytest.mark.parametrize(
    ("age", "lifetime", "words", "is_near"),
    [
        (timedelta(0), timedelta(days=90), "expires in 90 days", False),
        (timedelta(days=81), timedelta(days=90), "expires in 9 days", False),
        (timedelta(days=81, minutes=1), timedelta(days=90), "expires in 8 days", True),
        (timedelta(0), timedelta(days=2), "expires in 2 days", False),
        (timedelta(hours=18), timedelta(days=2), "expires in 30 hours", False),
        (timedelta(0), timedelta(hours=2), "expires in 2 hours", False),
        (timedelta(hours=47), timedelta(days=2), "expires in 60 minutes", True),
        (timedelta(hours=1), timedelta(hours=1), "expired 0 minutes ago", True),
        (timedelta(days=4), timedelta(days=1), "expired 3 days ago", True),
    ],
)
def test_a_certificate_is_near_its_end_when_a_tenth_of_its_time_is_left(
    tmp_path: Path, age: timedelta, lifetime: timedelta, words: str, is_near: bool
) -> None:
    issued = Authority(tmp_path).issue("server", valid=(timedelta(0), lifetime))
    certificate = load_pem_x509_certificate(issued.certificate.read_bytes())
    begin: datetime.datetime = certificate.not_valid_before_utc
    found = expiry(certificate, begin + age)
    assert (found.description, found.is_near) == (words, is_near)
