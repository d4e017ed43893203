"""Options, ports and start-up code of the programs."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

import aios.__main__
import app
from aios import cli
from aios.cli import (
    OneLineParser,
    StartError,
    add_model_arguments,
    add_page_arguments,
    find_port,
    load_predictor,
)

ROOT = Path(__file__).resolve().parents[1]


def parser():
    made = OneLineParser(prog="app.py")
    add_page_arguments(made)
    add_model_arguments(made)
    return made


@pytest.fixture
def used_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_defaults_of_the_page(monkeypatch):
    monkeypatch.delenv("GRADIO_SERVER_NAME", raising=False)
    monkeypatch.delenv("GRADIO_SERVER_PORT", raising=False)
    options = parser().parse_args([])
    assert (options.host, options.port, options.auth) == ("127.0.0.1", None, None)
    assert (options.weights, options.body, options.device) == ("auto", None, None)
    assert options.threshold is None and not options.share


def test_host_and_port_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("GRADIO_SERVER_NAME", "0.0.0.0")
    monkeypatch.setenv("GRADIO_SERVER_PORT", "7861")
    options = parser().parse_args([])
    assert (options.host, options.port) == ("0.0.0.0", 7861)


def test_password_may_contain_colons():
    assert parser().parse_args(["--auth", "me:a:b"]).auth == ("me", "a:b")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--threshold", "2"], "'2' is not a number from 0 to 1"),
        (["--threshold", "nan"], "'nan' is not a number from 0 to 1"),
        (["--threshold", "low"], "'low' is not a number from 0 to 1"),
        (["--port", "0"], "'0' is not a number from 1 to 65535"),
        (["--port", "http"], "'http' is not a number from 1 to 65535"),
        (["--auth", "me"], "USER:PASS"),
        (["--auth", ":secret"], "USER:PASS"),
        (["--colour"], "unrecognized arguments: --colour"),
        (["--weights"], "expected one argument"),
    ],
)
def test_wrong_argument_is_reported_in_one_line(words, expected, capsys):
    with pytest.raises(SystemExit) as caught:
        parser().parse_args(words)
    message = capsys.readouterr().err
    assert caught.value.code == 2
    assert expected in message
    assert message.startswith("app.py: ") and message.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--weights", "nowhere.safetensors"], "nowhere.safetensors"),
        (["--body", "nowhere.npz"], "nowhere.npz"),
        (["--device", "abacus"], "Device 'abacus' is not available; use --device cpu."),
        (["--device", "cuda:99"], "Device 'cuda:99' is not available; use --device cpu."),
    ],
)
def test_unavailable_model_is_reported_in_one_sentence(words, expected):
    with pytest.raises(StartError) as caught:
        load_predictor(parser().parse_args(words))
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_given_port_in_use_is_refused(used_port):
    with pytest.raises(StartError, match=f"Port {used_port} of 127.0.0.1 is in use"):
        find_port("127.0.0.1", used_port)


def test_next_free_port_is_found(used_port, monkeypatch):
    monkeypatch.setattr("aios.cli.FIRST_PORT", used_port)
    assert used_port < find_port("127.0.0.1", None) < used_port + 100
    monkeypatch.setattr("aios.cli.PORTS_TRIED", 1)
    with pytest.raises(StartError, match="all in use"):
        find_port("127.0.0.1", None)


def test_foreign_host_is_refused():
    with pytest.raises(StartError, match="Cannot listen on port 7860 of 203.0.113.1"):
        find_port("203.0.113.1", 7860)


@pytest.mark.parametrize("program", [app.main, aios.__main__.main])
def test_programs_let_idle_threads_sleep_unless_the_environment_is_set(program, monkeypatch):
    for before, after, spins in ((None, "PASSIVE", "1000"), ("ACTIVE", "ACTIVE", None)):
        for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
            monkeypatch.setenv(name, before or "")
            if before is None or name == "GOMP_SPINCOUNT":
                monkeypatch.delenv(name)
        with pytest.raises(SystemExit):
            program(["--help"])
        assert os.environ["OMP_WAIT_POLICY"] == after
        assert os.environ.get("GOMP_SPINCOUNT") == spins


def test_help_imports_nothing_heavy():
    code = "import app, sys; sys.exit(len({'torch', 'gradio', 'numpy', 'cv2'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


ARENAS = """
import ctypes, sys, threading
from aios.cli import configure_threads_and_malloc
configure_threads_and_malloc()
libc = ctypes.CDLL(None)
libc.malloc.restype = libc.fopen.restype = ctypes.c_void_p
wait = threading.Barrier(6)
threads = [threading.Thread(target=lambda: (wait.wait(), libc.malloc(50_000), wait.wait()))
           for _ in range(6)]
for thread in threads: thread.start()
for thread in threads: thread.join()
file = ctypes.c_void_p(libc.fopen(sys.argv[1].encode(), b"w"))
libc.malloc_info(0, file)
libc.fclose(file)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc")
@pytest.mark.parametrize(("setting", "limit"), [(None, 1), ("8", 8)])
def test_threads_share_one_arena_unless_the_environment_is_set(tmp_path, setting, limit):
    path = tmp_path / "arenas.xml"
    environment = {k: v for k, v in os.environ.items() if k != "MALLOC_ARENA_MAX"}
    if setting:
        environment["MALLOC_ARENA_MAX"] = setting
    subprocess.run([sys.executable, "-c", ARENAS, str(path)], env=environment, check=True)
    arenas = path.read_text().count("<heap ")
    assert arenas <= limit
    assert setting is None or arenas > 1


@pytest.mark.parametrize(
    ("proxy", "is_kept"),
    [
        ("http://127.0.0.1:9", True),
        ("https://user:secret@proxy.example:8080", True),
        ("proxy.example:8080", True),
        ("socks5://127.0.0.1:9", False),
        ("socks://127.0.0.1:9", False),
        ("http://proxy:port", False),
        ("junk://", False),
    ],
)
def test_proxies_that_cannot_be_used_are_ignored(monkeypatch, caplog, proxy, is_kept):
    for name in ("ALL_PROXY", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("ALL_PROXY", proxy)
    monkeypatch.setenv("NO_PROXY", "intranet")
    cli.prepare_proxies("myhost")
    assert os.environ.get("ALL_PROXY", "") == (proxy if is_kept else "")
    assert os.environ["NO_PROXY"] == "intranet,127.0.0.1,localhost,::1,myhost"
    assert os.environ["no_proxy"] == os.environ["NO_PROXY"]
    assert len(caplog.messages) == (not is_kept)
    assert "secret" not in caplog.text
    httpx.Client().close()


@pytest.mark.parametrize("text", ["::1", "[::1]", "::", "0.0.0.0", "localhost"])
def test_brackets_of_ipv6_addresses_are_optional(text):
    assert cli.host_name(text) == text.strip("[]")
