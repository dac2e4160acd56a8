"""What a worker may not do: read keys, write files, reach the network, leave a core dump.

A crafted model file is the largest risk to an operator (llama.cpp's loader has had a dozen memory bugs), so the process
that maps it is boxed in. With bubblewrap it sees only the system's libraries, this package and the model file, all
read-only, and no network; a model that it inherits as an open file is no file it would have to see. Without bubblewrap
it gets a network namespace where the kernel allows one, and resource limits; it could then still read what its user may
read, hence the warning. A GPU needs device files, which widen the box.
"""

import ctypes
import fcntl
import functools
import os
import resource
import shutil
import socket
import struct
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

import oracle

log = structlog.get_logger(__name__)

PACKAGE_ROOT = Path(oracle.__file__).resolve().parent.parent
STDERR_BYTES = 1 << 20  # a worker writes nothing but its last words
OPEN_FILES = 256
PR_SET_DUMPABLE, PR_SET_NO_NEW_PRIVS = 4, 38  # linux/prctl.h
CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000  # linux/sched.h
SIOCSIFFLAGS, IFF_UP = 0x8914, 1  # linux/sockios.h, linux/if.h
BOX = ("--unshare-all", "--cap-drop", "ALL")
FRESH = ("--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp")
"""What a box has of its own. Where parts of /proc are hidden, as in containers, no fresh one may be mounted."""
SYSTEM_PATHS = ("/usr", "/lib", "/lib64", "/bin", "/etc/ld.so.cache", "/etc/alternatives")
GPU_PATHS = ("/sys", "/opt", "/etc/OpenCL", "/etc/vulkan")
PASSED_ON = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "CUDA_HOME", "CUDA_PATH", "OMP_NUM_THREADS", "DIDYMA_KERNELS")

KERNEL_CACHE = "TRITON_CACHE_DIR"
"""Names the one folder that workers on GPUs may write to: kernels that were compiled are kept there between starts."""


def kernel_cache(gpu: str | None, default: Path | None) -> Path | None:
    """The folder of a worker on `gpu`: the one that the operator named, else the default; None without a GPU."""
    if gpu is None:
        return None
    named = os.environ.get(KERNEL_CACHE)
    return Path(named) if named else default


@dataclass(frozen=True)
class Confinement:
    """What the worker does to itself before it loads anything."""

    unshare_network: bool
    """False where bubblewrap has done it."""
    memory_bytes: int | None
    """Limit of its address space, the mapped model included; None for a GPU, whose driver reserves far more."""


def environment(gpu: str | None, python_path: Sequence[Path], kernels: Path | None = None) -> dict[str, str]:
    """The worker's whole environment: nothing of the node's own settings, which may hold credentials.

    gpu: CUDA_VISIBLE_DEVICES; None hides every GPU. kernels: `kernel_cache`.
    """
    passed = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    if kernels is not None:
        passed[KERNEL_CACHE] = str(kernels)
    own = {
        "HOME": "/nonexistent",
        "PYTHONPATH": os.pathsep.join(str(path) for path in (PACKAGE_ROOT, *python_path)),
        "PYTHONDONTWRITEBYTECODE": "1",
        "CUDA_VISIBLE_DEVICES": gpu or "",
        "CUDA_CACHE_DISABLE": "1",
        "GGML_NO_BACKTRACE": "1",  # an abort in llama.cpp would otherwise start a debugger
    }
    return passed | own


@functools.cache
def bubblewrap() -> str | None:
    """The path of a bubblewrap that works here; it may be installed and still be forbidden, as in most containers."""
    path = shutil.which("bwrap")
    if path is not None:
        probe = subprocess.run([path, *BOX, "--ro-bind", "/", "/", *FRESH, "true"], capture_output=True, check=False)
        if probe.returncode == 0:
            return path
    log.warning("engine worker can read files", reason="bubblewrap is absent or forbidden", cure="install bubblewrap")
    return None


def command(
    bwrap: str | None,
    socket_fd: int,
    model_file: Path | None,
    gpu: str | None,
    python_path: Sequence[Path],
    kernels: Path | None = None,
) -> list[str]:
    """The command line of a worker that talks on `socket_fd`. Makes the folder `kernels`, for this user alone."""
    if kernels is not None:
        kernels.mkdir(mode=0o700, parents=True, exist_ok=True)
    worker = [sys.executable, "-P", "-s", "-m", "oracle.engines.worker_main", str(socket_fd)]
    if bwrap is None:
        return worker
    binds = [PACKAGE_ROOT / "oracle", *map(Path, (sys.prefix, sys.base_prefix)), *python_path]
    binds.append(Path(sys.executable).resolve().parent)
    if model_file is not None:
        binds.append(model_file.resolve())
    box = [bwrap, *BOX]
    for system in SYSTEM_PATHS + (GPU_PATHS if gpu else ()):
        box += ["--ro-bind-try", system, system]
    box += FRESH
    for bind in binds:
        box += ["--ro-bind", str(bind), str(bind)]
    if gpu:
        for device in sorted(Path("/dev").glob("nvidia*")):
            box += ["--dev-bind", str(device), str(device)]
        if kernels is not None:
            box += ["--bind", str(kernels), str(kernels)]
    return [*box, "--remount-ro", "/", "--chdir", "/", "--", *worker]


def confine(confinement: Confinement) -> None:
    """In the worker, while it has one thread and has loaded nothing."""
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("1000")  # when memory runs out, the kernel takes this process and not the daemon
    except OSError:
        pass  # read-only or absent: the kernel then chooses by size, which is this process as well
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (STDERR_BYTES, STDERR_BYTES))
    resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, OPEN_FILES))
    if confinement.memory_bytes is not None:
        resource.setrlimit(resource.RLIMIT_AS, (confinement.memory_bytes, confinement.memory_bytes))
    if confinement.unshare_network:
        if libc.unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0:
            print(f"no network namespace: {os.strerror(ctypes.get_errno())}", file=sys.stderr)
        else:
            _raise_loopback()


def _raise_loopback() -> None:
    """In a network of its own, as bubblewrap does: processes that a worker starts reach each other, and nobody else."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", IFF_UP))  # struct ifreq
