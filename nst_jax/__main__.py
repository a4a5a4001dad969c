"""The command `nst-jax`, which is also `python -m nst_jax`."""

import os
import signal
import sys

# Of a GPU's memory; JAX by itself would take 75 %. The rest is for the driver and a desktop.
GPU_MEMORY_SHARE = "0.9"  # `device_memory.USABLE`


def main() -> int:
    """Run the command; Ctrl-C while it is still being imported ends it without a traceback."""
    os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", GPU_MEMORY_SHARE)
    from nst_jax.cli.interruption import ctrl_c_at_once

    with ctrl_c_at_once():
        from nst_jax.cli import main as cli

        cli.make_parser(sys.argv[1:])  # imports the rest
    code = cli.main()
    if code > 128:  # Ctrl-C pressed once more would spoil the exit
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    return code


if __name__ == "__main__":
    sys.exit(main())
