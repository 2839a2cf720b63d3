"""Where a job's output goes: patterns as slurmstepd expands them, each tried on a real Slurm 22.05."""

from __future__ import annotations

import pytest

from qme_executor_slurm import parsers, paths

RECORD = """JobId=28 ArrayJobId=25 ArrayTaskId=3 JobName=nm
   UserId=ann(1000) GroupId=ann(1000) MCS_label=N/A
   JobState=RUNNING Reason=None Dependency=(null)
   BatchHost=n2
   StdErr=/home/ann/slurm-25_3.out
   StdOut=/home/ann/slurm-25_3.out
"""


def details(text: str = RECORD) -> parsers.Details:
    """One record of scontrol's."""
    (found,) = parsers.details(text)
    return found


#: the pattern, and the file that Slurm made of it
MADE = {
    "%A-%a": "25-3",
    "%j %J": "28 28",
    "%x.%u": "nm.ann",
    "%N": "login1",
    "%n%t%s": "00batch",
    "%8j": "00000028",
    "%08j": "00000028",
    "%12j": "0000000028",
    "%0j": "28",
    "%8x": "nm",
    "%%": "%",
    "%j%%j": "28%j",
    r"a\%j": "a%j",
    "%q %b %-j %": "%q %b %-j %",
}


@pytest.mark.parametrize("pattern", MADE)
def test_a_pattern_becomes_the_file_that_slurm_makes(pattern: str):
    """Symbols, widths, escapes, and what is none of these."""
    assert paths.expand(pattern, paths.values(details(), "login1", whole=False)) == MADE[pattern]


def test_of_an_array_what_differs_between_elements_stays():
    """Its own number, name and user are the same for all."""
    meant = paths.values(details(), None, whole=True)
    assert paths.expand("%x-%A-%a-%j-%N-%%.%4a", meant) == "nm-25-%a-%j-%N-%%.%4a"


def test_the_host_stays_until_it_is_known():
    """Nobody knows before the start where a job will run."""
    assert paths.expand("%N-%j", paths.values(details(), None, whole=False)) == "%N-28"


def test_what_scontrol_tells_is_taken_where_it_can_be():
    """Not where it left symbols, nor one element's path for that of an array, unless that is the one by default."""
    one = details()
    assert paths.plain("/a/b.txt", one, whole=False) == "/a/b.txt"
    assert paths.plain("/a/%N.txt", one, whole=False) is None
    assert paths.plain("/a/\\28.txt", one, whole=False) is None
    assert paths.plain("/a/o-4294967294.txt", one, whole=True) == "/a/o-%a.txt"
    assert paths.plain("/home/ann/slurm-25_3.out", one, whole=True) == "/home/ann/slurm-25_%a.out"
    assert paths.plain("/a/o-3.txt", one, whole=True) is None


def test_squeues_answer_is_read():
    """The patterns as they were given; nothing where it has no such job."""
    assert parsers.patterns("/a/%N\x1f/a/%j.err\x1f\n") == ("/a/%N", "/a/%j.err")
    assert parsers.patterns("") is None


def test_a_nodes_host_is_read():
    """It may have another name than the node."""
    assert parsers.host("NodeName=n2 Arch=x86_64\n   NodeAddr=127.0.0.1 NodeHostName=login1\n") == "login1"
    assert parsers.host("") is None
