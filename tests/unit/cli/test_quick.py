"""The short way of a plain `qme submit` is the long way's twin."""

from __future__ import annotations

import json

import pytest

from qme.cli import quick
from qme.cli.context import Context
from qme.client.submission import Options, prepare
from qme.contracts.messages import Submission


@pytest.mark.parametrize(
    "argv", [["true"], ["echo", "hello", "--flag"], ["ls | wc -l"], ["printf", "%s", "ünï", "-m"]]
)
def test_it_asks_for_the_same(argv: list[str]) -> None:
    """The request that is written by hand says what the models say."""
    known = prepare(argv, Options(pool="gpu"), host="here")
    told = quick.submission(argv, known.uuid, "here", "gpu")
    assert Submission.model_validate_json(json.dumps(told)) == known


@pytest.mark.parametrize(
    "argv",
    [[], ["--file", "list"], ["-m", "note", "true"], ["sbatch", "x.sh"], ["/usr/bin/sbatch x.sh"], [""]],
)
def test_it_leaves_what_is_not_plain(argv: list[str]) -> None:
    """Options, scripts that travel along and mistakes are the long way's: nothing is begun for them."""
    context = Context()
    assert quick.submit(argv, context) is None
    assert context.begun is None
