"""Where a command goes: as a table, and for every order of what is known."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qme.contracts.executors import Approval, Definition
from qme.errors import NoExecutorMatches, NotPermitted, QmeError
from qme_submitter.explain import explain
from qme_submitter.patterns import Patterns, problem
from qme_submitter.routing import Routes

NOW = datetime(2026, 1, 2, tzinfo=UTC)
SBATCH = r"^(\S*/)?sbatch(\s|$)"


def definition(
    executor: str,
    pool: str,
    matchstring: str | None,
    users: Sequence[str] = ("*",),
    priority: int = 0,
    version: str = "1",
) -> Definition:
    """Describe an executor in a pool."""
    return Definition(
        executor=executor,
        pool=pool,
        matchstring=matchstring,
        priority=priority,
        version=version,
        account="svc",
        users=tuple(users),
        updated=NOW,
    )


def approval(one: Definition, **changed: object) -> Approval:
    """Approve a definition as it stands, but for what is `changed`."""
    said = Approval(
        matchstring=one.matchstring,
        priority=one.priority,
        account=one.account,
        users=one.users,
        script=one.script,
        by="op",
        at=NOW,
    )
    return said.model_copy(update=changed)


def approved(*definitions: Definition) -> Routes:
    """Know definitions that are all approved."""
    return Routes(definitions, {(one.executor, one.pool): approval(one) for one in definitions})


SHELL = definition("shell", "default", None)
SLURM = definition("slurm", "default", SBATCH, priority=10)
OWN = definition("shell", "u-ann", None)


@pytest.mark.parametrize(
    ("routes", "command", "asked", "goes_to"),
    [
        pytest.param([SHELL, SLURM], "echo hi", {}, "shell/default", id="the shell takes the rest"),
        pytest.param(
            [SHELL, SLURM], "sbatch x.sh", {}, "slurm/default", id="a pattern goes before the shell"
        ),
        pytest.param([SHELL, SLURM], "/usr/bin/sbatch x", {}, "slurm/default", id="found by path"),
        pytest.param([SHELL, SLURM], "sbatchx", {}, "shell/default", id="a longer word is another command"),
        pytest.param([OWN, SHELL], "ls", {}, "shell/u-ann", id="own pool first"),
        pytest.param([OWN, SHELL], "ls", {"pool": "default"}, "shell/default", id="a pool asked for"),
        pytest.param([OWN, SLURM], "sbatch x", {}, "slurm/default", id="own shell does not hide the cluster"),
        pytest.param(
            [definition("shell", "gpu", None), SHELL], "ls", {}, "shell/default", id="default of two"
        ),
        pytest.param([definition("shell", "gpu", None)], "ls", {}, "shell/gpu", id="the only one"),
        pytest.param(
            [SHELL, SLURM], "ls", {"executor": "slurm"}, "slurm/default", id="an executor asked for"
        ),
        pytest.param(
            [SHELL, SLURM], "sbatch x", {"executor": "shell"}, "shell/default", id="shell asked for"
        ),
        pytest.param(
            [SHELL, definition("b", "default", "x"), definition("a", "default", "x")],
            "x",
            {},
            "a/default",
            id="equal priority: by name",
        ),
        pytest.param(
            [definition("a", "default", "x"), definition("b", "default", "x", priority=1)],
            "x",
            {},
            "b/default",
            id="priority goes before the name",
        ),
        pytest.param(
            [SHELL, definition("slurm", "gpu", SBATCH, ["bob"]), definition("b", "default", "sbatch")],
            "sbatch x",
            {},
            "b/default",
            id="a pattern that admits the user is enough",
        ),
        pytest.param(
            [SHELL, definition("a", "u-bob", ".*", priority=99)],
            "ls",
            {},
            "shell/default",
            id="another's own pool does not count",
        ),
        pytest.param(
            [
                SHELL,
                definition("a", "p1", "old", version="1.9"),
                definition("a", "default", "new", version="1.10"),
            ],
            "new",
            {"pool": "p1"},
            "a/p1",
            id="the newest version's pattern counts in every pool",
        ),
        pytest.param(
            [definition("a", "default", None), SHELL], "ls", {}, "a/default", id="two take the rest"
        ),
        pytest.param(
            [SHELL, definition("shell", "=mrxws3tfmq", None)],
            "ls",
            {"pool": "=mrxws3tfmq"},
            "shell/=mrxws3tfmq",
            id="a pool by its token",
        ),
    ],
)
def test_a_command_goes_where_the_rule_says(
    routes: list[Definition], command: str, asked: dict[str, str], goes_to: str
):
    """Each line of the rule decides as it is written."""
    decision = approved(*routes).route(command.split(), "ann", **asked)
    assert f"{decision.executor}/{decision.pool}" == goes_to


@pytest.mark.parametrize(
    ("routes", "command", "asked", "error", "says"),
    [
        pytest.param([], "ls", {}, NoExecutorMatches, "executors for ann: none", id="nothing is known"),
        pytest.param([SLURM], "ls", {}, NoExecutorMatches, "executors for ann: slurm", id="no shell"),
        pytest.param(
            [SHELL], "ls", {"pool": "gpu"}, NoExecutorMatches, "no pool 'gpu'; pools for ann: default"
        ),
        pytest.param(
            [SHELL], "ls", {"executor": "x"}, NoExecutorMatches, "no executor 'x'; executors for ann: shell"
        ),
        pytest.param(
            [SHELL, definition("slurm", "gpu", SBATCH, ["bob"])],
            "sbatch x",
            {},
            NoExecutorMatches,
            "slurm takes this command, but not from ann: pool gpu admits bob",
            id="never the shell because the pool is closed",
        ),
        pytest.param(
            [OWN, SLURM],
            "sbatch x",
            {"pool": "u-ann"},
            NoExecutorMatches,
            "slurm takes this command, but not in pool u-ann; its pools: default",
            id="never the shell because the pool has no slurm",
        ),
        pytest.param(
            [definition("shell", "p1", None), definition("shell", "p2", None)],
            "ls",
            {},
            NoExecutorMatches,
            "choose one with --pool: p1, p2",
            id="several pools",
        ),
        pytest.param(
            [SHELL, definition("shell", "gpu", None, ["bob"])],
            "ls",
            {"pool": "gpu"},
            NotPermitted,
            "pool gpu admits bob",
            id="a pool that does not admit",
        ),
        pytest.param(
            [SHELL, definition("shell", "u-bob", None)],
            "ls",
            {"pool": "u-bob"},
            NotPermitted,
            "its owner's own",
        ),
        pytest.param(
            [SHELL, definition("slurm", "gpu", SBATCH, ["bob"])],
            "ls",
            {"executor": "slurm"},
            NotPermitted,
            "executor slurm does not take commands of ann: pool gpu admits bob",
        ),
        pytest.param(
            [SHELL, SLURM, definition("shell", "gpu", None)],
            "ls",
            {"executor": "slurm", "pool": "gpu"},
            NoExecutorMatches,
            "executor slurm has no pool 'gpu' for ann; its pools: default",
        ),
    ],
)
def test_a_refusal_says_what_there_is(
    routes: list[Definition], command: str, asked: dict[str, str], error: type[QmeError], says: str
):
    """Whoever is refused reads what would have worked."""
    with pytest.raises(error) as refusal:
        approved(*routes).route(command.split(), "ann", **asked)
    assert says in refusal.value.message


def test_a_definition_nobody_approved_takes_and_stops_nothing():
    """A worker that advertises `.*` for all gets no command and keeps none from the shell."""
    greedy = definition("cowsay", "default", ".*", priority=99)
    routes = Routes([SHELL, greedy], {("shell", "default"): approval(SHELL)})
    assert routes.route(["ls"], "ann").executor == "shell"
    (verdict,) = [c.verdict for c in explain(routes, ["ls"], "ann", {}).candidates if c.executor == "cowsay"]
    assert verdict == "not approved; an operator can: qme executors approve cowsay --pool default"


def test_a_changed_definition_goes_on_as_approved():
    """A new matchstring waits for approval, and meanwhile the approved one takes what it took."""
    changed = definition("slurm", "default", ".*", priority=99)
    routes = Routes(
        [SHELL, changed], {("shell", "default"): approval(SHELL), ("slurm", "default"): approval(SLURM)}
    )
    assert routes.route(["sbatch", "x"], "ann").executor == "slurm"
    assert routes.route(["ls"], "ann").executor == "shell"


def test_another_account_than_approved_takes_nothing_and_leaves_nothing_to_the_shell():
    """What ran as one account never silently runs as another, nor in the shell."""
    said = approval(SLURM, account="root")
    routes = Routes([SHELL, SLURM], {("shell", "default"): approval(SHELL), ("slurm", "default"): said})
    with pytest.raises(NoExecutorMatches, match="runs as svc now, but was approved for root"):
        routes.route(["sbatch", "x"], "ann")


def test_users_added_after_the_approval_wait():
    """A pool admits whom both the definition and the approval admit."""
    routes = Routes([SHELL], {("shell", "default"): approval(SHELL, users=("bob",))})
    assert routes.route(["ls"], "bob").pool == "default"
    with pytest.raises(NoExecutorMatches):
        routes.route(["ls"], "ann")


def test_a_pattern_that_re2_refuses_is_shown_and_matches_nothing():
    """A look-ahead breaks its own executor alone, and `match` says why."""
    broken = definition("bad", "default", "(?=x)", priority=5)
    routes = approved(SHELL, broken)
    reply = explain(routes, ["x"], "ann", {})
    assert (reply.executor, reply.pool) == ("shell", "default")
    assert "can't be used: invalid perl operator: (?=" in reply.candidates[0].verdict


def test_match_explains_every_candidate():
    """Each definition that the user may know of has its own sentence; an offline one says that its tasks wait."""
    routes = approved(
        OWN, SHELL, SLURM, definition("shell", "gpu", None, ["bob"]), definition("a", "u-bob", ".*")
    )
    online = {("shell", "default"): 2}
    reply = explain(routes, ["sbatch", "x"], "ann", online)
    assert (reply.executor, reply.pool, reply.command) == ("slurm", "default", "sbatch x")
    assert reply.why == f"slurm: its pattern {SBATCH} matches; pool default is the only one"
    assert [(c.executor, c.pool, c.online, c.verdict) for c in reply.candidates] == [
        ("slurm", "default", 0, "takes it; no worker is alive, its tasks wait"),
        ("shell", "default", 2, "takes only what nobody else matches, but slurm goes first"),
        ("shell", "gpu", 0, "pool gpu admits bob; no worker is alive, its tasks wait"),
        (
            "shell",
            "u-ann",
            0,
            "takes only what nobody else matches, but slurm goes first; no worker is alive, its tasks wait",
        ),
    ]


def test_match_shows_disagreement_and_who_goes_first():
    """Two versions of one executor, two of its pools, two that match: each sentence says what decided."""
    old, new = definition("a", "p1", "x", version="1"), definition("a", "default", "y", version="2")
    changed = definition("b", "default", "y", version="3")
    approvals = {(one.executor, one.pool): approval(one) for one in (old, new, changed)}
    approvals["b", "default"] = approval(changed, priority=-1)
    reply = explain(Routes([old, new, changed], approvals), ["y"], "ann", {("b", "default"): 1})
    waits = "; no worker is alive, its tasks wait"
    assert [(c.executor, c.pool, c.verdict) for c in reply.candidates] == [
        ("a", "default", "takes it" + waits),
        (
            "a",
            "p1",
            "its pattern matches (that of version 2 in pool default, the newest: y), but pool default goes first"
            + waits,
        ),
        (
            "b",
            "default",
            "its pattern matches, but a goes first; goes on as it was approved; its changes wait for approval",
        ),
    ]


def test_scripts_travel_to_a_shared_pool_only_as_approved():
    """That clients send scripts along is an operator's word, too; a change of it waits for approval."""
    wants = SLURM.model_copy(update={"script": "sbatch"})
    answers = [
        explain(Routes([wants], {("slurm", "default"): said}), ["sbatch", "x"], "ann", {}).script
        for said in (approval(wants), approval(SLURM))
    ]
    assert answers == ["sbatch", None]
    own = wants.model_copy(update={"pool": "u-ann"})
    assert explain(Routes([own], {}), ["sbatch", "x"], "ann", {}).script == "sbatch"
    assert explain(approved(wants, SHELL), ["ls"], "ann", {}).script is None


