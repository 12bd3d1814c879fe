"""The index: what counts is an object's version, not the order in which news arrive."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from kubetune.cluster.index import Index
from kubetune.facts.parse import parse_bare, parse_job, parse_pod
from kubetune.facts.views import BareView, Key, Kind, Listing

KEY = Key(Kind.FINE_TUNE_JOB, "team", "job")


def _meta(
    name: str,
    uid: str,
    version: int,
    *,
    label: str | None = "job",
    owner: str = "",
    managed: str = "kubetune",
) -> dict[str, Any]:
    return {
        "namespace": "team",
        "name": name,
        "uid": uid,
        "resourceVersion": str(version),
        "labels": {
            "app.kubernetes.io/managed-by": managed,
            **({} if label is None else {"kubetune.dev/finetunejob": label}),
        },
        "ownerReferences": [{"controller": True, "uid": owner}] if owner else [],
    }


def _ftj(uid: str, version: int, **more: Any) -> dict[str, Any]:
    return {"metadata": _meta("job", uid, version), "spec": {}, **more}


def _job(uid: str, version: int, *, ready: int = 0) -> Any:
    return parse_job({"metadata": _meta("job-prepare", uid, version, owner="f1"), "status": {"ready": ready}})


def _pod(uid: str, version: int, *, owner: str, phase: str = "Failed") -> Any:
    return parse_pod({"metadata": _meta(f"pod-{uid}", uid, version, owner=owner), "status": {"phase": phase}})


def _bare(uid: str, version: int, *, label: str | None = "job") -> BareView:
    return parse_bare({"metadata": _meta("job-config", uid, version, label=label)}, Kind.CONFIG_MAP)


def test_an_object_without_uid_is_not_known_and_replaces_none() -> None:
    index = Index()
    assert index.put_parent(Kind.FINE_TUNE_JOB, _ftj("f1", 10)) == KEY
    for raw in ({}, {"metadata": None}, _ftj("", 11)):
        assert index.put_parent(Kind.FINE_TUNE_JOB, raw) is None
    assert [(key, raw["metadata"]["uid"]) for key, raw in index.parents()] == [(KEY, "f1")]


def test_only_a_higher_version_replaces_and_only_a_change_is_reported() -> None:
    index = Index()
    assert index.put(_job("j1", 10)) == KEY
    assert index.put(_job("j1", 9, ready=1)) is None
    assert index.put(_job("j1", 10, ready=1)) is None
    assert index.put(_job("j1", 11)) is None
    assert index.put(_job("j1", 12, ready=1)) == KEY
    assert index.children(KEY) == (_job("j1", 12, ready=1),)


def test_versions_are_compared_as_numbers() -> None:
    index = Index()
    index.put(_job("j1", 9))
    assert index.put(_job("j1", 10, ready=1)) == KEY


def test_a_finetunejob_is_kept_without_managed_fields_and_last_applied() -> None:
    index = Index()
    raw = _ftj("f1", 1)
    raw["metadata"] |= {
        "managedFields": [{}],
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}", "mine": "1"},
    }
    index.put_parent(Kind.FINE_TUNE_JOB, raw)
    known = index.parent(KEY)
    assert known is not None
    assert "managedFields" not in known["metadata"]
    assert known["metadata"]["annotations"] == {"mine": "1"}


def test_the_answer_of_an_own_write_makes_its_event_no_news() -> None:
    index = Index()
    index.put_parent(Kind.FINE_TUNE_JOB, _ftj("f1", 1))
    assert index.put_parent(Kind.FINE_TUNE_JOB, _ftj("f1", 2, status={"observedGeneration": 1})) == KEY
    assert index.put_parent(Kind.FINE_TUNE_JOB, _ftj("f1", 2, status={"observedGeneration": 1})) is None


def test_a_status_that_is_being_written_is_no_news_but_all_else_is() -> None:
    index = Index()
    index.put_parent(Kind.FINE_TUNE_JOB, _ftj("f1", 1))
    with index.writing(KEY, {"observedGeneration": 1}):
        assert index.put_parent(Kind.FINE_TUNE_JOB, _ftj("f1", 2, status={"observedGeneration": 1})) is None
        assert (
            index.put_parent(
                Kind.FINE_TUNE_JOB, _ftj("f1", 3, status={"observedGeneration": 1}, spec={"serving": {}})
            )
            == KEY
        )
        assert index.put_parent(Kind.FINE_TUNE_JOB, _ftj("f1", 4, status={})) == KEY
    assert index.put_parent(Kind.FINE_TUNE_JOB, _ftj("f1", 5, status={"observedGeneration": 1})) == KEY
    assert index.parent(KEY) == _ftj("f1", 5, status={"observedGeneration": 1})


def test_a_late_answer_does_not_bring_back_what_was_deleted() -> None:
    index = Index()
    index.put(_job("j1", 10))
    assert index.remove("j1") == KEY
    assert index.put(_job("j1", 9)) is None
    assert index.put(_job("j1", 11)) is None
    index.put_parent(Kind.FINE_TUNE_JOB, _ftj("f1", 1))
    assert index.remove_parent(KEY, "f1") == KEY
    assert index.put_parent(Kind.FINE_TUNE_JOB, _ftj("f1", 5)) is None
    assert index.all_keys() == set()


def test_what_a_watch_lost_by_an_edited_label_comes_back_with_the_label_or_a_live_read() -> None:
    for live, version in ((False, 12), (True, 11)):
        index = Index()
        index.put(_job("j1", 10))
        assert index.remove("j1", version="11") == KEY
        assert index.put(_job("j1", 10), live=True) is None
        assert index.put(_job("j1", version), live=live) == KEY
    assert index.correct(Kind.JOB, Listing(views=(), resource_version=20)) == {KEY}
    assert index.put(_job("j1", 21)) is None
    assert index.put(_job("j1", 21), live=True) == KEY


def test_a_list_does_not_tell_of_a_child_whose_label_was_edited() -> None:
    index = Index()
    edited = parse_job({"metadata": _meta("job-prepare", "j1", 10, owner="f1", managed="Helm")})
    index.put(edited)
    assert index.correct(Kind.JOB, Listing(views=(), resource_version=11)) == set()
    assert index.children(KEY) == (edited,)


def test_the_deletion_of_an_earlier_object_leaves_the_later_one_of_the_same_name() -> None:
    index = Index()
    index.put_parent(Kind.FINE_TUNE_JOB, _ftj("f1", 1))
    index.put_parent(Kind.FINE_TUNE_JOB, _ftj("f2", 5))
    assert index.remove_parent(KEY, "f1") is None
    assert (index.parent(KEY) or {})["metadata"]["uid"] == "f2"
    index.put(_job("j1", 10))
    index.put(_job("j2", 20))
    assert [view.uid for view in index.children(KEY)] == ["j2"]
    assert index.remove("j1") is None
    assert index.put(_job("j1", 15)) is None


def test_how_a_pod_ended_outlives_the_pod_but_not_its_job() -> None:
    index = Index()
    index.put(_job("j1", 10))
    index.put(_pod("p1", 11, owner="j1"))
    assert index.remove("p1") is None
    assert [view.uid for view in index.children(KEY)] == ["j1", "p1"]
    assert index.remove("j1") == KEY
    assert index.children(KEY) == ()
    assert index.put(_pod("p1", 12, owner="j1")) is None


def test_a_pod_that_ends_after_its_job_is_gone_is_forgotten_with_its_deletion() -> None:
    index = Index()
    index.put(_pod("p1", 11, owner="gone"))
    assert index.remove("p1") == KEY
    assert index.children(KEY) == ()


def test_a_label_that_was_removed_takes_the_child_away_unless_it_is_said_whose_it_is() -> None:
    index = Index()
    index.put(_bare("c1", 1))
    assert index.put(_bare("c1", 2, label=None)) == KEY
    assert index.children(KEY) == ()
    assert index.put(_bare("c1", 3, label=None), key=KEY) == KEY


def test_a_list_drops_what_it_lacks_unless_that_is_newer_than_the_list() -> None:
    index = Index()
    index.put_parent(Kind.FINE_TUNE_JOB, _ftj("f1", 10))
    assert index.correct(Kind.FINE_TUNE_JOB, Listing(views=(), resource_version=9)) == set()
    assert index.parent(KEY) is not None
    assert index.correct(Kind.FINE_TUNE_JOB, Listing(views=(), resource_version=10)) == {KEY}
    assert index.parent(KEY) is None
    index.put(_job("j1", 10))
    assert index.correct(Kind.JOB, Listing(views=(), resource_version=11)) == {KEY}


def test_a_list_adds_kinds_that_are_not_watched_and_leaves_foreign_objects() -> None:
    index = Index()
    assert index.correct(Kind.CONFIG_MAP, Listing(views=(_bare("c1", 3),), resource_version=5)) == {KEY}
    assert index.correct(Kind.CONFIG_MAP, Listing(views=(_bare("c1", 3),), resource_version=6)) == set()
    index.put(_bare("c2", 7, label=None), key=KEY)
    assert index.correct(Kind.CONFIG_MAP, Listing(views=(), resource_version=9)) == set()
    assert [view.uid for view in index.children(KEY)] == ["c2"]


_news = st.permutations(
    [
        ("put", _job("j1", 10)),
        ("put", _job("j1", 12, ready=1)),
        ("put", _job("j1", 14, ready=2)),
        ("remove", "j1"),
        ("put", _job("j2", 20)),
        ("put", _job("j2", 22, ready=1)),
    ]
)


@given(_news)
def test_every_order_of_news_ends_in_the_same_index(news: list[tuple[str, Any]]) -> None:
    index = Index()
    for verb, what in news:
        if verb == "put":
            index.put(what)
        else:
            index.remove(what)
    assert index.children(KEY) == (_job("j2", 22, ready=1),)
