"""What requests say of who sends them, what reviews say, and answers that are kept for seconds."""

from __future__ import annotations

import asyncio
import gc
from http import HTTPStatus
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubetune.vocabulary.errors import (
    Conflict,
    Invalid,
    KubeError,
    KubeTuneError,
    MissingPermission,
    NotFound,
    Rejected,
    TransientError,
    WebhookFailed,
)
from kubetune_gateway.callers.access import denial, question
from kubetune_gateway.callers.caller import Caller
from kubetune_gateway.callers.credentials import (
    account_groups,
    account_user,
    credential,
    is_label,
    namespace_of,
    project,
)
from kubetune_gateway.callers.recent import NO_SECONDS, YES_SECONDS, No, Recent
from kubetune_gateway.callers.tokens import User, verdict
from kubetune_gateway.kube.refusals import refusal, unanswered
from kubetune_gateway.kube.shared import Shared
from kubetune_gateway.wire.errors import ApiError, unavailable

DENIED = No(HTTPStatus.UNAUTHORIZED, "invalid_api_key", "no")


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ({"authorization": "Bearer abc"}, "abc"),
        ({"authorization": "  bearer   abc "}, "abc"),
        ({"api-key": " abc "}, "abc"),
        ({"authorization": "Bearer abc", "api-key": "xyz"}, "abc"),
        ({"authorization": "Basic YTpi", "api-key": "xyz"}, "xyz"),
        ({"authorization": "Bearer ", "api-key": "xyz"}, "xyz"),
    ],
)
def test_a_token_is_in_either_header(headers: dict[str, str], found: str) -> None:
    assert credential(headers) == found


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "abc"},
        {"authorization": "Basic YTpi"},
        {"api-key": ""},
        {"api-key": "a b"},
        {"authorization": "Bearer a\nHost: b"},
        {"authorization": "Bearer t\u00f6ken"},
        {"authorization": f"Bearer {'a' * 20_000}"},
    ],
)
def test_what_can_be_no_token_is_unauthorized_and_not_repeated(headers: dict[str, str]) -> None:
    with pytest.raises(ApiError) as refused:
        credential(headers)
    assert (refused.value.status, refused.value.code) == (HTTPStatus.UNAUTHORIZED, "invalid_api_key")
    assert not any(value in refused.value.message for value in headers.values() if len(value) > 3)


@given(st.text(max_size=70))
def test_only_a_dns_label_is_a_namespace(text: str) -> None:
    letters = set("abcdefghijklmnopqrstuvwxyz0123456789")
    valid = 0 < len(text) < 64 and set(text) <= letters | {"-"} and {text[0], text[-1]} <= letters
    assert is_label(text) == valid
    stripped = text.strip()
    if valid or not stripped:
        assert project({"openai-project": text}) == (text if valid else None)
    elif not is_label(stripped):
        with pytest.raises(ApiError) as refused:
            project({"openai-project": text})
        assert (refused.value.status, refused.value.code) == (400, "invalid_project")


@pytest.mark.parametrize(
    ("user", "namespace"),
    [
        ("system:serviceaccount:team-a:bot", "team-a"),
        ("system:serviceaccount:team-a:", None),
        ("system:serviceaccount:team-a", None),
        ("system:serviceaccount:../x:bot", None),
        ("system:serviceaccounts", None),
        ("alice@example.com", None),
        ("oidc:system:serviceaccount:team-a:bot", None),
    ],
)
def test_only_service_accounts_have_a_namespace(user: str, namespace: str | None) -> None:
    assert namespace_of(user) == namespace


BOT: dict[str, Any] = {
    "username": "system:serviceaccount:team-a:bot",
    "uid": "1",
    "groups": ["system:serviceaccounts", "system:authenticated"],
    "extra": {"authentication.kubernetes.io/credential-id": ["JTI=2"]},
}
KNOWN = User(name=BOT["username"], uid="1", groups=tuple(BOT["groups"]), extra=BOT["extra"])