def test_match_without_a_decision_still_says_who_matches():
    """Several pools and no choice between them: both are shown as matching."""
    routes = approved(definition("a", "p1", "x"), definition("a", "p2", "x"))
    reply = explain(routes, ["x"], "ann", {("a", "p1"): 1, ("a", "p2"): 1})
    assert reply.why == "a takes this command in several pools; choose one with --pool: p1, p2"
    assert [c.verdict for c in reply.candidates] == ["its pattern matches", "its pattern matches"]


def test_match_explains_a_refusal():
    """A command that nobody takes has no executor, and the reason instead."""
    reply = explain(approved(SLURM), ["ls"], "ann", {})
    assert (reply.executor, reply.pool) == (None, None)
    assert reply.why == "no executor takes this command; executors for ann: slurm"
    assert [c.verdict for c in reply.candidates] == [
        "its pattern does not match; no worker is alive, its tasks wait"
    ]


_DEFINITIONS = st.lists(
    st.builds(
        definition,
        executor=st.sampled_from(["shell", "slurm", "a", "b"]),
        pool=st.sampled_from(["default", "gpu", "u-ann", "u-bob"]),
        matchstring=st.sampled_from([None, "a", "b", "^a", ".*", "("]),
        users=st.sampled_from([("*",), ("ann",), ("bob",)]),
        priority=st.integers(0, 2),
        version=st.sampled_from(["1", "1.2", "1.10", "x"]),
    ),
    unique_by=lambda one: (one.executor, one.pool),
    max_size=8,
)


