"""Alerts that arrive: at a web server, a program, a mail server; by real processes, whatever dies in between."""

import asyncio
import email
import json
import sys
import tracemalloc

import pytest

from tests.support.command_run import mesh_here
from tests.support.mesh_run import until
from tests.support.node_processes import NodeProcesses
from tests.support.server_thread import ServerThread
from tests.support.web_receiver import WebReceiver
from tickmesh.bus.config import ConfigError, load
from tickmesh.bus.schema import Kind
from tickmesh.bus.settings_alerts import NotifySettings
from tickmesh.bus.sockets import Producer
from tickmesh.bus.wire import encode
from tickmesh.nodes.notifier import deliver
from tickmesh.nodes.notifier.plan import trial

SPREAD = {"level": "warning", "what": "spread", "target": "binance.BTCUSDT", "why": "12 bp", "action": "wait"}


def delivered(settings: NotifySettings, root) -> str:
    """What went wrong; empty where it was delivered."""
    try:
        asyncio.run(deliver.deliver(settings, root, trial(settings, "mine", 10**18)))
    except deliver.Undelivered as error:
        return str(error)
    return ""


def test_a_web_server_is_given_the_alert_and_its_refusals_are_sentences(tmp_path):
    with WebReceiver() as server:
        hook = NotifySettings(name="hook", to="webhook", url=server.rest)
        assert delivered(hook, tmp_path) == ""
        assert server.got[0] | {"text": ""} == {
            "mesh": "mine", "phase": "begins", "level": "info", "what": "test", "target": "hook", "at": "2001-09-09T01:46:40Z",
            "why": "`mesh alert test` was asked for", "action": "none", "times": 1, "left_out": 0, "text": "",
        }  # fmt: skip
        server.answers = [503, 302]
        assert delivered(hook, tmp_path) == "it answered 503 Service Unavailable: busy\nlater"
        assert delivered(hook, tmp_path).startswith("it answered 302 Found"), (
            "an alert goes where mesh.toml says, and nowhere else"
        )
        gone = NotifySettings(name="gone", to="webhook", url="http://user:password@127.0.0.1:9/x")
    said = delivered(gone, tmp_path)
    assert said and "password" not in said


def test_a_file_with_an_address_is_for_its_owner_alone(tmp_path):
    path = tmp_path / "hook.url"
    hook = NotifySettings(name="hook", to="webhook", url_file="hook.url")
    assert "hook.url cannot be read: No such file or directory" in delivered(hook, tmp_path)
    with WebReceiver() as server:
        path.write_text(f"{server.rest}/x\n")
        path.chmod(0o644)
        assert "has the mode 0644: others may read the address; chmod 600" in delivered(hook, tmp_path)
        path.chmod(0o600)
        assert delivered(hook, tmp_path) == "" and len(server.got) == 1
        path.write_text("two words")
        assert "has 2 words" in delivered(hook, tmp_path)


