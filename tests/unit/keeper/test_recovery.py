"""What a token, an exit record and the processes together say about an attempt."""

from qme.executor.attempts import Exit, Token
from qme.executor.processes import Identity
from qme.executor.recovery import Ended, Lost, NotStarted, Running, classify

BOOT, ME = "boot-1", Identity(7, 100, "boot-1")
TOKEN = Token("boot-1", 1.0, 7, 100)
WITHOUT_PID = Token("boot-1", 1.0)
EXIT = Exit(0, 0.0, 0.0, 0, 1.0, 2.0)


def test_an_exit_record_outweighs_everything():
    """Once it is written, it is the truth, whatever the processes look like."""
    assert classify(TOKEN, EXIT, "boot-2", False, None) == Ended(EXIT)
    assert classify(None, EXIT, BOOT, True, ME) == Ended(EXIT)


def test_only_without_a_token_it_may_be_started():
    """No token is the one finding that allows a start."""
    assert classify(None, None, BOOT, False, None) == NotStarted()
    for token in (TOKEN, WITHOUT_PID, Token()):
        for alive in (True, False):
            for marked in (None, ME):
                assert not isinstance(classify(token, None, BOOT, alive, marked), NotStarted)


def test_a_noted_process_that_lives_runs():
    """Pid, start time and boot id agree: it is that very process."""
    assert classify(TOKEN, None, BOOT, True, None) == Running(ME)


def test_a_noted_process_that_is_gone_is_lost():
    """Nobody is left who could tell its exit status."""
    assert classify(TOKEN, None, BOOT, False, None) == Lost(
        "the keeper died before the command ended: its exit status is unknown"
    )


def test_another_boot_is_proof():
    """Whatever ran in an earlier boot runs no more, with or without a pid."""
    for token in (TOKEN, WITHOUT_PID):
        assert classify(token, None, "boot-2", False, None) == Lost(
            "the host was restarted while the command ran"
        )


def test_a_token_without_pid_is_settled_by_the_marker():
    """The keeper died around the spawn: whoever carries the marker is the command, and nobody means lost."""
    assert classify(WITHOUT_PID, None, BOOT, False, ME) == Running(ME)
    assert classify(Token(), None, BOOT, False, ME) == Running(ME)
    assert classify(WITHOUT_PID, None, BOOT, False, None) == Lost(
        "the keeper died while it started the command: whether it ran is unknown"
    )
