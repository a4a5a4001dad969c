"""Run a command; print as JSON its seconds, its peak memory in bytes, its code and last words.

A process of its own, and a small one: Linux counts what a process was forked from to its peak.
"""

import json
import os
import subprocess
import sys
import time

began = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
assert process.stderr is not None
said = process.stderr.read().decode(errors="replace").strip()
_, status, usage = os.wait4(process.pid, 0)
unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss
seconds, code = time.perf_counter() - began, os.waitstatus_to_exitcode(status)
facts = {"seconds": seconds, "peak": usage.ru_maxrss * unit, "code": code}
print(json.dumps({**facts, "said": said.splitlines()[-1] if said else ""}))
