"""The commands that set a system up, for made-up systems, and that a failing one ends the run."""

from __future__ import annotations

import errno
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from livecomp.errors import DependencyError, OutputError
from livecomp.install import Step, loopback_plan, run_plan, write_user_unit

KERNEL = "6.1.0-56-amd64"


def _system(root: Path, release: str, *, secure_boot: bool = False, loaded: bool = False, group: str = "") -> Path:
    (root / "etc").mkdir()
    (root / "etc/os-release").write_text(f'# made up\nPRETTY_NAME="Test Linux"\n{release}')
    (root / "etc/group").write_text(f"audio:x:29:ann\nvideo:x:44:{group}\n")
    variables = root / "sys/firmware/efi/efivars"
    variables.mkdir(parents=True)
    (variables / "SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c").write_bytes(bytes([6, 0, 0, 0, secure_boot]))
    if loaded:
        (root / "sys/module/v4l2loopback").mkdir(parents=True)
    return root


@pytest.mark.parametrize(
    ("release", "command"),
    [
        ("ID=debian\n", f"apt-get install -y v4l2loopback-dkms v4l2loopback-utils linux-headers-{KERNEL}"),
        ("ID=ubuntu\nID_LIKE=debian\n", "apt-get install -y v4l2loopback-dkms"),
        ('ID=linuxmint\nID_LIKE="ubuntu debian"\n', "apt-get install -y v4l2loopback-dkms"),
        ("ID=fedora\nVERSION_ID=42\nPLATFORM_ID=platform:f42\n", "rpmfusion-free-release-42.noarch.rpm"),
        ("ID=arch\n", "pacman -S --needed --noconfirm v4l2loopback-dkms linux-headers"),
        ('ID="opensuse-tumbleweed"\nID_LIKE="opensuse suse"\n', "zypper --non-interactive install v4l2loopback-kmp"),
    ],
)
def test_each_distribution_has_its_commands(tmp_path: Path, release: str, command: str) -> None:
    plan = loopback_plan(_system(tmp_path, release), kernel=KERNEL, user="ann")
    commands = [step.command for step in plan.steps]
    assert plan.system == "Test Linux"
    assert any(command in line for line in commands)
    assert commands.index("sudo usermod -aG video ann") == len(commands) - 1
    assert commands[-2] == "sudo modprobe v4l2loopback video_nr=10 exclusive_caps=1 card_label=LiveComp max_buffers=2"
    assert any(line.endswith("| sudo tee /etc/modules-load.d/livecomp.conf") for line in commands)
    assert any(line.endswith("| sudo tee /etc/modprobe.d/livecomp.conf") for line in commands)


@pytest.mark.parametrize(
    "release",
    [
        "ID=nixos\n",
        'ID="rocky"\nID_LIKE="rhel centos fedora"\nVERSION_ID="9.4"\nPLATFORM_ID="platform:el9"\n',
    ],
)
def test_an_unknown_distribution_gets_advice_and_the_general_steps(tmp_path: Path, release: str) -> None:
    plan = loopback_plan(_system(tmp_path, release), kernel=KERNEL, user="ann")
    assert "install its package of v4l2loopback" in plan.notes[0]
    assert plan.steps[0].purpose == "keep the options"


@pytest.mark.parametrize(
    "release", [b"NAME=Ann's Linux\nID=debian\n", b'NAME="Caf\xe9"\nID=debian\n', b"  # it's\nID=debian"]
)
@pytest.mark.parametrize("group", [b"video:x\n", b"caf\xe9:x:9:\nvideo:x:44:bob\n"])
def test_files_of_the_system_that_somebody_edited_are_read(tmp_path: Path, release: bytes, group: bytes) -> None:
    root = _system(tmp_path, "")
    (root / "etc/os-release").write_bytes(release)
    (root / "etc/group").write_bytes(group)
    commands = [step.command for step in loopback_plan(root, kernel=KERNEL, user="ann").steps]
    assert commands[0] == "sudo apt-get update"
    assert "sudo usermod -aG video ann" in commands