@pytest.mark.parametrize(
    ("status", "audiences", "found"),
    [
        ({"authenticated": True, "user": BOT}, [], KNOWN),
        ({"authenticated": True, "user": {"username": "alice"}}, [], User(name="alice")),
        ({"authenticated": True, "user": BOT, "audiences": ["a", "b"]}, ["b", "c"], KNOWN),
        ({"authenticated": True, "user": BOT, "audiences": ["a"]}, ["b"], "audience b"),
        ({"authenticated": True, "user": BOT}, ["b"], "audience b"),
        ({"authenticated": True, "user": {}}, [], "Incorrect"),
        ({"authenticated": True}, [], "Incorrect"),
        ({"authenticated": "true", "user": BOT}, [], "Incorrect"),
        ({"user": BOT}, [], "Incorrect"),
        ({}, [], "Incorrect"),
        ({"error": "illegal base64 in secret.part"}, [], "Incorrect"),
        ({"error": "[service account token has expired]"}, [], "has expired"),
    ],
)
def test_a_review_is_believed_only_where_it_says_so(
    status: dict[str, Any], audiences: list[str], found: User | str
) -> None:
    said = verdict(status, audiences)
    if isinstance(found, User):
        assert said == found
    else:
        assert isinstance(said, No)
        assert found in said.message
        assert "secret.part" not in said.message


def test_a_part_of_a_resource_is_asked_for_as_kubernetes_has_it() -> None:
    caller = Caller(user="alice", groups=("g",), namespace="team-a", uid="1", extra={"scope": ["x"]})
    asked = question(caller, "create", "finetunejobs/files")
    assert asked == {
        "user": "alice",
        "groups": ["g"],
        "uid": "1",
        "extra": {"scope": ["x"]},
        "resourceAttributes": {
            "namespace": "team-a",
            "verb": "create",
            "group": "kubetune.dev",
            "version": "v1alpha1",
            "resource": "finetunejobs",
            "subresource": "files",
        },
    }
    plain = question(Caller(user="a", namespace="b"), "get", "finetunejobs")
    assert "subresource" not in plain["resourceAttributes"]
    assert plain.keys() == {"user", "groups", "resourceAttributes"}
    evil = Caller(user="e\nv\x1b[2Jil", namespace="team-a")
    assert denial(question(evil, "get", "finetunejobs"), evil).message == (
        'User "e vil" may not get finetunejobs in the namespace team-a. Give them a role there with the verb '
        "get on finetunejobs in the API group kubetune.dev."
    )


def test_a_service_account_has_the_groups_that_kubernetes_gives_it() -> None:
    assert account_user("team-a", "bot") == "system:serviceaccount:team-a:bot"
    assert account_groups("team-a") == (
        "system:serviceaccounts",
        "system:serviceaccounts:team-a",
        "system:authenticated",
    )


