"""The walk of docs/operations.md, line by line, with real processes, TLS and node authentication.

The page's own commands run in a shell; the test only names a recipe of a tiny model and tiny data in place of the
demo's, and another port. The outcome must be the inline simulation's to the last bit.
"""

from __future__ import annotations

import os
import pwd
import re
import socket
import stat
import subprocess
import sys
from pathlib import Path

import click
import pytest
import yaml
from typer.main import get_command

from sealora_client.cli import cli as site_cli
from sealora_common.entropy import SEED_VARIABLE
from sealora_common.receipts.receipt import Receipt
from sealora_server.cli import cli as server_cli
from sealora_server.run.store import RunStore

from tiny_federation import PRIVATE, adapter_of, run_inline, write_federation

PAGE = Path(__file__).parents[2] / "docs" / "operations.md"
ROUNDS = 3
SITES = ("cancer-centre", "heart-hospital", "maternity-clinic")
LONGEST_SECONDS = 900


def walk() -> list[str]:
    """The page's shell blocks."""
    return re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


# Minutes each: under the umask that hides nothing, and under the usual one.
@pytest.fixture(
    scope="module",
    params=[pytest.param(mask, marks=pytest.mark.slow) for mask in (0o000, 0o022)],
    ids=lambda mask: f"umask {mask:03o}",
)
def walked(request, tiny_base, tmp_path_factory) -> Path:
    """The directory in which the walk was done: `federation/` and the inline simulation's `inline/`."""
    directory = tmp_path_factory.mktemp("walk")
    recipe = write_federation(directory / "data", tiny_base(), rounds=ROUNDS, privacy={**PRIVATE, "delta": 1e-4})
    values = yaml.safe_load(recipe.read_text(encoding="utf-8"))
    values["sites"]["simulated"] = {
        name: _renamed(Path(path), name)
        for name, path in zip(SITES, values["sites"]["simulated"].values(), strict=True)
    }
    recipe.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(SEED_VARIABLE, "walk")
        run_inline(recipe, directory / "inline")
        script = _script(recipe, directory / "data")
        (directory / "walk.sh").write_text(script, encoding="utf-8")
        before = os.umask(request.param)
        try:
            _run(directory)
        finally:
            os.umask(before)
    return directory


def test_the_run_is_finished_and_equals_the_inline_simulation(walked):
    ours, inline = adapter_of(walked / "federation/server/runs/first"), adapter_of(walked / "inline")
    assert ours.keys() == inline.keys()
    assert any(value.any() for name, value in ours.items() if "lora_B" in name)
    for name, value in ours.items():
        assert value.tobytes() == inline[name].tobytes(), name


def test_the_walk_mends_no_file_by_hand_and_carries_none_between_sites_but_cards_and_invitations():
    lines = "\n".join(walk())
    assert not re.search(r"\b(sed|awk|cp|mv|tee|nano|vi|scp)\b", lines)
    assert lines.count("sealora-site join ") == 2


def test_the_walk_is_a_shell_s_and_every_command_of_it_is_one_that_there_is(tmp_path):
    script = _script(tmp_path / "recipe.yaml", tmp_path)
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    lines = re.sub(r"#.*$", "", script, flags=re.MULTILINE).replace("\\\n", " ")
    typed = re.findall(r"(?<![\w/-])(sealora(?:-site)?) ([^|;&>)\n]*)", lines)
    assert len(typed) > 15
    for program, words in typed:
        command, arguments = get_command({"sealora": server_cli, "sealora-site": site_cli}[program]), words.split()
        while isinstance(command, click.Group) and arguments and not arguments[0].startswith("-"):
            command = command.commands[arguments.pop(0)]
        taken = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in arguments if word.startswith("--")} <= taken, (program, words)


def test_each_site_was_sent_two_files_and_sent_one(walked):
    for site in SITES:
        names = {path.name for path in (walked / "federation" / site).iterdir()}
        assert {name for name in names if name.endswith(".card.json")} == {f"{site}.card.json"}
        assert (walked / "federation" / f"{site}.invitation.json").exists()
    said = (walked / "output").read_text()
    assert [said.count(f"{site}.invitation.json: for {site}, ") for site in SITES] == [2, 2, 2]
    assert said.count("This site can take part.") == len(SITES)


