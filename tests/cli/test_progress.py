"""What goes to which stream, on terminals and off them; and what Ctrl-C does."""

import contextlib
import errno
import io
import os
import signal
import sys

import numpy as np
import pytest

from nst_jax.cli import interruption as interruption_module
from nst_jax.cli import progress
from nst_jax.cli.interruption import Interruption
from nst_jax.cli.messages import accept_any_text, answer, say
from nst_jax.cli.progress import ProgressBar, make_bar
from nst_jax.engine.results import SweepProgress
from nst_jax.losses.terms import Losses


def alone(step, steps, losses, seconds, size, work, copies=1):
    """A step of one lane, or of copies of it that run together."""
    zeros = np.zeros(copies)
    terms = Losses(np.resize(losses, copies), zeros, zeros, zeros, {}, {})
    lanes = tuple(range(copies))
    return SweepProgress(lanes, copies, 0, copies, step, steps, terms, seconds, size, work)


def at(step, steps=100, loss=2.0, copies=1):
    """A step that has finished, at four steps a second."""
    work = step / steps if steps else 1.0
    return alone(step, steps, [loss, 9.0][:copies], step / 4, 64, work, copies)


def test_streams(capsys):
    say("to the user"), answer("what was asked for")
    assert capsys.readouterr() == ("what was asked for\n", "to the user\n")