class Asked:
    """Answers one question, and counts how often it was asked."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.count = 0

    async def __call__(self) -> Any:
        self.count += 1
        await asyncio.sleep(0)
        answer = self.answers[min(self.count, len(self.answers)) - 1]
        if isinstance(answer, Exception):
            raise answer
        return answer


async def test_a_yes_lasts_longer_than_a_no() -> None:
    now = [0.0]
    recent: Recent[str] = Recent(clock=lambda: now[0])
    yes, no = Asked("yes"), Asked(DENIED)
    for now[0], count in ((0.0, 1), (YES_SECONDS - 0.1, 1), (YES_SECONDS, 2)):
        assert await recent.get("a", yes) == "yes"
        assert yes.count == count
    for now[0], count in ((20.0, 1), (20.0 + NO_SECONDS - 0.1, 1), (20.0 + NO_SECONDS, 2)):
        with pytest.raises(ApiError) as refused:
            await recent.get("b", no)
        assert (refused.value.status, no.count) == (HTTPStatus.UNAUTHORIZED, count)


async def test_those_who_ask_at_the_same_time_share_an_answer() -> None:
    recent: Recent[str] = Recent()
    yes = Asked("yes")
    tasks = [asyncio.create_task(recent.get("a", yes)) for _ in range(50)]
    await asyncio.sleep(0)
    tasks[0].cancel()  # whoever asked first goes away
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(found[0], asyncio.CancelledError)
    assert found[1:] == ["yes"] * 49
    assert yes.count == 1


async def test_an_answer_is_as_old_as_its_question() -> None:
    now = [0.0]
    recent: Recent[str] = Recent(clock=lambda: now[0])

    async def slow() -> str:
        now[0] += YES_SECONDS
        return "yes"

    await recent.get("a", slow)
    yes = Asked("yes")
    await recent.get("a", yes)
    assert yes.count == 1


async def test_what_could_not_be_asked_is_asked_again() -> None:
    recent: Recent[str] = Recent()
    asked = Asked(unavailable("It"), "yes")
    failed = await asyncio.gather(*(recent.get("a", asked) for _ in range(3)), return_exceptions=True)
    assert [type(one) for one in failed] == [ApiError] * 3
    assert (await recent.get("a", asked), asked.count) == ("yes", 2)


async def test_nobody_is_left_who_wants_to_know() -> None:
    recent: Recent[str] = Recent()
    task = asyncio.create_task(recent.get("a", Asked(unavailable("It"))))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await asyncio.sleep(0.01)
    gc.collect()  # asyncio says here what was never looked at, and warnings are errors


async def test_wrong_tokens_push_out_no_right_one() -> None:
    recent: Recent[str] = Recent(most=10)
    yes, no = Asked("yes"), Asked(DENIED)
    await recent.get("right", yes)
    for number in range(1000):
        with pytest.raises(ApiError):
            await recent.get(f"wrong-{number}", no)
    assert await recent.get("right", yes) == "yes"
    assert (yes.count, len(recent)) == (1, 11)
    for number in range(1000):
        await recent.get(f"right-{number}", yes)
    assert len(recent) == 20


async def test_a_shared_answer_is_never_older_than_the_question() -> None:
    began, go, count = asyncio.Event(), asyncio.Event(), 0

    async def ask(key: str) -> int:
        nonlocal count
        count += 1
        found = count
        began.set()
        await go.wait()
        return found

    shared = Shared(ask)
    first = asyncio.create_task(shared.get("a"))
    await began.wait()
    later = [asyncio.create_task(shared.get("a")) for _ in range(10)]
    await asyncio.sleep(0)
    later[0].cancel()
    go.set()
    assert await first == 1
    assert await asyncio.gather(*later[1:]) == [2] * 9
    assert await shared.get("a") == 3


WHERE: dict[str, Any] = {"kind": "finetunejobs", "namespace": "team-a", "name": "a", "verb": "create"}


@pytest.mark.parametrize(
    ("error", "status", "code", "retry_after", "says"),
    [
        (TransientError("x"), 503, "unavailable", 5, "does not answer"),
        (TransientError("x", retry_after=0.0), 503, "unavailable", 1, "does not answer"),
        (TransientError("x", retry_after=2.3), 503, "unavailable", 3, "does not answer"),
        (TransientError("x", retry_after=600.0), 503, "unavailable", 60, "does not answer"),
        (WebhookFailed("x"), 503, "unavailable", 5, "does not answer"),
        (MissingPermission("x", status=403, **WHERE), 503, "gateway_lacks_right", 30, "create finetunejobs"),
        (Conflict("x", status=409, **WHERE), 503, "unavailable", 1, "try again"),
        (NotFound("its words", status=404, **WHERE), 404, "not_found", None, "its words"),
        (Invalid("its words", status=422, **WHERE), 400, "invalid_request", None, "its words"),
        (Invalid("its words", status=403, **WHERE), 400, "invalid_request", None, "its words"),
        (Rejected("its words", status=403, **WHERE), 403, "not_admitted", None, "its words"),
        (Rejected("its words", status=409, **WHERE), 400, "invalid_request", None, "its words"),
        (Rejected("its words", status=503, **WHERE), 400, "invalid_request", None, "its words"),
        (KubeError("its words", status=400, **WHERE), 400, "invalid_request", None, "its words"),
    ],
)
def test_what_the_api_server_says_is_told_with_a_code_that_clients_understand(
    error: KubeTuneError, status: int, code: str, retry_after: int | None, says: str
) -> None:
    found = refusal(error)
    assert (found.status, found.code, found.retry_after) == (status, code, retry_after)
    assert says in found.message
    own = unanswered(error)
    assert (own.status, "its words" in own.message) == (503, False)
    assert own.retry_after