def test_the_operator_was_shown_who_takes_part_before_the_walk_went_on(walked):
    said = (walked / "output").read_text().splitlines()
    assert f"run first: taking part (3 sites, 3 needed): {', '.join(SITES)}" in said


def test_every_site_has_the_adapter_that_the_server_has_and_answers_with_it(walked):
    delivered = adapter_of(walked / "federation/server/runs/first")
    for site in SITES:
        (kept,) = (walked / "federation" / site / "runs").iterdir()
        ours = adapter_of(kept)
        assert {name: value.tobytes() for name, value in ours.items()} == {
            name: value.tobytes() for name, value in delivered.items()
        }
        assert "</html>" in (kept / "report.html").read_text(encoding="utf-8")
    said = (walked / "output").read_text(encoding="utf-8", errors="replace")
    assert re.search(r"report\.html: run [0-9a-f]+ \(tiny\), 3 rounds with this site", said)
    assert "; answers are greedy" in said


def test_every_round_has_a_receipt_of_the_one_server_key(walked):
    store = RunStore.open(walked / "federation/server/runs/first")
    receipts: list[Receipt] = store.receipts()
    assert [receipt.round_number for receipt in receipts] == [1, 2, 3]
    assert {receipt.survivors for receipt in receipts} == {SITES}


def test_every_site_was_charged_as_in_the_simulation(walked):
    from sealora_client.ledger import Ledger

    for site in SITES:
        deployed, simulated = (
            _charges(Ledger(directory / site / "ledger.sqlite"))
            for directory in (walked / "federation", walked / "inline" / "sites")
        )
        assert deployed == simulated
        assert len(deployed) == 2 * ROUNDS + 1  # training and evaluation, and the last evaluation


def test_nothing_but_the_walk_s_own_files_is_left_running_or_readable(walked):
    for site in SITES:
        for name in ("identity.pem", "node.key"):
            assert (walked / "federation" / site / name).stat().st_mode & 0o077 == 0
    left = subprocess.run(["pgrep", "-f", str(walked)], capture_output=True, text=True, check=False)
    assert left.stdout == ""


def test_the_server_s_log_tells_the_run_s_story_and_who_did_what(walked):
    log = (walked / "federation/server/logs/server.log").read_text()
    me = pwd.getpwuid(os.getuid()).pw_name
    for line in (
        r"operator {me} \(process \d+, over .*/sockets/operator.sock\): register 3 sites: done",
        r"operator {me} \(process \d+, over .*/sockets/operator.sock\): submit run first: done",
        r"site heart-hospital was registered and may connect",
        r"site heart-hospital has connected",
        r"run first: submitted by {me}",
        r"run first: tiny: 3 rounds, epsilon <= 8, .*; noise on a site's held-out loss: standard deviation \S+ nats",
        r"run first: taking part \(3 sites, 3 needed\): cancer-centre, heart-hospital, maternity-clinic",
        r"run first: round 2/3: training at 3 sites \.\.\.",
        r"run first: round 2/3: trained: (\S+ in [^,]+ s(, )?){{3}}",
        r"run first: round 3/3: sealed sum of 3 sites opened, noisy held-out loss, .* 8, .*noise.* in it: can",
        r"run first: finished in ",
    ):
        stamp = r"^\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d[+-]\d\d:\d\d INFO    "
        found = re.findall((stamp + line).format(me=re.escape(me)), log, re.MULTILINE)
        assert len(found) == 1, (line, log)
    # On a busy machine stopping takes longer than uvicorn likes.
    errors = [line for line in log.splitlines() if " ERROR " in line and "graceful shutdown exceeded" not in line]
    assert errors == []


