"""Run a command; print as JSON its seconds, its peak memory in bytes, its code and last words.

A process of its own, and a small one: Linux counts what a process was forked from to its peak.
"""

import json
import os
import subprocess
import sys
import time


def launch(command: list[str]) -> dict[str, float | int | str]:
    """Run the command to its end; its standard output is dropped."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    said = process.stderr.read().decode(errors="replace").strip()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss
    return {
        "seconds": time.perf_counter() - began,
        "peak": usage.ru_maxrss * unit,
        "code": process.returncode,
        "said": said.splitlines()[-1] if said else "",
    }


if __name__ == "__main__":
    print(json.dumps(launch(sys.argv[1:])))
