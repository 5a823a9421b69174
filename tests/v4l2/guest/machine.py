"""Boot the guest, run one command in it, and bring back what it said.

The guest's files are this computer's, read-only below a layer in memory: the same Python, the same virtual environment,
the same checkout, at the same paths. What it writes is gone when it ends, but for one shared folder.

The processor is emulated: a /dev/kvm that is there may still be of no use, and modules are wanted, not speed. An old
processor is emulated on purpose, one without AVX, which costs several times as much as SSE here.
"""

from __future__ import annotations

import ctypes
import mmap
import shlex
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from livecomp.install import LOOPBACK_OPTIONS
from tests.v4l2.guest.kernel import find_modules, newc_archive
from tests.v4l2.guest.parts import GuestParts

__all__ = ["CPU_NAME", "MODULES", "SHARE", "GuestReport", "run_in_guest"]

CPU_NAME = "nehalem"
"""LLVM's name of the emulated processor: code that is compiled for it beforehand needs no compiling there."""

SHARE = Path("/run/share")
"""Where the guest sees the shared folder."""

MODULES: dict[str, tuple[str, ...]] = {
    "vivid": ("n_devs=1", "node_types=0x1", "num_inputs=1", "input_types=0x0", "vid_cap_nr=0"),
    "v4l2loopback": tuple(LOOPBACK_OPTIONS.split()),
    "dummy": (),
}
"""Modules with their parameters: a camera at /dev/video0, the virtual one at /dev/video10, a network card."""

_READ_COUNTER = bytes.fromhex("0f31 48c1e220 4809d0 c3")
"""rdtsc; shl rdx, 32; or rax, rdx; ret"""

_FIRST_MODULES = ("virtio_pci", "9pnet_virtio", "9p", "overlay")
_MEMORY_MB = 3072
_9P = "trans=virtio,version=9p2000.L,msize=512000"

_INIT = f"""#!/bin/busybox sh
b=/bin/busybox
$b mkdir -p /proc /sys /new
$b mount -t proc proc /proc
$b mount -t sysfs sys /sys
$b mount -t devtmpfs dev /dev
@LOAD@
$b mount -t 9p -o ro,cache=loose,{_9P} root /new || $b poweroff -f
for name in proc sys dev; do $b mount --move /$name /new/$name; done
$b mkdir -p /new/dev/shm /new/dev/pts
$b mount -t tmpfs shm /new/dev/shm
$b mount -t devpts pts /new/dev/pts
$b mount -t tmpfs run /new/run
$b mkdir -p /new/run/modules /new/run/bin /new/run/tmp /new/run/home /new{SHARE}
$b cp /modules/*.ko /new/run/modules/
$b cp $b /new/run/bin/busybox
for name in insmod rmmod ip poweroff; do $b ln -s busybox /new/run/bin/$name; done
$b mount -t 9p -o cache=none,{_9P} share /new{SHARE} || $b poweroff -f
$b ip link set lo up
exec $b switch_root -c /dev/console /new /bin/bash {SHARE}/.guest/second
"""

_SECOND = f"""#!/bin/bash
export PATH=/run/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/run/home TERM=dumb
export TMPDIR=/run/tmp XDG_RUNTIME_DIR=/run/user
mkdir -m 700 -p /run/user
@LOAD@
# peers of a WebRTC connection look for an address that is not the loopback's
ip link set dummy0 up && ip addr add 192.0.2.7/24 dev dummy0 && ip route add default dev dummy0
cut -d' ' -f1 /proc/uptime > {SHARE}/.guest/booted
@RUN@
echo $? > {SHARE}/.guest/status
dmesg > {SHARE}/.guest/dmesg
sync
poweroff -f
"""


@dataclass(frozen=True, slots=True)
class GuestReport:
    """What came back.

    Args:
        status: Exit status of the command; None when the guest ended, or was ended, before the command did.
        output: What the command printed.
        console: What the guest's kernel printed.
        boot_s: Seconds by the guest's clock until the command began; None when it never did.
        seconds: Seconds that all of it took.
    """

    status: int | None
    output: str
    console: str
    boot_s: float | None
    seconds: float

    def __str__(self) -> str:
        """For people who look for what went wrong."""
        return f"status {self.status} after {self.seconds:.0f} s\n{self.output[-6000:]}\n{self.console[-2000:]}"


