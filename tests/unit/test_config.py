"""pgannex.toml: defaults, what is refused and what the refusal says."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from pgannex_server import config
from pgannex_server.errors import ConfigError


def parse(text: str) -> config.Config:
    return config.parse(tomllib.loads(text))


def test_nothing_configured_is_valid_and_serves_no_model() -> None:
    empty = parse("")
    assert dict(empty.models) == {}
    assert empty.server.socket == "/run/pgannex/pgannex.sock"
    assert empty.server.socket_mode == 0o660
    assert empty.http.listen == ""


def test_a_model_is_found_by_name_and_alias() -> None:
    got = parse('[models."a/b"]\naliases = ["ada"]\ninstances = 2\noptions = { dimensions = 8 }')
    assert got.find("ada") is got.find("a/b") is got.models["a/b"]
    assert got.models["a/b"].options["dimensions"] == 8
    assert got.find("other") is None


def test_the_echo_model_is_there_only_if_asked_for() -> None:
    assert "echo" not in parse("").models
    assert parse("[server]\ntest_models = true").models["echo"].engine == "echo"
    assert parse('[models.echo]\nengine = "echo"').models["echo"].engine == "echo"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[sever]", 'unknown section "sever"; known: server'),
        ("[server]\nsoket = 'x'", 'unknown option of [server] "soket"; known: socket, socket_group'),
        ("[models.m]\ndevise = 'cpu'", 'unknown option of [models."m"] "devise"; known: source'),
        ("[server]\nsocket = 5", "[server] socket = 5 is not a string"),
        ("[server]\nsocket_mode = '0999'", "is not a mode"),
        ("[server]\nsocket_mode = 432", "is not a mode"),
        ("[server]\ntest_models = 1", "is not true or false"),
        ("[server]\ndatabase_users = 'postgres'", "is not a list"),
        ("[limits]\nqueue = true", "is not a whole number"),
        ("[limits]\nqueue = -1", "is not a whole number"),
        ("[limits]\nwindow = 1", "window = 1 is less than 2"),
        ("[limits]\nmemory = { cpu = '8 apples' }", "is not a whole number or a size"),
        ("[models.m]\ninstances = 0", "is less than 1"),
        ("[models.a]\naliases = ['b']\n[models.b]", '"b" names two models'),
        ("[http]\nlisten = '127.0.0.1:1'", "needs at least one key"),
        ("[http.keys]\nsecret = 'app'", "64 hex digits"),
        ("models = 1", "one table per model"),
        ("server = 1", "[server] is not a table"),
    ],
)
def test_what_is_wrong_is_said(text: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert says in str(caught.value)


def test_sizes_may_have_units() -> None:
    got = parse("[limits]\nmemory = { cpu = '8GiB', 'cuda:0' = 1024 }\nmax_text_bytes = '1 MB'")
    assert dict(got.limits.memory) == {"cpu": 8 << 30, "cuda:0": 1024}
    assert got.limits.max_text_bytes == 1 << 20


def test_the_environment_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "p.toml"
    file.write_text("[limits]\nqueue = 7\n")
    monkeypatch.setenv(config.ENVIRONMENT, str(file))
    assert config.load().limits.queue == 7
    assert config.load().path == file
    monkeypatch.setenv(config.ENVIRONMENT, str(tmp_path / "none.toml"))
    with pytest.raises(ConfigError, match=r"no configuration file"):
        config.load()


def test_an_error_names_the_file(tmp_path: Path) -> None:
    file = tmp_path / "p.toml"
    file.write_text("[limits\n")
    with pytest.raises(ConfigError, match=r"p\.toml"):
        config.load(file)


def test_every_option_is_described() -> None:
    rows = list(config.describe())
    assert all(meaning for _section, _key, _default, meaning in rows)
    assert ("server", "socket_mode", '"0660"') in [row[:3] for row in rows]
