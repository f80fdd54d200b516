"""The unit files for systemd: systemd takes them, and they keep what docs/operating.md promises."""

import configparser
import re
import subprocess
from pathlib import Path

import pytest

from dicom_node.processes.roles import Role
from dicom_node.settings.watch_settings import SelfTestSettings, WatchdogSettings
from tests.peers import program

UNITS = Path(__file__).parents[2] / "configs" / "systemd"
NAMES = ("perfnode.service", "perfnode@.service")


def unit(name: str) -> configparser.SectionProxy:
    """The section [Service]; of a key that occurs several times the last."""
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(UNITS / name)
    return parser["Service"]


@pytest.mark.parametrize("instance", ["perfnode.service", *(f"perfnode@{role.value}.service" for role in Role)])
def test_systemd_takes_the_unit(tmp_path: Path, instance: str) -> None:
    template = re.sub("@.*[.]", "@.", instance)
    text = (UNITS / template).read_text()
    assert "/opt/perfnode/bin/perfnode " in text
    (tmp_path / instance).write_text(text.replace("/opt/perfnode/bin/perfnode ", "/bin/true "))
    command = [program("systemd-analyze"), "verify", "--man=no", "--generators=no", str(tmp_path / instance)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_systemd_does_not_take_a_mistake(tmp_path: Path) -> None:
    text = (UNITS / "perfnode.service").read_text().replace("/opt/perfnode/bin/perfnode ", "/bin/true ")
    (tmp_path / "perfnode.service").write_text(text.replace("KillMode=mixed", "KillMode=mixd"))
    command = [program("systemd-analyze"), "verify", "--man=no", str(tmp_path / "perfnode.service")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert "kill mode" in done.stderr.lower()


@pytest.mark.parametrize("name", NAMES)
def test_a_stop_has_the_time_that_the_node_takes_and_leaves_no_process(name: str) -> None:
    service = unit(name)
    assert service["Type"] == "notify"
    assert int(service["TimeoutStopSec"].removesuffix("s")) >= 60
    assert service["KillMode"] in ("mixed", "control-group")
    assert service["Restart"] == "always"
    assert service["RestartPreventExitStatus"] == "2"


@pytest.mark.parametrize("name", NAMES)
def test_the_node_gives_up_before_systemd_does(name: str) -> None:
    defaults = WatchdogSettings()
    minutes = int(unit(name)["WatchdogSec"].removesuffix("min"))
    assert 60 * minutes > (defaults.failures + 1) * (defaults.every_s + defaults.echo_timeout_s)


def test_the_two_units_differ_in_the_role_alone() -> None:
    one, other = (
        {line for line in (UNITS / name).read_text().splitlines() if line and line[0] != "#"} for name in NAMES
    )
    assert sorted(line.partition("=")[0] for line in one ^ other) == ["Description"] * 2 + ["ExecStart"] * 2
    assert unit("perfnode@.service")["ExecStart"].endswith("--role %i --name %i")


def test_systemd_takes_the_timer_of_the_self_test_and_its_service(tmp_path: Path) -> None:
    for name in ("perfnode-selftest.service", "perfnode-selftest.timer"):
        text = (UNITS / name).read_text()
        (tmp_path / name).write_text(text.replace("/opt/perfnode/bin/perfnode ", "/bin/true "))
    command = [program("systemd-analyze"), "verify", "--man=no", "--generators=no"]
    paths = [str(tmp_path / name) for name in ("perfnode-selftest.timer", "perfnode-selftest.service")]
    done = subprocess.run([*command, *paths], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_self_test_by_the_timer_is_the_command_and_sees_as_little_as_the_node() -> None:
    test, node = unit("perfnode-selftest.service"), unit("perfnode.service")
    assert test["ExecStart"] == "/opt/perfnode/bin/perfnode selftest --config /etc/perfnode/site.toml"
    assert test["Type"] == "oneshot"
    assert 3600 * int(test["TimeoutStartSec"].removesuffix("h")) > SelfTestSettings().answer_within_s
    kept = {key for key in node if key.startswith(("Protect", "Restrict", "Private", "Capability", "SystemCall", "No"))}
    kept |= {"User", "Group", "UMask", "LockPersonality", "LimitCORE", "DevicePolicy"}
    kept -= {"NotifyAccess", "Restart", "RestartSec", "RestartPreventExitStatus"}
    assert {key: test.get(key) for key in kept} == {key: node[key] for key in kept}
