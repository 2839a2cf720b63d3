"""What a command finds in its environment."""

from qme.executor.environment import build_environment

TASK = "0199aaaa-0000-7000-8000-000000000001"


def build(own: dict[str, str], task: dict[str, str]) -> dict[str, str]:
    """Build it for one attempt."""
    return build_environment(own, task, taskid=f"shell-{TASK}", uuid=TASK, attempt=2)


def test_the_workers_secrets_and_settings_stay_with_the_worker():
    """Credentials, qme's settings and the service manager's messages are dropped, all else is kept."""
    own = {"PATH": "/bin", "QME_NATS_CREDS": "x", "NATS_URL": "x", "NOTIFY_SOCKET": "x", "LISTEN_FDS": "1"}
    own |= {"CREDENTIALS_DIRECTORY": "x", "WATCHDOG_USEC": "1", "QME_TASK_ID": "outer.1", "LANG": "C"}
    assert build(own, {}) == {
        "PATH": "/bin",
        "LANG": "C",
        "QME_TASK_ID": f"{TASK}.2",
        "QME_UID": f"shell-{TASK}",
    }


def test_the_task_may_set_anything_but_its_marker():
    """The user's variables win over the worker's, and over no name that the keeper needs."""
    made = build({"A": "own", "B": "own"}, {"A": "task", "QME_HOME": "mine", "QME_TASK_ID": "forged.1"})
    assert made["A"] == "task"
    assert made["B"] == "own"
    assert made["QME_HOME"] == "mine"
    assert made["QME_TASK_ID"] == f"{TASK}.2"


def test_a_shells_own_affairs_are_not_the_commands():
    """PWD is where the command starts; where and how deep the worker's shell was is nothing to it."""
    own = {"PWD": "/x", "OLDPWD": "/y", "SHLVL": "3", "_": "/bin/qme", "LANG": "C"}
    made = build_environment(own, {"A": "1"}, taskid="t", uuid=TASK, attempt=1, cwd="/work")
    assert made == {"PWD": "/work", "LANG": "C", "A": "1", "QME_TASK_ID": f"{TASK}.1", "QME_UID": "t"}