@pytest.mark.parametrize(("name", "function"), [("stdout", answer), ("stderr", say)])
def test_nobody_listens(monkeypatch, name, function):
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stream:  # closing it would fail, were something left in it
        monkeypatch.setattr(sys, name, stream)
        function("one"), function("two")
        monkeypatch.undo()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_under_standard_error_is_none(monkeypatch):
    with open("/dev/full", "w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        say("one"), say("two")
        with make_bar() as bar:
            bar.console.file.write("three")
            bar.console.file.flush()
        monkeypatch.undo()


@pytest.mark.skipif(sys.platform == "win32", reason="terminals are POSIX's")
@pytest.mark.parametrize(("name", "function"), [("stdout", answer), ("stderr", say)])
def test_the_terminal_is_gone(monkeypatch, name, function):
    """As after a window was closed: writing fails with EIO."""
    terminal, line = os.openpty()
    os.close(terminal)
    with os.fdopen(line, "w") as stream:
        monkeypatch.setattr(sys, name, stream)
        function("one"), function("two")
        with ProgressBar(1):  # which Rich draws until it finds out
            pass
        monkeypatch.undo()


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_a_stream_that_was_never_open(monkeypatch, name):
    monkeypatch.setattr(sys, name, None)
    with ProgressBar(1):
        say("one"), answer("two")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_full_disk_is_an_error_once(monkeypatch):
    with open("/dev/full", "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        with pytest.raises(OSError) as caught:
            answer("one")
        answer("two")
        monkeypatch.undo()
    assert caught.value.errno == errno.ENOSPC


@pytest.mark.parametrize(
    ("encoding", "written"),
    [
        ("utf-8", b"\xce\xb1 \xe9\n"),
        ("cp1252", b"\\u03b1 \\udce9\n"),
        ("ascii", b"\\u03b1 \\udce9\n"),
    ],
)
def test_any_text(monkeypatch, encoding, written):
    """A letter that not every encoding has, and a byte of a file name that is no UTF-8."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding, newline="\n")
    monkeypatch.setattr(sys, "stdout", stream)
    accept_any_text()
    answer("α \udce9")
    monkeypatch.undo()
    assert stream.buffer.getvalue() == written


def lanes_at(step, done, losses, together=4):
    """A step of ten lanes, four at once, at two steps a second."""
    zeros = np.zeros(len(losses))
    terms = Losses(np.array(losses), zeros, zeros, zeros, {}, {})
    lanes = tuple(range(done, done + together))
    return SweepProgress(lanes, together, done, 10, step, 100, terms, step / 2, 64, step / 100)


def test_lines_of_a_sweep(capsys, monkeypatch):
    """The time left counts the lanes that have not begun."""
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    with ProgressBar(10) as bar:
        bar.show(lanes_at(0, 0, [3.0, 0.5, np.inf, 1.0]))
        bar.show(lanes_at(50, 4, [2.0, 0.25, 1.0, 1.0]))
        bar.show(lanes_at(100, 8, [1.0, 0.125], together=2))
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "compiling",
        "lanes 1 to 4 of 10  step 0/100  loss 0.5 to inf",
        "lanes 5 to 8 of 10  step 50/100  loss 0.25 to 2  2.00 steps/s  0:00:50 left",
        "lanes 9 to 10 of 10  step 100/100  loss 0.125 to 1  2.00 steps/s  0:00:00 left",
    ]


@pytest.mark.parametrize("copies", [1, 2])
def test_lines_where_there_is_no_terminal(capsys, monkeypatch, copies):
    """Of one picture; of its copies nothing is said."""
    now = iter([1000.0, 1000.0, 1001.0, 1006.0, 1006.0, 1007.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(now))
    with ProgressBar(1) as bar:
        for step in (0, 1, 50, 100):  # the second is too soon after the first
            bar.show(at(step, copies=copies))
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "compiling",
        "step 0/100  loss 2",
        "step 50/100  loss 2  4.00 steps/s  0:00:12 left",
        "step 100/100  loss 2  4.00 steps/s  0:00:00 left",
    ]


def test_time_left_from_coarse_to_fine(capsys, monkeypatch):
    """Ten steps, then ten with four times the pixels: a fifth of the work is the first half."""
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    with ProgressBar(1) as bar:
        bar.show(alone(5, 20, [2.0], 1.0, 32, 0.1))
        bar.show(alone(9, 20, [2.0], 1.8, 32, 0.18))
        bar.show(alone(10, 20, [2.0], 2.6, 64, 0.2))
        bar.show(alone(15, 20, [2.0], 6.6, 64, 0.6))
    assert capsys.readouterr().err.splitlines()[1:] == [
        "step 5/20  loss 2  5.00 steps/s  0:00:09 left",
        "step 9/20  loss 2  5.00 steps/s  0:00:08 left",
        "step 10/20  loss 2  1.25 steps/s  0:00:10 left",
        "step 15/20  loss 2  1.25 steps/s  0:00:04 left",
    ]


@pytest.mark.parametrize("loss", [float("nan"), float("inf"), 1e30])
def test_losses_of_any_size(capsys, loss):
    with ProgressBar(1) as bar:
        bar.show(at(0, 0, loss))
    assert f"step 0/0  loss {loss:.4g}" in capsys.readouterr().err


@pytest.fixture
def terminal(monkeypatch):
    """Make rich take standard error for a terminal."""
    monkeypatch.delenv("TTY_COMPATIBLE", raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")


def test_answers_stay_on_standard_output_while_a_bar_shows(terminal, capsys):
    with ProgressBar(1) as bar:
        bar.show(at(0, 10))
        answer("out-00005.png"), say("a word")
        bar.show(at(10, 10))
    out, err = capsys.readouterr()
    assert out == "out-00005.png\n"
    assert "a word" in err and "painting" in err and "10/10" in err and "compiling\n" not in err


def test_bar_stops_on_errors(terminal, capsys):
    before = sys.stderr
    with pytest.raises(ValueError), ProgressBar(1):
        raise ValueError
    assert sys.stderr is before
    assert "\x1b[?25h" in capsys.readouterr().err  # the cursor is back


def test_bars_are_for_terminals(capsys):
    with make_bar() as bar:
        bar.add_task("photographs", total=3)
    assert capsys.readouterr() == ("", "")


@pytest.fixture
def interruption():
    """Ctrl-C as Python has it outside, and an interruption that is not yet entered."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield Interruption()
    signal.signal(signal.SIGINT, before)


def press(number=signal.SIGINT):
    signal.raise_signal(number)


ENDINGS = [(signal.SIGTERM, 143), (getattr(signal, "SIGHUP", None), 129)]


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")
@pytest.mark.parametrize(("number", "code"), ENDINGS)
def test_the_system_ends_a_run_as_ctrl_c_does(interruption, capsys, number, code):
    before = signal.getsignal(number)
    with interruption:
        interruption.reach_step()
        press(number)
    assert interruption.requested and interruption_module.exit_code() == code
    assert signal.getsignal(number) == before
    assert capsys.readouterr().err.startswith(f"{number.name}: stopping after this step")


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")
def test_nohup(interruption):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with interruption:
        interruption.reach_step()
        press(signal.SIGHUP)
    signal.signal(signal.SIGHUP, before)
    assert not interruption.requested


def test_ctrl_c_before_the_first_step(interruption):
    with pytest.raises(KeyboardInterrupt), interruption:
        press()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ctrl_c_that_was_lost_on_the_way(interruption):
    """Python ignores exceptions in a finalizer or a callback of the garbage collector."""
    with pytest.raises(KeyboardInterrupt), interruption:
        with contextlib.suppress(KeyboardInterrupt):
            press()
        interruption.reach_step()


def test_ctrl_c_ends_after_the_step(interruption, capsys):
    with interruption:
        interruption.reach_step()
        press(), press()  # a launcher may pass on the terminal's
    assert interruption.requested
    out, err = capsys.readouterr()
    assert out == "" and len(err.splitlines()) == 1 and "Ctrl-C again" in err


def test_ctrl_c_again_ends_at_once(interruption, monkeypatch):
    with pytest.raises(KeyboardInterrupt), interruption:
        interruption.reach_step()
        press()
        monkeypatch.setattr(interruption_module, "SAME_PRESS", 0.0)
        press()


def test_ctrl_c_does_not_disturb_saving(interruption, capsys):
    with interruption:
        interruption.reach_step()
        interruption.saving = True
        press(), press()
    assert not interruption.requested and capsys.readouterr() == ("", "")


def test_ctrl_c_in_the_middle_of_a_line(interruption, monkeypatch):
    """Python's streams raise RuntimeError where a signal's handler prints into a printing."""

    def fail(_):
        raise RuntimeError("reentrant call inside <_io.BufferedWriter name='<stderr>'>")

    monkeypatch.setattr(interruption_module, "say", fail)
    with interruption:
        interruption.reach_step()
        press()
    assert interruption.requested


def test_ctrl_c_that_was_ignored_still_is(interruption):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with interruption:
        press()
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