def test_a_program_is_given_the_alert_and_is_not_waited_for_for_ever(tmp_path, monkeypatch):
    def program(*words):
        return NotifySettings(name="mine", to="command", command=words)

    keep = "import sys; open('kept', 'w').write(sys.stdin.read())"
    assert delivered(program(sys.executable, "-c", keep), tmp_path) == ""
    assert json.loads((tmp_path / "kept").read_text())["what"] == "test"
    failing = program(sys.executable, "-c", "import sys; sys.exit('no modem')")
    assert delivered(failing, tmp_path) == f"{sys.executable} ended with 1: no modem"
    talks = "import sys; sys.stderr.write('x' * 20_000_000 + 'last words'); sys.exit(3)"
    tracemalloc.start()
    said = delivered(program(sys.executable, "-c", talks), tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert said.endswith("last words") and len(said) < 500 and peak < 5_000_000, "what it says is not kept"
    assert delivered(program("/no/such"), tmp_path) == "/no/such cannot be started: No such file or directory"
    monkeypatch.setattr(deliver, "PATIENCE_S", 0.5)
    hangs = "import os, time; open('pid', 'w').write(str(os.getpid())); time.sleep(60)"
    assert delivered(program(sys.executable, "-c", hangs), tmp_path) == "no answer within 0.5 s"
    until(lambda: _is_gone(int((tmp_path / "pid").read_text())), "its end")


def _is_gone(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().split()[2] == "Z"
    except FileNotFoundError:
        return True


class Mail(ServerThread):
    """A mail server that keeps its mails."""

    def __init__(self):
        super().__init__()
        self.mails = []

    async def handle_DATA(self, server, session, envelope):  # noqa: N802  aiosmtpd's name
        self.mails.append(email.message_from_bytes(envelope.content))
        return "250 OK"

    async def _begin(self):
        from aiosmtpd.smtp import SMTP

        self._server = await asyncio.get_running_loop().create_server(lambda: SMTP(self), "127.0.0.1", 0)
        self._runner = self
        return self._server.sockets[0].getsockname()[1]

    async def cleanup(self):
        self._server.close()

    async def _answer(self, request):
        raise NotImplementedError


def test_a_mail_arrives_at_a_mail_server(tmp_path):
    pytest.importorskip("apprise")
    pytest.importorskip("aiosmtpd")
    with Mail() as server:
        url = f"mailto://127.0.0.1:{server.port}?from=mesh@example.com&to=me@example.com&mode=insecure&format=text"
        assert delivered(NotifySettings(name="mail", to="apprise", url=url), tmp_path) == ""
    assert server.mails[0]["To"] == "me@example.com"
    assert "a test of receiver mail; nothing is wrong" in server.mails[0].get_payload(decode=True).decode()
    assert "Apprise does not know" in delivered(NotifySettings(name="odd", to="apprise", url="odd://x"), tmp_path)


def test_mesh_alert_test_tries_every_receiver(root):
    assert "mesh.toml has no [[notify]]" in mesh_here(root, "alert", "test").stderr
    with WebReceiver() as server:
        (root / "mesh.toml").write_text(
            f'[[notify]]\nname = "hook"\nto = "webhook"\nurl = "{server.rest}"\n'
            '[[notify]]\nname = "call"\nto = "command"\ncommand = ["false"]\n'
        )
        done = mesh_here(root, "alert", "test")
        assert done.returncode == 1 and "hook (webhook): delivered in" in done.stdout
        assert "call (command): NOT delivered: false ended with 1" in done.stdout and len(server.got) == 1
        assert mesh_here(root, "alert", "test", "hook").returncode == 0 and len(server.got) == 2
        assert "no receiver 'x'; there are hook, call" in mesh_here(root, "alert", "test", "x").stderr


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ('to = "webhook"', "notify[0].url = '' is impossible; allowed: an address, or a file of it"),
        ('to = "webhook"\nurl = "ftp://x"', "notify[0].url = 'ftp://x' is impossible; allowed: http"),
        ('to = "command"\nurl = "http://x"', "notify[0].command = [] is impossible; allowed: a program"),
        ('to = "webhook"\nurl = "http://x"\nquiet = "25:00-07:00"', "hours of this machine's zone like '22:00-07:00'"),
    ],
)
def test_a_receiver_that_cannot_be_is_refused(root, lines, sentence):
    (root / "mesh.toml").write_text(f'[[notify]]\nname = "a"\n{lines}\n')
    with pytest.raises(ConfigError) as error:
        load(root)
    assert sentence in str(error.value)


@pytest.mark.mesh
def test_each_trouble_arrives_once_though_the_notifier_dies_and_the_server_refuses(root, request):
    with WebReceiver() as server:
        notify = f'[[notify]]\nname = "hook"\nto = "webhook"\nurl = "{server.rest}"\n'
        nodes = NodeProcesses(root, f"checkpoint_s = 0.1\n{notify}")
        request.addfinalizer(nodes.end)
        sentinel = Producer(nodes.config, "sentinel-1")
        request.addfinalizer(sentinel.close)
        (nodes.config.run_dir / "logs").mkdir(parents=True)
        (nodes.config.run_dir / "logs/sentinel-1.log").touch()  # as supervisord has made it: who has alerts to be read again
        nodes.start("sequencer", "notifier")

        def tell(**more):
            sentinel.publish([encode(Kind.alert, "sentinel-1", SPREAD | more)])

        def has(*told):
            until(lambda: [(one["phase"], one["target"]) for one in server.got] == list(told), f"{told}, not {server.got}")

        tell()
        has(("begins", "binance.BTCUSDT"))
        checkpoint = nodes.config.checkpoint_dir / "notifier.checkpoint"
        until(
            lambda: checkpoint.exists() and b'"spread binance.BTCUSDT"' in checkpoint.read_bytes(), "a checkpoint that has it"
        )
        nodes.kill("notifier")
        tell(level="info")  # it is over while nobody tells
        tell(target="binance.ETHUSDT")
        server.answers = [503]
        nodes.start("notifier")
        until(lambda: len(server.got) == 3, "the rest")
        assert sorted((one["phase"], one["target"]) for one in server.got[1:]) == [
            ("begins", "binance.ETHUSDT"), ("is over", "binance.BTCUSDT"),
        ]  # fmt: skip
