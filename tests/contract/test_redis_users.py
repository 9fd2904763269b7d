"""Redis users that lack permissions which calls need: doctor names the missing ACL rule."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import pytest
import redis

from tests.commands import Ran, run
from tests.harness import environment, free_port, process, redis_server

ALLOWED = ("~*", "&*", "+@all")


@pytest.fixture(scope="module")
def server() -> Iterator[redis.Redis]:
    with redis_server() as url, redis.Redis.from_url(url) as client:
        client.config_set("appendonly", "yes")
        yield client


def url_of_user(server: redis.Redis, rules: Sequence[str]) -> str:
    """The server's URL for a user with these rules."""
    server.execute_command("ACL", "SETUSER", "app", "reset", "on", ">secret", *rules)
    port = server.connection_pool.connection_kwargs["port"]
    return f"redis://app:secret@127.0.0.1:{port}/0"


def doctor(server: redis.Redis, rules: Sequence[str]) -> Ran:
    """Runs doctor as a user with these rules."""
    return doctor_at(url_of_user(server, rules))


def doctor_at(url: str) -> Ran:
    command = ("forebay", "doctor", "--ledger-url", url, "--listen", f"127.0.0.1:{free_port()}")
    ran = run(*command, env=environment())
    assert "Traceback" not in ran.out + ran.err
    assert "secret" not in ran.out + ran.err
    return ran


def line_of(ran: Ran, subject: str) -> str:
    (line,) = (line for line in ran.out.splitlines() if f"{subject}:" in line)
    return line


@pytest.mark.parametrize(
    ("rules", "missing"),
    [
        (("~*", "resetchannels", "+@all"), "&forebay:*"),
        (("&*", "+@all", "~other:*"), "~forebay:*"),
        ((*ALLOWED, "-@scripting"), "+@scripting"),
        ((*ALLOWED, "-xadd"), "+@all"),
        ((*ALLOWED, "-subscribe"), "+@pubsub"),
        ((*ALLOWED, "-set"), "+set"),
    ],
)
def test_doctor_names_the_rule_that_a_ledgers_user_lacks(
    server: redis.Redis, rules: Sequence[str], missing: str
) -> None:
    ran = doctor(server, rules)
    assert line_of(ran, "ledger").startswith("problem")
    assert f"give the user the rule `{missing}`" in ran.out


def test_doctor_names_the_rule_that_a_brokers_user_lacks(server: redis.Redis) -> None:
    ran = doctor(server, ("~forebay:*", "&*", "+@all"))
    assert line_of(ran, "ledger").startswith("ok")
    assert line_of(ran, "broker").startswith("problem")
    assert "give the user the rule `~*`" in ran.out


@pytest.mark.parametrize("rules", [("-config",), ("-info",), ("-@dangerous",), ()])
def test_doctor_works_without_commands_that_calls_do_not_need(
    server: redis.Redis, rules: Sequence[str]
) -> None:
    ran = doctor(server, (*ALLOWED, *rules))
    assert line_of(ran, "ledger").startswith("ok")
    assert line_of(ran, "broker").startswith("ok")


GATEWAY = ("forebay", "gateway", "--listen", "127.0.0.1:0")
WORKER = ("celery", "-A", "forebay_workers", "worker", "-Q", "add", "-l", "INFO", "-c", "1")
NO_CHANNELS = ("~*", "resetchannels", "+@all")
NO_SCRIPTS = (*ALLOWED, "-@scripting")
FEW_RIGHTS = ("~other:*", "resetchannels", "+@all", "-@scripting", "-xadd", "-subscribe")


@pytest.mark.variant
@pytest.mark.parametrize(
    ("command", "rules", "logged"),
    [
        (GATEWAY, NO_CHANNELS, "channel"),
        (GATEWAY, NO_SCRIPTS, "evalsha"),
        (WORKER, NO_SCRIPTS, "evalsha"),
        (WORKER, NO_CHANNELS, "channel.*give the user the rule `&\\*`"),
        (GATEWAY, FEW_RIGHTS, "evalsha"),
        (WORKER, FEW_RIGHTS, "key.*the rule `~\\*`(?s:.*)Frequent restarts"),
    ],
)
def test_a_process_logs_what_its_user_lacks(
    server: redis.Redis, command: Sequence[str], rules: Sequence[str], logged: str
) -> None:
    url = url_of_user(server, rules)
    with process(*command, env=environment(FOREBAY_LEDGER_URL=url)) as running:
        running.wait_for(rf"(?i)permission.*{logged}")
    assert "Traceback" not in running.output
    assert "secret" not in running.output


def give(server: redis.Redis, text: str) -> str | None:
    """Gives the user the first rule that the text advises, and returns it."""
    advised = re.search(r"give the user the rule `([^`]+)`", text)
    if advised is not None:
        server.execute_command("ACL", "SETUSER", "app", advised[1])
    return advised and advised[1]


def test_who_gives_each_rule_that_doctor_names_has_a_user_that_lacks_none(
    server: redis.Redis,
) -> None:
    url = url_of_user(server, FEW_RIGHTS)
    given: list[str] = []
    while rule := give(server, (ran := doctor_at(url)).out):
        assert rule not in given
        given.append(rule)
    assert len(given) >= 6, given
    assert line_of(ran, "ledger").startswith("ok")
    assert line_of(ran, "broker").startswith("ok")
    for started in (GATEWAY, WORKER):
        with process(*started, env=environment(FOREBAY_LEDGER_URL=url)) as running:
            running.wait_for(r" ready(\.| on)")
        assert "permission" not in running.output