def run_in_guest(
    parts: GuestParts,
    command: Sequence[str],
    *,
    share: Path,
    cwd: Path,
    environment: Mapping[str, str] | None = None,
    modules: Mapping[str, Sequence[str]] = MODULES,
    timeout_s: float = 240,
) -> GuestReport:
    """Boot, run, power off.

    Args:
        parts: What to boot from.
        command: Program and arguments, by the paths that hold on this computer.
        share: Folder that the guest writes to, as `SHARE`; should be empty.
        cwd: Where to run the command.
        environment: Added for the command.
        modules: Kernel modules to load, with parameters.
        timeout_s: After that, the guest is killed.
    """
    begun = time.monotonic()
    hidden = share / ".guest"
    hidden.mkdir()
    first = find_modules(parts.modules, _FIRST_MODULES)
    later = [path for path in find_modules(parts.modules, modules) if path not in first]
    files = {"bin/busybox": parts.busybox.read_bytes()}
    files |= {f"modules/{path.name}": _stripped(path) for path in (*first, *later)}
    load_first = "\n".join(f"$b insmod /modules/{path.name}" for path in first)
    files["init"] = _INIT.replace("@LOAD@", load_first).encode()
    load = "\n".join(
        shlex.join(["insmod", f"/run/modules/{path.name}", *modules.get(path.stem.replace("-", "_"), ())])
        for path in later
    )
    assignments = [f"{name}={value}" for name, value in (environment or {}).items()]
    run = f"cd {shlex.quote(str(cwd))} && {shlex.join(['env', *assignments, *command])}"
    second = _SECOND.replace("@LOAD@", load).replace("@RUN@", f"({run}) </dev/null >{SHARE}/.guest/output 2>&1")
    (hidden / "second").write_text(second)
    with tempfile.TemporaryDirectory(prefix="livecomp-guest-") as made:
        initramfs = Path(made) / "initramfs"
        initramfs.write_bytes(newc_archive(files))
        console = _boot(parts.kernel, initramfs, share, timeout_s)
    booted, status = _text(hidden / "booted"), _text(hidden / "status")
    return GuestReport(
        status=int(status) if status else None,
        output=_text(hidden / "output"),
        console=console,
        boot_s=float(booted) if booted else None,
        seconds=time.monotonic() - begun,
    )


def _boot(kernel: Path, initramfs: Path, share: Path, timeout_s: float) -> str:
    options = "security_model=none,multidevs=remap"
    whole, part = f"local,id=root,path=/,readonly=on,{options}", f"local,id=share,path={share},{options}"
    append = (
        "console=ttyS0 quiet panic=-1 mitigations=off nokaslr random.trust_cpu=on no_timer_check nowatchdog "
        f"tsc=reliable tsc_early_khz={_counter_khz()}"
    )
    arguments = [
        "qemu-system-x86_64",
        *("-accel", "tcg,thread=multi,tb-size=1024", "-cpu", CPU_NAME.capitalize(), "-smp", "2"),
        *("-m", str(_MEMORY_MB), "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-net", "none"),
        *("-serial", "stdio", "-kernel", str(kernel), "-initrd", str(initramfs), "-append", append),
        *("-fsdev", whole, "-device", "virtio-9p-pci,fsdev=root,mount_tag=root"),
        *("-fsdev", part, "-device", "virtio-9p-pci,fsdev=share,mount_tag=share"),
    ]
    with subprocess.Popen(
        arguments,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as machine:
        killer = threading.Timer(timeout_s, machine.kill)
        killer.start()
        try:
            console, _ = machine.communicate()
        except BaseException:
            machine.kill()
            raise
        finally:
            killer.cancel()
    return console


def _counter_khz() -> int:
    """Frequency of this processor's time stamp counter, which the guest reads too.

    Left to itself on a busy computer, the guest's kernel measures it three times too low, and all its clocks run three
    times too fast.
    """
    with mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC) as code:
        code.write(_READ_COUNTER)
        memory = ctypes.c_char.from_buffer(code)
        read = ctypes.CFUNCTYPE(ctypes.c_uint64)(ctypes.addressof(memory))
        begun, begun_ns = read(), time.monotonic_ns()
        time.sleep(0.1)
        ended, ended_ns = read(), time.monotonic_ns()
        del memory
    return round(int(ended - begun) * 1_000_000 / (ended_ns - begun_ns))


def _stripped(module: Path) -> bytes:
    """A module without what only debuggers read: a tenth of the size."""
    with tempfile.NamedTemporaryFile(suffix=".ko") as made:
        subprocess.run(["strip", "--strip-debug", "-o", made.name, str(module)], check=True)
        return Path(made.name).read_bytes()


def _text(path: Path) -> str:
    return path.read_text(errors="replace").strip() if path.exists() else ""