def test_arch_takes_the_headers_of_its_kernel(tmp_path: Path) -> None:
    plan = loopback_plan(_system(tmp_path, "ID=arch\n"), kernel="6.12.1-1-lts", user="ann")
    assert plan.steps[0].command.endswith(" linux-lts-headers")


def test_what_is_there_is_left_out_and_what_is_loaded_is_unloaded(tmp_path: Path) -> None:
    system = _system(tmp_path, "ID=debian\n", loaded=True, group="bob,ann")
    commands = [step.command for step in loopback_plan(system, kernel=KERNEL, user="ann").steps]
    assert not any("usermod" in command for command in commands)
    assert "sudo modprobe -r v4l2loopback" in commands


@pytest.mark.parametrize("is_on", [False, True])
def test_secure_boot_is_told_when_it_is_on(tmp_path: Path, is_on: bool) -> None:
    notes = loopback_plan(_system(tmp_path, "ID=debian\n", secure_boot=is_on), kernel=KERNEL, user="ann").notes
    assert any("Enroll MOK" in note for note in notes) == is_on


def test_steps_run_in_order_until_one_fails(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    steps = [
        Step("make a file", f"echo one > {tmp_path}/one"),
        Step("break", "echo out; echo err >&2; false | cat"),
        Step("never", f"touch {tmp_path}/three"),
    ]
    told: list[str] = []
    with pytest.raises(DependencyError, match=r"cannot break: .* exit status 1, as told above; the 1 steps"):
        run_plan(steps, told.append)
    assert capfd.readouterr() == ("out\n", "err\n")  # seen as they come: a command may ask for something
    assert [path.name for path in tmp_path.iterdir()] == ["one"]
    assert [line[:5] for line in told] == ["[1/3]", "[2/3]"]


def test_a_step_that_never_ends_is_an_error() -> None:
    def hang(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        raise subprocess.TimeoutExpired(command, 1)

    with pytest.raises(DependencyError, match="timed out"):
        run_plan([Step("wait", "sleep 9")], lambda line: None, run=hang)


def test_the_unit_runs_the_command_and_says_how_to_enable_it(tmp_path: Path) -> None:
    path, commands = write_user_unit(tmp_path, "/home/ann/my tools/100%/livecomp")
    assert path == tmp_path / "systemd/user/livecomp.service"
    assert 'ExecStart="/home/ann/my tools/100%%/livecomp" run\n' in path.read_text()
    assert "@" not in path.read_text()
    assert commands[1] == "systemctl --user enable --now livecomp.service"


def test_a_unit_has_full_paths_whatever_the_environment_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "bin/livecomp"
    program.parent.mkdir()
    program.touch(0o700)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PATH", "bin")
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")  # which systemd, as everybody should, passes over
    path, _ = write_user_unit()
    assert path == tmp_path / "home/.config/systemd/user/livecomp.service"
    assert f'ExecStart="{program}" run\n' in path.read_text()
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    assert write_user_unit()[0] == tmp_path / "config/systemd/user/livecomp.service"


def test_a_unit_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "systemd").touch()
    with pytest.raises(OutputError, match="cannot be written"):
        write_user_unit(tmp_path, "livecomp")


def test_a_unit_that_cannot_be_written_whole_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _ = write_user_unit(tmp_path, "/opt/old/livecomp")
    write = Path.write_text

    def on_a_full_disk(self: Path, text: str, encoding: str) -> int:
        write(self, text[:9], encoding)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", on_a_full_disk)
    with pytest.raises(OutputError, match="No space left"):
        write_user_unit(tmp_path, "/opt/new/livecomp")
    assert 'ExecStart="/opt/old/livecomp" run\n' in path.read_text()
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_no_unit_is_written_where_there_is_no_systemd(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, platform: str
) -> None:
    monkeypatch.setattr("sys.platform", platform)
    with pytest.raises(DependencyError, match=f"on Linux, this is {platform}"):
        write_user_unit(tmp_path, "livecomp")
    assert not list(tmp_path.iterdir())
