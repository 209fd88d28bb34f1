"""How much memory processes of this computer hold.

NOTE: where the system has no `/proc`, all that is known is the most that this process has held so far.
"""

import os
import sys
from contextlib import suppress
from pathlib import Path


def resident_memory(pid: int | str = "self") -> int | None:
    """The bytes that a process holds just now; None where that cannot be told: it has ended, for example."""
    with suppress(OSError, ValueError, IndexError):
        return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return None


def peak_memory() -> int:
    """The most bytes that this process has held so far; 0 where the system does not tell."""
    with suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM:")).split()[1]) * 1024
    with suppress(ImportError):
        import resource

        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024
    return 0