def test_the_story_is_told_by_the_command_that_submit_names_and_is_the_log_s(walked):
    (named,) = re.findall(r"^Follow it with:  sealora (.*)$", (walked / "output").read_text(), re.MULTILINE)
    command = [sys.executable, "-c", "from sealora_server.cli import main; main()", *named.split()]
    done = subprocess.run(command, cwd=walked / "federation", capture_output=True, text=True, timeout=60, check=True)
    told = [line.partition(" ")[2].partition(" ")[2] for line in done.stdout.splitlines()]
    log = (walked / "federation/server/logs/server.log").read_text()
    assert len(told) > 12
    for line in told:
        level, _, text = line.partition(" ")
        assert f"{level:<7} run first: {text.strip()}\n" in log


# What the walk's own shell makes (`>`) has the mode of the shell's umask, in a private directory.
OF_THE_SHELL = {"server.out", *(f"{site}.out" for site in SITES)}
PUBLIC = {"roster.json", "identity.pub", "coordinator.pub", "server.pem", "ca.pem"}
PUBLIC |= {f"{site}.{kind}.json" for site in SITES for kind in ("card", "invitation")}
"""What is made to be handed on, by its name. Rosters that were used are kept under other names, in `rosters`."""


def test_every_file_and_directory_is_this_account_s_alone_unless_it_is_made_to_be_handed_on(walked):
    federation = walked / "federation"
    open_to_others, private = {}, set()
    for path in (federation, *federation.rglob("*")):
        mode, name = stat.S_IMODE(path.lstat().st_mode), path.relative_to(federation).as_posix()
        public = path.name in PUBLIC or path.parent.name == "rosters" or name == "recipe.yaml"
        wanted = {0o700} if path.is_dir() else {0o644} if public else {0o600, 0o400}
        if mode not in wanted and name not in OF_THE_SHELL:
            open_to_others[name] = oct(mode)
        elif not public:
            private.add(path.name)
    assert open_to_others == {}
    assert {"history.jsonl", "ledger.sqlite", "site.yaml", "policy.yaml", "node.key", "server.log"} <= private
    assert {"adapter_model.safetensors", "events.jsonl", "coordinator.pem", "run.json", "nodes.json"} <= private


def _charges(ledger) -> list[tuple[object, ...]]:
    with ledger:
        return [(row.dataset, row.round_number, row.event, row.released is not None) for row in ledger.charges()]


def _renamed(path: Path, name: str) -> str:
    return str(path.rename(path.with_name(f"{name}.jsonl")))


def _script(recipe: Path, data: Path) -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    text = "set -euo pipefail\n" + "\n".join(walk())
    for line in (f"RECIPE={recipe}", f"DATA={data}"):
        key = line.partition("=")[0]
        text, changed = re.subn(rf"^{key}=.*$", line, text, flags=re.MULTILINE)
        assert changed == 1, f"the page no longer sets {key}"
    # The probes' port is fixed in the page's world; here other servers may have it.
    quiet = "printf 'health: {http: null}\\n' >> server/server.yaml"
    text, changed = re.subn(
        r"^(sealora server init .*)$", lambda found: f"{found[1]}\n{quiet}", text, flags=re.MULTILINE
    )
    assert changed == 1
    return text.replace("9443", port)


def _run(directory: Path) -> None:
    commands = directory / "bin"
    commands.mkdir()
    for name, module in (("sealora", "sealora_server"), ("sealora-site", "sealora_client")):
        script = commands / name
        script.write_text(f"#!{sys.executable}\nfrom {module}.cli import main\nmain()\n", encoding="utf-8")
        script.chmod(0o755)
    environment = {**os.environ, "PATH": f"{commands}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    with (directory / "output").open("wb") as output:
        shell = subprocess.Popen(
            ["bash", str(directory / "walk.sh")],
            cwd=directory,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = shell.wait(timeout=LONGEST_SECONDS)
        except subprocess.TimeoutExpired:
            code = -1
        finally:
            subprocess.run(["pkill", "-TERM", "-s", str(shell.pid)], check=False)
    said = "\n".join(
        f"== {path.name}\n{path.read_text(errors='replace')[-3000:]}"
        for path in (directory / "output", *sorted((directory / "federation").glob("*.out")))
    )
    assert code == 0, said
