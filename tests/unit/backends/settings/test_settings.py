"""Settings: the precedence of sources, and invalid values."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from forebay.deadline import LONGEST_S
from forebay_backends.settings import Settings, SettingsError, given_settings, load_settings

SECRET = "s3cret"  # noqa: S105 - the word that no message may show


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in os.environ:
        if name.startswith("FOREBAY_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def _refusal(flags: dict[str, object] | None = None) -> str:
    with pytest.raises(SettingsError) as caught:
        load_settings(flags)
    return str(caught.value)


def _refusal_by(monkeypatch: pytest.MonkeyPatch, source: str, name: str, value: str) -> str:
    """The refusal of a value that a `variable`, a `file` or a `flag` gives."""
    if source == "variable":
        monkeypatch.setenv(f"FOREBAY_{name.upper()}", value)
    elif source == "file":
        Path("forebay.toml").write_text(f'{name} = "{value}"\n')
    return _refusal({name: value} if source == "flag" else None)


def test_all_settings_have_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    settings = load_settings()
    assert settings.listen == "127.0.0.1:50051"
    assert settings.services == ("forebay.compute.v1.compute_pb2",)
    assert settings.data_dir == Path("/state/forebay")
    assert settings.backends().ledger_url == "unix:///state/forebay/ledger.sock"
    assert settings.backends().broker_is_ledger


def test_the_limits_are_by_default_those_of_the_documentation() -> None:
    settings = load_settings()
    numbers = {
        name: value
        for name, value in settings.model_dump().items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
    assert numbers == {
        "ledger_min_replicas": 0,
        "ledger_replica_timeout_s": 1.0,
        "processes": 1,
        "max_message_bytes": 4 << 20,
        "max_calls": 10_000,
        "max_held_bytes": 512 << 20,
        "max_queue_depth": 100_000,
        "max_delayed_calls": 100_000,
        "max_eta_s": 1500.0,
        "first_request_s": 30.0,
        "idle_s": 60.0,
        "stall_s": 60.0,
        "lame_duck_s": 5.0,
        "queue_wait_s": 60.0,
        "attempts": 3,
        "cancel_grace_s": 5.0,
        "linger_s": 10.0,
        "request_bytes": 64 << 20,
        "item_bytes": 256 << 20,
        "window_bytes": 8 << 20,
        "retention_s": 3600.0,
        "retention_bytes": 1 << 30,
        "drain_s": 10.0,
    }
    assert settings.run_time_s is None


def test_the_data_is_under_the_home_without_a_state_folder(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setenv("HOME", "/home/me")
    assert load_settings().data_dir == Path("/home/me/.local/state/forebay")


def test_flags_go_over_variables_over_the_file_over_defaults(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Path("forebay.toml").write_text("max_calls = 1\nattempts = 2\nretention_s = 3.0\n")
    monkeypatch.setenv("FOREBAY_MAX_CALLS", "10")
    monkeypatch.setenv("FOREBAY_ATTEMPTS", "20")
    settings = load_settings({"max_calls": 100, "attempts": None})
    assert (settings.max_calls, settings.attempts, settings.retention_s) == (100, 20, 3.0)
    assert settings.drain_s == Settings.model_fields["drain_s"].default


def test_given_settings_override_defaults_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FOREBAY_MAX_CALLS", "7")
    monkeypatch.setenv("FOREBAY_NO_SUCH", "1")
    Path("forebay.toml").write_text("max_calls = 8\n")
    assert given_settings(linger_s=1).model_dump() == {
        **given_settings().model_dump(),
        "linger_s": 1.0,
    }
    assert given_settings().max_calls == Settings.model_fields["max_calls"].default
    with pytest.raises(SettingsError, match="max_cals: no such setting"):
        given_settings(max_cals=1)


def test_a_file_elsewhere_is_named_by_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("forebay.toml").write_text("max_calls = 1\n")
    Path("other.toml").write_text("max_calls = 2\n")
    monkeypatch.setenv("FOREBAY_CONFIG", "other.toml")
    assert load_settings().max_calls == 2


def test_a_file_holds_options_of_checks_and_lists_of_services() -> None:
    Path("forebay.toml").write_text(
        'services = ["a_pb2", "b_pb2"]\n[checks."pkg.Service.Method"]\nmax_n = 20\n'
    )
    settings = load_settings()
    assert settings.services == ("a_pb2", "b_pb2")
    assert settings.checks == {"pkg.Service.Method": {"max_n": 20}}


def test_variables_hold_lists_and_tables_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOREBAY_SERVICES", '["a_pb2"]')
    monkeypatch.setenv("FOREBAY_CHECKS", '{"p.S.M": {"max_n": 20}}')
    settings = load_settings()
    assert (settings.services, settings.checks) == (("a_pb2",), {"p.S.M": {"max_n": 20}})


def test_settings_do_not_change() -> None:
    settings = load_settings()
    with pytest.raises(ValueError, match="frozen"):
        settings.max_calls = 5


def test_a_missing_settings_file_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOREBAY_CONFIG", "absent.toml")
    refusal = _refusal()
    assert "FOREBAY_CONFIG = 'absent.toml'" in refusal
    assert "expected a TOML file" in refusal


def test_a_file_that_is_no_toml_is_refused() -> None:
    Path("forebay.toml").write_text("max_calls =\n")
    assert _refusal()


def test_unknown_variables_are_refused_with_those_there_are_and_without_their_values(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FOREBAY_MAX_CALL", "7")
    monkeypatch.setenv("FOREBAY_PORT", "80")
    first, second = _refusal().splitlines()
    assert first.startswith("FOREBAY_MAX_CALL: no such setting")
    assert second.startswith("FOREBAY_PORT: no such setting")
    assert "expected one of" in first
    assert "FOREBAY_MAX_CALLS" in first


@pytest.mark.parametrize("source", ["file", "flags"])
def test_an_unknown_name_is_refused_with_those_there_are_and_without_its_value(source: str) -> None:
    if source == "file":
        Path("forebay.toml").write_text("max_call = 7\n")
    refusal = _refusal({"max_call": 7} if source == "flags" else None)
    assert refusal.startswith("max_call: no such setting; expected one of")
    assert "max_calls" in refusal


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("max_calls", "many", "integer"),
        ("max_calls", "0", "greater than or equal to 1"),
        ("queue_wait_s", "0", "greater than 0"),
        ("queue_wait_s", "soon", "number"),
        ("max_message_bytes", "1023", "1024"),
        ("retention_s", "-1", "greater than 0"),
        ("log_level", "LOUD", "DEBUG|INFO|WARNING|ERROR"),
        ("listen", "50051", "HOST:PORT"),
        ("listen", "h:65536", "HOST:PORT"),
        ("listen", ":80", "HOST:PORT"),
        ("admin_listen", "50052", "HOST:PORT or unix:PATH"),
        ("admin_listen", "unix:", "HOST:PORT or unix:PATH"),
        ("admin_listen", f"unix:/{'x' * 120}", "HOST:PORT or unix:PATH"),
        ("admin_listen", "127.0.0.1:50051", "another address than listen"),
        ("web_listen", "8080", "HOST:PORT or unix:PATH"),
        ("web_listen", "127.0.0.1:50051", "another address than listen"),
        ("admin_listen", "0.0.0.0:50052", "loopback"),
        ("admin_listen", "10.0.0.7:50052", "loopback"),
        ("listen", "h:http", "HOST:PORT"),
        ("key_prefix", "my app:", "pattern"),
        ("key_prefix", "{myapp}:", "pattern"),
        ("tls_ca", "absent.pem", "PEM file"),
        ("tls_certificate", "absent.pem", "PEM file"),
        ("tls_key", "absent.pem", "PEM file"),
    ],
)
@pytest.mark.parametrize("source", ["variable", "file", "flag"])
def test_a_bad_value_is_refused_with_its_name_and_what_was_expected(
    monkeypatch: pytest.MonkeyPatch, source: str, name: str, value: str, expected: str
) -> None:
    refusal = _refusal_by(monkeypatch, source, name, value)
    assert refusal.startswith(f"{name} = ")
    assert value in refusal
    assert expected in refusal


@pytest.mark.parametrize(
    ("names", "least", "below"),
    [
        (("processes", "max_calls", "max_queue_depth", "max_delayed_calls", "attempts"), 1, 0),
        (("request_bytes", "item_bytes", "window_bytes"), 1, 0),
        (("max_message_bytes",), 1024, 1023),
        (
            ("first_request_s", "idle_s", "stall_s", "queue_wait_s", "run_time_s", "retention_s"),
            0.001,
            0,
        ),
        (("cancel_grace_s", "linger_s", "drain_s"), 0, -0.001),
        (("retention_bytes",), 0, -1),
    ],
)
def test_limits_have_a_least_value(names: tuple[str, ...], least: float, below: float) -> None:
    for name in names:
        assert getattr(load_settings({name: least}), name) == least
        assert _refusal({name: below}).startswith(f"{name} = {below}: ")


def test_all_bad_values_are_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOREBAY_MAX_CALLS", "0")
    monkeypatch.setenv("FOREBAY_ATTEMPTS", "0")
    assert len(_refusal().splitlines()) == 2


@pytest.mark.parametrize("name", ["ledger_url", "broker_url"])
def test_the_password_of_a_refused_url_is_not_shown(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(f"FOREBAY_{name.upper()}", f"http://me:{SECRET}@h")
    refusal = _refusal()
    assert SECRET not in refusal
    assert refusal.startswith(f"{name}: 'http://…' is not a Redis or Valkey URL")


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "[::1]:50051", "localhost:65535"])
def test_host_and_port_are_accepted(listen: str) -> None:
    assert load_settings({"listen": listen}).listen == listen


def test_urls_are_brought_into_one_form() -> None:
    settings = load_settings({"ledger_url": "valkey://h", "broker_url": "unix:///r.sock"})
    both = settings.backends()
    assert (both.ledger_url, both.broker_url) == ("redis://h:6379/0", "unix:///r.sock")


def test_a_password_in_an_unknown_setting_is_not_shown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FOREBAY_REDIS_URL", f"redis://:{SECRET}@h")
    assert SECRET not in _refusal()
    monkeypatch.delenv("FOREBAY_REDIS_URL")
    (tmp_path / "forebay.toml").write_text(f'ledger = "redis://:{SECRET}@h"')
    monkeypatch.setenv("FOREBAY_CONFIG", str(tmp_path / "forebay.toml"))
    assert SECRET not in _refusal()


def test_an_empty_variable_names_no_routes_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOREBAY_ROUTES", "")
    assert load_settings().routes is None


def test_no_two_groups_of_settings_have_a_validator_of_the_same_name() -> None:
    groups = [group for group in Settings.__mro__ if group.__module__.endswith("_settings")]
    assert len(groups) >= 3
    names = [name for group in groups for name in vars(group) if name.startswith("_")]
    own = [name for name in names if not name.startswith(("__", "_abc_"))]
    assert len(set(own)) == len(own)


def test_an_empty_url_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOREBAY_BROKER_URL", "")
    monkeypatch.setenv("FOREBAY_LEDGER_URL", "")
    settings = load_settings()
    assert settings.ledger_url is None
    assert settings.backends().broker_is_ledger


@pytest.mark.parametrize(
    ("name", "url", "expected"),
    [
        ("ledger_url", "redis://[::1", "redis://USER:PASSWORD@HOST"),
        ("ledger_url", "redis://h:port/0", "redis://USER:PASSWORD@HOST"),
        ("ledger_url", "unix://run/redis.sock", "unix:///PATH"),
        ("ledger_url", "http://h", "redis://"),
        ("ledger_url", "amqp://h", "redis://"),
        ("broker_url", "sqs://h", "amqp://"),
        ("broker_url", "redis-cluster://h", "RabbitMQ"),
        ("result_url", "redis-cluster://h", "name another Redis"),
    ],
)
@pytest.mark.parametrize("source", ["variable", "file", "flag"])
def test_a_bad_url_is_refused_with_its_scheme_and_what_was_expected(
    monkeypatch: pytest.MonkeyPatch, source: str, name: str, url: str, expected: str
) -> None:
    refusal = _refusal_by(monkeypatch, source, name, url)
    assert refusal.startswith(f"{name}: ")
    assert expected in refusal
    assert url not in refusal


def test_a_key_prefix_and_tls_apply_to_ledger_broker_and_results(tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_text("")
    urls = {"ledger_url": "rediss://a", "broker_url": "amqps://b", "result_url": "rediss://c"}
    settings = load_settings({**urls, "key_prefix": "myapp:", "tls_ca": str(ca)})
    servers = (
        settings.backends().ledger,
        settings.backends().broker,
        settings.application().result_server,
    )
    assert [server and server.tls and server.tls.ca for server in servers] == [str(ca)] * 3
    assert settings.backends().ledger.key_prefix == "myapp:"


def test_a_variable_that_is_no_json_is_refused_with_an_example(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FOREBAY_SERVICES", "a.b_pb2")
    assert _refusal() == ("FOREBAY_SERVICES = 'a.b_pb2': expected JSON, such as [\"mypkg.my_pb2\"]")


def test_a_file_that_is_no_toml_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("listen = nowhere")
    monkeypatch.setenv("FOREBAY_CONFIG", str(tmp_path / "bad.toml"))
    assert _refusal().startswith(f"{tmp_path / 'bad.toml'}: ")


def test_the_callers_address_of_a_gateway_is_not_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOREBAY_ADDRESS", "127.0.0.1:1")
    assert load_settings().listen == "127.0.0.1:50051"


def test_the_limit_on_held_bytes_has_room_for_messages() -> None:
    settings = {"max_message_bytes": 1_000_000, "max_held_bytes": 3_999_999}
    assert _refusal(settings).startswith("max_held_bytes = 3999999: expected 4 times max_message")
    assert load_settings({**settings, "max_held_bytes": 4_000_000}).max_held_bytes == 4_000_000


def test_processes_share_the_limits() -> None:
    flags = {"processes": 4, "max_calls": 10, "max_held_bytes": 1 << 30}
    one = load_settings(flags).of_one_process()
    assert (one.max_calls, one.max_held_bytes, one.processes) == (3, 1 << 28, 4)


def test_a_single_process_has_the_whole_limit() -> None:
    settings = load_settings()
    assert settings.of_one_process() == settings


def test_each_process_has_room_for_messages() -> None:
    settings = {"processes": 2, "max_message_bytes": 1_000_000, "max_held_bytes": 7_999_999}
    assert "expected 4 times max_message_bytes times processes, 2, or more" in _refusal(settings)
    assert load_settings({**settings, "max_held_bytes": 8_000_000}).processes == 2


def test_the_data_folder_may_be_a_relative_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load_settings({"data_dir": "data"})
    assert settings.data_dir == tmp_path / "data"
    assert str(tmp_path) in settings.backends().ledger_url


@pytest.mark.parametrize("value", ["inf", "1e300"])
def test_times_of_100_years_and_more_count_as_100_years(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    names = [name for name in Settings.model_fields if name.endswith("_s")]
    for name in names:
        monkeypatch.setenv(f"FOREBAY_{name.upper()}", value)
    settings = load_settings()
    assert {getattr(settings, name) for name in names} == {LONGEST_S}


@pytest.mark.parametrize("url", [None, "redis-cluster://one:7000,two:7000"])
def test_replicas_are_waited_for_on_one_server_only(url: str | None) -> None:
    with pytest.raises(SettingsError, match="ledger_min_replicas = 1: expected 0"):
        given_settings(ledger_url=url, broker_url="amqp://rabbit//", ledger_min_replicas=1)
    assert given_settings(ledger_url="redis://one", ledger_min_replicas=1).ledger_min_replicas == 1


TWO = """
[applications.shop]
broker_url = "redis://:secret@shop/1"
result_url = "rediss://shop/2"
key_prefix = "shop:"
[applications.mail]
broker_url = "amqps://user:secret@mail//"
"""


def test_applications_have_brokers_result_backends_and_prefixes_of_their_own() -> None:
    Path("forebay.toml").write_text(f'key_prefix = "main:"\n{TWO}')
    settings = load_settings({"broker_url": "redis://main", "result_url": "redis://results"})
    main, shop, mail = (settings.application(name) for name in ("", "shop", "mail"))
    assert [one.broker.shown for one in (main, shop, mail)] == [
        "redis://main:6379/0",
        "redis://***@shop:6379/1",
        "amqps://***@mail:5671//",
    ]
    assert [one.result_url for one in (main, shop, mail)] == [
        "redis://results:6379/0",
        "rediss://shop:6379/2",
        "rpc://",
    ]
    results = [one.result_server and one.result_server.key_prefix for one in (main, shop, mail)]
    assert results == ["main:", "shop:", None]
    assert "secret" not in repr(settings)


def test_messages_name_the_application_and_its_settings() -> None:
    Path("forebay.toml").write_text(TWO)
    main, shop = (load_settings().application(name) for name in ("", "shop"))
    assert (main.called("broker"), main.setting("result_url")) == ("broker", "FOREBAY_RESULT_URL")
    assert shop.called("broker") == "broker of application 'shop'"
    assert shop.setting("result_url") == "applications.shop.result_url"


@pytest.mark.parametrize("name", ["a", "0", "a-b_c", "a" * 64])
def test_a_name_of_an_application_is_taken(name: str) -> None:
    assert given_settings(applications={name: {"broker_url": "redis://h"}}).application(name)
    for unfit in (f"{name}_", f"-{name}", f"{name}__{name}", f"{name}.", name + "a" * 64):
        with pytest.raises(SettingsError, match="expected a name of a-z"):
            given_settings(applications={unfit: {"broker_url": "redis://h"}})


def test_an_application_has_the_main_certificates_or_its_own(tmp_path: Path) -> None:
    names = ("ca", "certificate", "key", "own_ca", "own_certificate")
    pem = {name: tmp_path / f"{name}.pem" for name in names}
    for path in pem.values():
        path.touch()
    Path("forebay.toml").write_text(
        f'tls_ca = "{pem["ca"]}"\ntls_certificate = "{pem["certificate"]}"\n'
        f'tls_key = "{pem["key"]}"\n'
        '[applications.shop]\nbroker_url = "rediss://shop"\n'
        f'tls_ca = "{pem["own_ca"]}"\n'
        '[applications.mail]\nbroker_url = "amqps://mail?ssl_ca_certs=/other.pem"\n'
        f'tls_certificate = "{pem["own_certificate"]}"\n'
    )
    settings = load_settings()
    found = {}
    for name in ("shop", "mail"):
        tls = settings.application(name).broker.tls
        assert tls is not None
        found[name] = [Path(path).stem for path in (tls.ca, tls.certificate, tls.key)]
    assert found == {
        "shop": ["own_ca", "certificate", "key"],
        "mail": ["other", "own_certificate", ""],  # one file may have both
    }


@pytest.mark.parametrize("option", ["ssl_cert_reqs=none", "ssl_check_hostname=false"])
def test_a_backend_that_is_not_verified_is_refused_unless_insecure(option: str) -> None:
    shop = {"broker_url": f"amqps://shop?{option}", "result_url": f"rediss://shop?{option}"}
    given = {
        "ledger_url": f"rediss://ledger?{option}",
        "broker_url": f"sentinels://broker/m?{option}",
        "result_url": f"rediss://results?{option}",
        "applications": {"shop": shop, "safe": {"broker_url": "amqps://safe"}},
    }
    with pytest.raises(SettingsError) as caught:
        given_settings(**given)
    message = str(caught.value)
    names = ("ledger_url", "broker_url", "result_url", "applications.shop.broker_url")
    for name in (*names, "applications.shop.result_url"):
        assert f"{name} has {option}" in message
    assert "insecure = true" in message
    assert "safe" not in message
    assert given_settings(**given, insecure=True).insecure
    given_settings(ledger_url="rediss://ledger?ssl_cert_reqs=required", result_url="db+sqlite://a")


def test_variables_set_applications_or_parts_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("forebay.toml").write_text(TWO)
    monkeypatch.setenv("FOREBAY_APPLICATIONS__SHOP__BROKER_URL", "redis://elsewhere")
    monkeypatch.setenv("FOREBAY_APPLICATIONS__MY_REPORTS__BROKER_URL", "redis://reports")
    settings = load_settings()
    assert settings.application("shop").broker.shown == "redis://elsewhere:6379/0"
    assert settings.application("shop").result_url == "rediss://shop:6379/2"
    assert set(settings.applications) == {"shop", "mail", "my_reports"}
    monkeypatch.setenv("FOREBAY_APPLICATIONS", '{"late": {"broker_url": "redis://late"}}')
    assert "late" in load_settings().applications


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('[applications.shop]\nresult_url = "redis://:{}@h"', ".shop.broker_url: it is required"),
        ('[applications.shop]\nbroker_url = "http://:{}@h"', ".shop.broker_url: 'http://…' is not"),
        (
            '[applications.shop]\nbroker_url = "redis://h"\nbroker = "{}"',
            ".shop.broker: no such setting; expected one of broker_url, key_prefix, max_eta_s",
        ),
        ('[applications]\nshop = "redis://:{}@h"', ".shop: expected a table, such as {broker_url"),
        ('[applications]\nshop = ["{}"]', ".shop: expected a table, such as {broker_url ="),
        ('[applications.Shop]\nbroker_url = "redis://:{}@h"', ": 'Shop': expected a name of a-z"),
        ('[applications.a__b]\nbroker_url = "redis://:{}@h"', ": 'a__b': expected a name of a-z"),
        ('[applications._a]\nbroker_url = "redis://:{}@h"', ": '_a': expected a name of a-z"),
        (
            '[applications.shop]\nbroker_url = "redis-cluster://:{}@h"',
            ".shop.broker_url: a Redis Cluster can't be the broker",
        ),
        (
            '[applications.shop]\nbroker_url = "redis://h"\nresult_url = "redis-cluster://:{}@h"',
            ".shop.result_url: Celery keeps no results in a Redis Cluster",
        ),
        (
            '[applications.shop]\nbroker_url = "redis://:{}@h"\nkey_prefix = "my app:"',
            ".shop.key_prefix = 'my app:': String should match pattern",
        ),
        (
            '[applications.shop]\nbroker_url = "redis://:{}@h"\ntls_ca = "absent.pem"',
            ".shop.tls_ca = 'absent.pem': expected a PEM file",
        ),
    ],
)
def test_a_bad_application_is_refused_without_any_password(text: str, expected: str) -> None:
    Path("forebay.toml").write_text(text.format(SECRET))
    (line,) = _refusal().splitlines()
    assert line.startswith(f"applications{expected}")
    assert SECRET not in line


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("APPLICATIONS", f'{{"shop": "redis://:{SECRET}', "FOREBAY_APPLICATIONS: expected JSON"),
        ("APPLICATIONS", f'"redis://:{SECRET}@h"', "applications: "),
        ("APPLICATIONS__SHOP", f"redis://:{SECRET}@h", "applications.shop: expected a table"),
        ("APPLICATIONS__SHOP__URL", f"redis://:{SECRET}@h", "applications.shop.url: no such set"),
        ("CHECKS__SHOP", SECRET, "FOREBAY_CHECKS__SHOP: no such setting"),
    ],
)
def test_a_bad_variable_of_an_application_is_refused_without_any_password(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, expected: str
) -> None:
    monkeypatch.setenv(f"FOREBAY_{variable}", value)
    refusal = _refusal()
    assert expected in refusal
    assert SECRET not in refusal


@pytest.mark.parametrize("name", ["ledger_url", "broker_url", "routes"])
def test_an_empty_variable_is_an_unset_one(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """So a parent unsets it for its processes."""
    monkeypatch.setenv(f"FOREBAY_{name.upper()}", "")
    assert getattr(load_settings(), name) is None


def test_each_validator_has_a_name_of_its_own() -> None:
    """Of two with one name in different parts of the settings, only one would run."""
    parts = [part for part in Settings.__mro__ if part.__module__.startswith("forebay_backends.")]
    own = [(name, value) for part in parts for name, value in vars(part).items()]
    names = [name for name, value in own if isinstance(value, classmethod)]
    assert len(names) > 3
    assert sorted(set(names)) == sorted(names)


@pytest.mark.parametrize("name", ["lame_duck_s", "drain_s"])
def test_a_gateway_may_stop_at_once(name: str) -> None:
    assert getattr(given_settings(**{name: 0}), name) == 0