def outcome(routes: Routes, words: list[str], pool: str | None, executor: str | None) -> str:
    """Give the decision or the refusal as text."""
    try:
        return str(routes.route(words, "ann", pool=pool, executor=executor))
    except (NoExecutorMatches, NotPermitted) as refusal:
        return repr(refusal)


@settings(deadline=None)
@given(st.data(), _DEFINITIONS)
def test_the_answer_does_not_depend_on_the_order(data: st.DataObject, definitions: list[Definition]):
    """Two submitters that know the same decide the same, however they learned it."""
    words = data.draw(st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=3))
    pool = data.draw(st.sampled_from([None, "default", "gpu", "u-ann", "nowhere"]))
    executor = data.draw(st.sampled_from([None, "shell", "a", "nobody"]))
    shuffled = data.draw(st.permutations(definitions))
    assert outcome(approved(*definitions), words, pool, executor) == outcome(
        approved(*shuffled), words, pool, executor
    )


@settings(deadline=None)
@given(_DEFINITIONS, st.sampled_from(["a", "b", "c"]))
def test_what_an_approved_pattern_matches_never_falls_to_the_rest(definitions: list[Definition], word: str):
    """Whatever else is known: an executor without a pattern gets no command that a shared executor matches."""
    routes = approved(*definitions)
    matching = [
        one
        for one in routes.offers
        if not one.definition.personal
        and one.matchstring
        and one.trouble is None
        and one.matchstring.strip("^") == word
    ]
    try:
        decision = routes.route([word], "ann")
    except NoExecutorMatches:
        return
    leader = routes.view("ann").groups[decision.executor].leader
    led = {one.executor for one in matching if one.executor in routes.view("ann").groups}
    if any(one.executor not in led for one in matching):
        assert leader.matchstring is not None


def test_a_thousand_executors_cost_no_more_than_one():
    """Patterns are tried together: far from a thousand separate searches per command."""
    routes = approved(
        SHELL, *(definition(f"e{i}", "default", rf"^(\S*/)?tool{i}(\s|$)") for i in range(1000))
    )
    assert routes.route(["tool77", "x"], "ann").executor == "e77"
    began = time.perf_counter()
    for _ in range(100):
        routes.route(["echo", "hello"], "ann")
    # 20 µs where this was written; a thousand searches one by one are 3,500
    assert (time.perf_counter() - began) / 100 < 0.001


def test_patterns_too_large_together_are_tried_one_by_one(monkeypatch: pytest.MonkeyPatch):
    """A set that RE2 can't hold is slower, never wrong."""
    wanted = [rf"(a|b|c{i})*d[^x]{{0,20}}e{i}" for i in range(300)]
    monkeypatch.setattr("qme_submitter.patterns._MEMORY", 1 << 20)
    assert Patterns(wanted).matching("abde7") == {wanted[7]}


def test_a_pattern_that_is_not_text_is_refused():
    """A lone surrogate in a pattern is its own problem, not the submitter's."""
    assert problem("\udc80") == "not UTF-8"
