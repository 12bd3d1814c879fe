"""What is known of jobs: answers count until the watch has come as far, and no longer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from kubetune_gateway.kube.known import Known, Raw, lean, uid_in, version_in


def job(uid: str, version: int, **meta: Any) -> dict[str, Any]:
    return {"metadata": {"uid": uid, "name": uid, "resourceVersion": str(version), **meta}}


def held(known: Known) -> dict[str, int]:
    return {uid_in(raw): version_in(raw) for raw in known}


def test_an_answer_counts_until_the_watch_has_come_as_far() -> None:
    known = Known()
    assert known.listed([job("a", 3)], 5) == [("ADDED", job("a", 3))]
    known.answered(job("b", 7))
    assert held(known) == {"a": 3, "b": 7}
    known.event("BOOKMARK", job("", 6))
    assert known.get("b") == job("b", 7)
    assert known.event("ADDED", job("b", 7)) == ("ADDED", job("b", 7))
    assert known.event("DELETED", job("b", 8)) == ("DELETED", job("b", 8))
    known.answered(job("b", 7))  # it came late
    assert held(known) == {"a": 3}


def test_the_newer_of_two_answers_counts() -> None:
    known = Known()
    known.listed([job("a", 3)], 5)
    known.answered(job("a", 9))
    known.answered(job("a", 8))
    known.event("MODIFIED", job("a", 7))
    assert held(known) == {"a": 9}
    known.event("MODIFIED", job("a", 9))
    assert held(known) == {"a": 9}


def test_what_an_answer_said_is_gone_stays_so() -> None:
    known = Known()
    known.listed([job("a", 3)], 5)
    known.deleted("a")
    assert (held(known), known.get("a")) == ({}, None)
    known.event("MODIFIED", job("a", 6))  # of before
    assert held(known) == {}
    assert known.event("DELETED", job("a", 7)) == ("DELETED", job("a", 7))
    assert known.event("DELETED", job("a", 7)) is None


def test_a_list_tells_what_changed_while_nobody_listened() -> None:
    known = Known()
    known.listed([job("a", 1), job("b", 2), job("c", 3)], 5)
    assert known.listed([job("b", 2), job("c", 7), job("d", 8)], 9) == [
        ("DELETED", job("a", 1)),
        ("MODIFIED", job("c", 7)),
        ("ADDED", job("d", 8)),
    ]


def test_a_restored_etcd_is_believed() -> None:
    known = Known()
    known.listed([job("a", 900)], 1000)
    known.listed([job("a", 3)], 10)
    assert (known.version, held(known)) == (10, {"a": 3})
    known.event("MODIFIED", job("a", 11))
    known.answered(job("b", 12))
    assert held(known) == {"a": 11, "b": 12}


def test_who_owns_which_field_is_left_out() -> None:
    raw: Raw = {**job("a", 3, managedFields=[{"manager": "kubectl"}]), "spec": {}}
    assert lean(raw) == {**job("a", 3), "spec": {}}


@dataclass(slots=True)
class Server:
    """Objects, and all that happened to them."""

    version: int = 10
    objects: dict[str, dict[str, Any]] = field(default_factory=dict)
    log: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def put(self, uid: str) -> dict[str, Any]:
        self.version += 1
        kind = "MODIFIED" if uid in self.objects else "ADDED"
        self.objects[uid] = job(uid, self.version)
        self.log.append((kind, self.objects[uid]))
        return self.objects[uid]

    def delete(self, uid: str) -> None:
        self.version += 1
        if self.objects.pop(uid, None):
            self.log.append(("DELETED", job(uid, self.version)))


STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.sampled_from(["ours", "theirs", "delete ours", "delete theirs"]), st.sampled_from("abc")
        ),
        st.sampled_from([("event", ""), ("relist", ""), ("bookmark", "")]),
    ),
    max_size=40,
)


@given(STEPS)
def test_own_writes_are_read_and_ends_are_those_of_the_server(steps: list[tuple[str, str]]) -> None:
    server, known, made = Server(), Known(), set[str]()
    subscribed: dict[str, int] = {}
    told = 0

    def take(changes: list[tuple[str, Raw]]) -> None:
        for kind, raw in changes:
            if kind == "DELETED":
                del subscribed[uid_in(raw)]
            else:
                assert (kind == "MODIFIED") == (uid_in(raw) in subscribed)
                subscribed[uid_in(raw)] = version_in(raw)

    def event() -> None:
        nonlocal told
        if told < len(server.log):
            change = known.event(*server.log[told])
            take([change] if change else [])
            told += 1

    take(list(known.listed([], server.version)))
    for what, letter in steps:
        # An object's uid is never used again.
        uid = next((u for u in server.objects if u.startswith(letter)), f"{letter}{server.version}")
        match what:
            case "ours":
                known.answered(server.put(uid))
                made.add(uid)
            case "theirs":
                server.put(uid)
            case "delete ours":
                server.delete(uid)
                known.deleted(uid)
            case "delete theirs":
                server.delete(uid)
            case "event":
                event()
            case "relist":
                take(list(known.listed(list(server.objects.values()), server.version)))
                told = len(server.log)
            case "bookmark" if told == len(server.log):
                known.event("BOOKMARK", job("", server.version))
        for uid_made in made & server.objects.keys():
            found = known.get(uid_made)
            assert found
            assert {uid_in(raw) for raw in known} >= {uid_made}
    while told < len(server.log):
        event()
    assert held(known) == {uid: version_in(raw) for uid, raw in server.objects.items()} == subscribed
