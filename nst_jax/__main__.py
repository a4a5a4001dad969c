"""`python -m nst_jax` is the command `nst-jax`."""

import signal
import sys


def main() -> int:
    """Run the command; Ctrl-C while it is still being imported ends it without a traceback."""
    previous = signal.getsignal(signal.SIGINT)
    if previous is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from nst_jax import cli

    signal.signal(signal.SIGINT, previous)
    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
