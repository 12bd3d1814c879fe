"""The subcommand evaluate, as a process, against a server that speaks OpenAI's API."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kubetune_trainer.contract import evaluation as names
from kubetune_trainer.contract.evaluation import EvaluateSummary
from kubetune_trainer.contract.messages import ExitCode, Reason, TerminationMessage
from kubetune_trainer.evaluate.asking import PATIENCE_VARIABLE
from kubetune_trainer.evaluate.sitting import TWICE
from kubetune_trainer.scoring.questions import PLAIN, Prompt, Question, write_questions
from kubetune_trainer.scoring.report import Report
from tests.support.evaluation_runs import (
    BASE_MODEL,
    DEADLINE_SECONDS,
    TUNED_MODEL,
    EvaluationRun,
    answers,
    evaluation_run,
    general,
    question,
)
from tests.support.mounted_secret import mount_secret
from tests.support.openai_server import Body, HangError, OpenAI, openai_server

pytestmark = pytest.mark.trainer

EVERYTHING = {
    "metrics": [{"name": "ExactMatch", "type": "ExactMatch"}, {"name": "TokenF1", "type": "TokenF1"}],
    "baselines": [
        {"type": "Base"},
        {"type": "FewShot", "examples": 1},
        {"type": "Retrieval", "examples": 2},
    ],
    "gate": {"metric": "ExactMatch", "min_delta": "0.1", "must_not_regress": {"max_drop": "0.1"}},
}
QUESTIONS = [question(number) for number in range(1, 31)]
GENERAL = [general(number) for number in range(1, 7)]


@pytest.fixture
def server() -> Iterator[OpenAI]:
    with openai_server(answers) as server:
        yield server


@pytest.fixture
def run(tmp_path: Path, server: OpenAI) -> EvaluationRun:
    return evaluation_run(tmp_path, server, QUESTIONS)


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not true():
        assert time.monotonic() < deadline, "It did not happen in time."
        time.sleep(0.01)


def kept(run: EvaluationRun) -> int:
    """Answers on the volume."""
    path = run.run.answers_file
    return path.read_text().count('"finish_reason"') if path.exists() else 0


def timeless(report: Report) -> dict[str, Any]:
    """A report without its times, and without what it was made in."""
    document = report.model_dump(mode="json")
    for candidate in (*document["candidates"], *document["general"]):
        del candidate["latency_seconds"], candidate["seconds_per_request"]
    del document["created"], document["price"]["seconds_saved_per_request"]
    return document


def test_an_evaluation_tells_what_was_asked_answered_and_decided(tmp_path: Path, server: OpenAI) -> None:
    questions = [*QUESTIONS, *GENERAL]
    run = evaluation_run(tmp_path, server, questions, **EVERYTHING)
    message = run.evaluate()
    assert (run.code, message.reason) == (0, Reason.COMPLETED), run.stderr
    summary = EvaluateSummary.model_validate(message.summary)
    report = run.report()
    assert message.message == summary.said == report.said
    assert [(each.name, each.score) for each in summary.candidates] == [
        ("Tuned", "1.0000"),
        ("Base", "0.3333"),
        ("FewShot", "0.5000"),
        ("Retrieval", "0.5000"),
    ]
    assert (summary.verdict, summary.artifact, summary.rows) == ("Passed", run.digest, 30)
    assert summary.report == f"job/{run.config.run_key}/evaluation"
    assert report.canary == "It is Same."
    assert [each.name for each in report.general] == ["Tuned", "Base"]
    assert report.price is not None
    assert report.price.alternative == "FewShot"
    assert report.price.tokens_saved_per_request == pytest.approx(summary.tokens_saved_per_request, abs=0.5)
    assert report.unstable is not None
    assert (report.unstable.asked, report.unstable.differ) == (TWICE, 0)
    assert report.losses[-1] == (10, 0.1, 0.2)
    assert report.dataset == {"train_rows": 40}
    assert report.warnings == ()
    rows = run.rows()
    assert [row.id for row in rows] == [each.id for each in questions]
    assert rows[0].candidates["Base"].answer == "none of them"
    assert set(rows[-1].candidates) == {"Tuned", "Base"}
    assert "Passed" in run.run.report_page.read_text()
    assert "## Evaluation" in (run.run.adapter / "README.md").read_text()
    assert sum(server.answered.values()) == 4 * 30 + 2 * 6 + TWICE
    assert sorted(server.answered.values())[-TWICE:] == [2] * TWICE


def test_a_server_that_asks_for_a_key_is_shown_one_of_the_secret_that_is_told_nowhere(
    tmp_path: Path, server: OpenAI
) -> None:
    key = "sk-of-the-jobs-own-server"
    server.keys = frozenset({key, "sk-of-others"})
    run = evaluation_run(tmp_path, server, [*QUESTIONS, *GENERAL], **EVERYTHING)
    secret = mount_secret(tmp_path / "keys", a="", b="no key", c=f"{key}\n")
    message = run.evaluate(**{names.API_KEYS: str(secret), "OPENAI_LOG": "debug"})
    assert (run.code, message.reason, server.refused) == (0, Reason.COMPLETED, 0), run.stderr
    written = [path.read_bytes() for path in (tmp_path / "volume").rglob("*") if path.is_file()]
    assert key.encode() not in b"".join([*written, run.stderr.encode(), run.log.read_bytes()])


def test_a_key_that_changes_meanwhile_is_waited_for(tmp_path: Path, server: OpenAI) -> None:
    run = evaluation_run(tmp_path, server, QUESTIONS)
    secret = mount_secret(tmp_path / "keys", key="sk-old")
    server.keys, server.seconds = frozenset({"sk-old"}), 0.02
    with run.started(**{names.API_KEYS: str(secret)}) as process:
        wait_until(lambda: kept(run) > 3)
        server.keys = frozenset({"sk-new"})
        wait_until(lambda: server.refused > 0)
        mount_secret(secret, key="sk-new")
        process.communicate(timeout=DEADLINE_SECONDS)
    assert (process.returncode, run.message().reason) == (0, Reason.COMPLETED)
    assert set(server.answered.values()) <= {1, 2}


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"key": "sk-other"}, "HTTP 401: This server does not know this key."),
        ({"key": "\n"}, "its Secret (serving.apiKey.secretName) has no key."),
        (None, "HTTP 401: This server does not know this key."),
    ],
)
def test_an_evaluator_without_the_servers_key_ends_so_that_another_run_may_follow(
    tmp_path: Path, server: OpenAI, values: dict[str, str] | None, why: str
) -> None:
    run = evaluation_run(tmp_path, server, QUESTIONS)
    server.keys = frozenset({"sk-right"})
    secret = "" if values is None else str(mount_secret(tmp_path / "keys", **values))
    message = run.evaluate(**{names.API_KEYS: secret, PATIENCE_VARIABLE: "0.3"})
    assert (run.code, message.reason) == (1, Reason.UNKNOWN)
    assert message.message.startswith(
        f"The server of Tuned has not answered for 0.3 seconds, the last time with: {why} "
    )


def test_a_report_on_what_was_trained_elsewhere_says_so_and_nothing_of_training(
    tmp_path: Path, server: OpenAI
) -> None:
    data = {"source": {"uri": "pvc://data/own.jsonl"}}
    run = evaluation_run(tmp_path, server, QUESTIONS, job={"adopt": "s3://models/adapter"}, data=data)
    run.run.metrics_file.unlink()
    message = run.evaluate()
    assert message.reason == Reason.COMPLETED, run.stderr
    report = run.report()
    assert (report.training, report.dataset, report.losses) == ({}, {}, ())
    assert (report.data, report.source) == ("pvc://data/own.jsonl", f"s3://models/adapter, {run.digest}")
    assert f"<td>s3://models/adapter, {run.digest}</td>" in run.run.report_page.read_text()


def test_an_evaluator_that_is_killed_goes_on_and_asks_nothing_twice(
    run: EvaluationRun, server: OpenAI
) -> None:
    """After 25 answers the server hangs, so that what is under way then is never answered."""

    def hangs(number: int, _: Body) -> None:
        if number > 25:
            raise HangError

    server.fails = hangs
    with run.started():
        wait_until(lambda: kept(run) == 25 and server.under_way > 0)
    with run.run.answers_file.open("a") as file:
        file.write('{"key": "torn", "text": "re')
    server.fails = lambda number, body: None
    message = run.evaluate()
    assert (run.code, message.reason) == (0, Reason.COMPLETED), run.stderr
    assert sum(server.answered.values()) == 2 * len(QUESTIONS) + TWICE
    assert kept(run) == 2 * len(QUESTIONS) + TWICE
    assert sorted(server.answered.values()) == [1] * (2 * len(QUESTIONS) - TWICE) + [2] * TWICE


def test_an_evaluation_that_is_started_again_asks_nothing_and_tells_the_same(
    run: EvaluationRun, server: OpenAI
) -> None:
    first, before = run.evaluate(), run.report()
    asked = sum(server.asked.values())
    assert run.evaluate() == first
    assert sum(server.asked.values()) == asked
    assert run.report().model_copy(update={"created": before.created}) == before


def test_two_evaluations_of_the_same_differ_in_times_alone(tmp_path: Path, server: OpenAI) -> None:
    reports = []
    for name in ("one", "two"):
        run = evaluation_run(tmp_path / name, server, [*QUESTIONS, *GENERAL], **EVERYTHING)
        run.evaluate()
        reports.append(timeless(run.report()))
    assert reports[0] == reports[1]


def test_a_server_that_starts_again_is_waited_for(run: EvaluationRun, server: OpenAI) -> None:
    server.seconds = 0.02
    with run.started() as process:
        wait_until(lambda: kept(run) >= 10)
        server.stop()
        assert process.stderr is not None
        assert any("does not answer" in line for line in process.stderr)
        server.start()
        _, stderr = process.communicate(timeout=DEADLINE_SECONDS)
    assert process.returncode == 0, stderr
    assert run.report().rows == len(QUESTIONS)


def test_a_server_that_stays_away_is_a_failure_that_may_pass(run: EvaluationRun, server: OpenAI) -> None:
    server.fails = lambda number, body: (503, "Loading.", {}) if number > 10 else None
    message = run.evaluate(**{PATIENCE_VARIABLE: "0.5"})
    assert (run.code, message.reason) == (1, Reason.UNKNOWN)
    assert message.message == (
        "The server of Tuned has not answered for 0.5 seconds, the last time with: HTTP 503: Loading. The "
        "log of its pod shows what it does. What was answered before is kept: an evaluator that is started "
        "again asks the rest."
    )


def test_errors_that_pass_are_asked_again(run: EvaluationRun, server: OpenAI) -> None:
    passing = {
        7: (500, "Out of luck.", {}),
        12: (429, "Full.", {"Retry-After": "0.1"}),
        30: (503, "Busy.", {}),
    }
    server.fails = lambda number, body: passing.get(number)
    message = run.evaluate()
    assert (run.code, message.reason) == (0, Reason.COMPLETED), run.stderr
    assert sum(server.answered.values()) == 2 * len(QUESTIONS) + TWICE


def test_another_artifact_in_the_server_is_not_evaluated(run: EvaluationRun, server: OpenAI) -> None:
    wanted, server.digest = server.digest, "sha256:other"
    message = run.evaluate()
    assert (run.code, message.reason) == (1, Reason.UNKNOWN)
    assert message.message == (
        f"The server of Tuned has the artifact sha256:other, and {wanted} is to be evaluated: another "
        "model would be scored. It is tried again, as servers are replaced."
    )
    assert not server.asked


def test_a_server_that_does_not_answer_as_training_measured_is_not_evaluated(
    run: EvaluationRun, server: OpenAI
) -> None:
    server.verdict = "Mismatch"
    message = run.evaluate()
    assert (run.code, message.message) == (
        1,
        "The server of Tuned does not answer as training measured: It is Mismatch.",
    )


def test_a_model_that_the_server_does_not_have_ends_the_evaluation_at_the_first_question(
    run: EvaluationRun, server: OpenAI
) -> None:
    gone = (404, "The model `tiny` does not exist.", {})
    server.fails = lambda number, body: gone if body["model"] == BASE_MODEL else None
    message = run.evaluate()
    assert (run.code, message.reason) == (ExitCode.INVALID_INPUT, Reason.INVALID_INPUT)
    assert message.message == (
        f"The server of Base at {server.url} does not answer as tiny (HTTP 404): The model `tiny` does not "
        "exist."
    )
    assert sum(server.asked.values()) == 2


@pytest.mark.parametrize(
    ("shots", "who", "what"),
    [(0, "Tuned", ""), (2, "FewShot", " or the examples of evaluation.baselines FewShot")],
)
def test_a_question_that_the_server_does_not_take_is_named_by_its_line(
    tmp_path: Path, server: OpenAI, shots: int, who: str, what: str
) -> None:
    run = evaluation_run(tmp_path, server, QUESTIONS, baselines=[{"type": "FewShot", "examples": 1}])
    long = (400, "This model's maximum context length is 64 tokens.", {})
    server.fails = lambda number, body: (
        long if "item 17?" in json.dumps(body) and len(body["messages"]) > shots else None
    )
    message = run.evaluate()
    assert (run.code, message.reason) == (ExitCode.INVALID_INPUT, Reason.DATA_INVALID)
    assert message.message == (
        f"validation.jsonl, line 17: The server of {who} does not take this question: This model's maximum "
        f"context length is 64 tokens. Lower evaluation.generation.maxTokens{what}, or give the server's "
        "GPUs more memory."
    )
    assert [row["line"] for row in message.summary["rows"]] == [17]


def test_an_override_is_written_into_the_report_and_nothing_is_asked(tmp_path: Path, server: OpenAI) -> None:
    run = evaluation_run(
        tmp_path, server, QUESTIONS, gate={"metric": "ExactMatch", "min_score": "1", "min_delta": "0.9"}
    )
    before = run.evaluate()
    assert EvaluateSummary.model_validate(before.summary).verdict == "Failed"
    server.stop()
    decided = {"by": "kubectl-annotate", "reason": "The rows are <wrong>.", "time": "2026-03-01T10:00:00Z"}
    after = run.evaluate(**{names.OVERRIDE: json.dumps(decided)})
    assert after == before.model_copy(update={"summary": before.summary | {"override": decided}})
    override = run.report().override
    assert override is not None
    assert override.model_dump() == decided
    for text in (run.run.report_page.read_text(), (run.run.adapter / "README.md").read_text()):
        assert "kubectl-annotate" in text
        assert "&lt;wrong&gt;" in text


def test_an_evaluator_that_is_stopped_says_so_at_once(run: EvaluationRun, server: OpenAI) -> None:
    def hangs(number: int, _: Body) -> None:
        if number > 5:
            raise HangError

    server.fails = hangs
    with run.started() as process:
        wait_until(lambda: kept(run) == 5)
        process.terminate()
        process.communicate(timeout=DEADLINE_SECONDS)
    assert process.returncode == ExitCode.PREEMPTED
    assert run.message().message == (
        "Evaluate was stopped (SIGTERM) before it was done; it can be started again."
    )


def test_text_is_asked_where_the_model_has_no_chat_template(tmp_path: Path, server: OpenAI) -> None:
    prompts = {PLAIN: Prompt(text="The colour of item 3 is", tokens=6)}
    run = evaluation_run(tmp_path, server, [question(3, prompts=prompts, expected="red")])
    run.evaluate()
    assert [each.scores["ExactMatch"].mean for each in run.report().candidates] == [1.0, 1.0]
    assert run.rows()[0].prompt == ({"role": "text", "content": "The colour of item 3 is"},)


def test_answers_that_are_cut_or_change_are_warned_of(tmp_path: Path, server: OpenAI) -> None:
    said = itertools.count()
    server.answers = lambda body: f"answer {next(said)} " + "word " * 4
    leaked = [question(number, leak="Exact" if number < 3 else None) for number in range(1, 21)]
    run = evaluation_run(tmp_path, server, leaked, generation={"max_tokens": 4})
    run.evaluate()
    cut = (
        "ended at generation.maxTokens 4, and are scored as far as they go: raise it if answers may be as "
        "long."
    )
    assert run.report().warnings == (
        "2 of 20 questions stand in the training rows as well: their scores say how well they were "
        "memorised.",
        f"20 of 20 answers of Tuned {cut}",
        f"20 of 20 answers of Base {cut}",
        "8 of 8 questions that the tuned model was asked twice were answered otherwise the second time: its "
        "answers depend on what the server computes beside, and so do scores.",
    )


JUDGE = "judge-1"


def grades(body: Body, silent: str = "nothing") -> str:
    """As a judge 5 where an answer is as expected, else 1, and no grade where the question has ``silent``."""
    if body["model"] != JUDGE:
        return answers(body)
    asked = body["messages"][1]["content"]
    parts = ("EXPECTED ANSWER", "ANSWER TO GRADE")
    expected, said = (asked.split(f"BEGIN {part} ")[1].splitlines()[1] for part in parts)
    score = 5 if said == expected else 1
    return "Who knows." if silent in asked else json.dumps({"why": "So.", "score": score})


def judged(
    run_root: Path, server: OpenAI, questions: list[Question] = QUESTIONS, **fields: Any
) -> EvaluationRun:
    """A run with a judge at the same server, as its second metric."""
    judge = {"url": server.url, "model": JUDGE, "rubric": "The colour is right.", "has_key": True}
    metrics = [
        {"name": "ExactMatch", "type": "ExactMatch"},
        {"name": "Judge", "type": "Judge", "judge": judge},
    ]
    run = evaluation_run(run_root, server, questions, metrics=metrics, **fields)
    run.environment[names.judge_variable(1)] = "sk-secret-of-the-judge"
    return run


def test_a_judge_grades_each_answer_once(tmp_path: Path, server: OpenAI) -> None:
    server.answers = grades
    run = judged(tmp_path, server)
    run.evaluate()
    assert run.code == 0, run.stderr
    scores = {each.name: each.scores["Judge"].mean for each in run.report().candidates}
    assert scores == {"Tuned": 1.0, "Base": pytest.approx(1 / 3)}
    asked = [body for body in map(json.loads, server.answered.elements()) if body["model"] == JUDGE]
    assert len(asked) == len(QUESTIONS) + 20  # the base is right at ten items, as the tuned model is
    run.evaluate()
    assert sum(server.answered.values()) == 2 * len(QUESTIONS) + TWICE + len(asked)


def test_questions_without_a_grade_are_left_out_and_told(tmp_path: Path, server: OpenAI) -> None:
    server.answers = lambda body: grades(body, silent="item 5?")
    run = judged(tmp_path, server)
    run.evaluate()
    assert run.report().warnings == (
        "1 of 30 questions are left out of Judge: its judge gave no grade for an answer to them.",
    )
    assert run.rows()[4].candidates["Tuned"].scores == {"ExactMatch": 1.0}


def test_an_answer_that_the_judge_does_not_take_has_no_grade(tmp_path: Path, server: OpenAI) -> None:
    long = (400, "The prompt is longer than the context of 4096 tokens.", {})
    server.answers = grades
    server.fails = lambda number, body: (
        long if body["model"] == JUDGE and "item 5?" in json.dumps(body) else None
    )
    run = judged(tmp_path, server)
    message = run.evaluate()
    assert message.reason == Reason.COMPLETED, run.stderr
    assert run.report().warnings == (
        "1 of 30 questions are left out of Judge: its judge gave no grade for an answer to them.",
    )
    server.fails = lambda number, body: (
        long if body["model"] == JUDGE and "item 2" in json.dumps(body) else None
    )
    run = judged(tmp_path / "many", server)
    message = run.evaluate()
    assert (run.code, message.reason) == (ExitCode.INVALID_INPUT, Reason.INVALID_INPUT)
    assert message.message == (
        "The judge of Judge gave 11 of 30 questions no grade: The judge of evaluation.metrics[Judge] at "
        f"{server.url} refuses what it is asked (status 400): The prompt is longer than the context of 4096 "
        "tokens. Take another model as judge, or say in its rubric more clearly what a good answer is."
    )


def test_rows_of_ones_own_that_must_not_be_forgotten_are_graded_by_the_gates_judge(
    tmp_path: Path, server: OpenAI
) -> None:
    server.answers = lambda body: grades(body, silent="item 9?")
    data = {"source": {"uri": "pvc://data/general.jsonl"}}
    run = judged(
        tmp_path,
        server,
        [*QUESTIONS, *(general(number) for number in range(1, 13))],
        gate={"metric": "Judge", "min_score": "0.9", "must_not_regress": {"max_drop": "0.1", "data": data}},
    )
    message = run.evaluate()
    assert message.reason == Reason.COMPLETED, run.stderr
    report = run.report()
    assert (report.verdict, report.general_metric, report.general_rows) == ("Passed", "Judge", 12)
    assert [each.scores["Judge"].mean for each in report.general] == [1.0, pytest.approx(3 / 11)]
    assert report.warnings[-1] == (
        "1 of 12 questions of gate.mustNotRegress are left out of Judge: its judge gave no grade for an "
        "answer to them."
    )


def test_a_judge_that_gives_few_grades_ends_the_evaluation(tmp_path: Path, server: OpenAI) -> None:
    server.answers = lambda body: grades(body, silent="item 1")  # and 10 to 19
    run = judged(tmp_path, server)
    message = run.evaluate()
    assert (run.code, message.reason) == (ExitCode.INVALID_INPUT, Reason.INVALID_INPUT)
    assert message.message.startswith("The judge of Judge gave 11 of 30 questions no grade: ")


def test_a_judges_wrong_key_ends_the_evaluation_at_the_first_question(tmp_path: Path, server: OpenAI) -> None:
    wrong = (401, "Incorrect API key provided: sk-secret-of-the-judge.", {})
    server.fails = lambda number, body: wrong if body["model"] == JUDGE else None
    run = judged(tmp_path, server)
    message = run.evaluate()
    assert run.code == ExitCode.INVALID_INPUT
    assert "does not accept the key of its Secret" in message.message
    assert "sk-secret" not in run.stderr + message.message
    assert sum(server.asked.values()) == 2


def test_a_judge_that_is_away_ends_a_run_of_the_evaluator_and_no_answer_is_lost(
    tmp_path: Path, server: OpenAI
) -> None:
    away = (503, "Overloaded.", {"Retry-After": "0.01"})
    server.answers = grades
    server.fails = lambda number, body: away if body["model"] == JUDGE and number > 20 else None
    run = judged(tmp_path, server)
    message = run.evaluate()
    assert (run.code, message.reason) == (1, Reason.UNKNOWN)
    assert message.message == (
        f"The judge of evaluation.metrics[Judge] at {server.url} cannot be asked now: it answers with status "
        "503."
    )
    server.fails = lambda number, body: None
    message = run.evaluate()
    assert message.reason == Reason.COMPLETED, run.stderr
    assert set(server.answered.values()) <= {1, 2}
    assert sum(server.answered.values()) == 2 * len(QUESTIONS) + TWICE + len(QUESTIONS) + 20


def test_a_pattern_that_does_not_end_on_an_answer_is_told_and_answers_stay(
    tmp_path: Path, server: OpenAI
) -> None:
    server.answers = lambda body: "a" * 60 + "!"
    metric = {"name": "Regex", "type": "Regex", "pattern": "^(?:a|aa)+$"}
    run = evaluation_run(tmp_path, server, QUESTIONS, metrics=[metric])
    message = run.evaluate()
    assert (run.code, message.reason) == (ExitCode.INVALID_INPUT, Reason.INVALID_INPUT)
    assert message.message == (
        "evaluation.metrics[Regex].pattern takes more than 1 s to search one answer: write it without "
        "repetitions inside of repetitions."
    )
    assert kept(run) == 1, "one question tells"


def test_tools_that_a_server_does_not_take_are_told_with_what_it_lacks(
    run: EvaluationRun, server: OpenAI
) -> None:
    said = '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'
    server.fails = lambda number, body: (400, said, {})
    message = run.evaluate()
    assert (run.code, message.reason) == (ExitCode.INVALID_INPUT, Reason.DATA_INVALID)
    assert message.message == (
        f"validation.jsonl, line 1: The server of Tuned does not take this question: {said}. Set "
        "serving.engineArgs.tool-call-parser to the parser of the model's calls."
    )


def test_the_base_of_a_full_fine_tune_is_asked_before_the_result_and_not_again(
    tmp_path: Path, server: OpenAI
) -> None:
    run = evaluation_run(tmp_path, server, [*QUESTIONS, *GENERAL], **EVERYTHING)
    told = run.evaluate(**{names.CANDIDATE_URL: "", names.CANDIDATE_MODEL: ""})
    assert told == TerminationMessage(reason=Reason.COMPLETED, message="The base model has answered.")
    assert {json.loads(body)["model"] for body in server.asked} == {BASE_MODEL}
    assert not run.run.report_file.exists()
    server.asked.clear()
    message = run.evaluate(**{names.BASE_URL: ""})
    assert message.reason == Reason.COMPLETED, run.stderr
    assert {json.loads(body)["model"] for body in server.asked} == {TUNED_MODEL}
    assert [each.name for each in run.report().candidates] == ["Tuned", "Base", "FewShot", "Retrieval"]
    assert [each.name for each in run.report().general] == ["Tuned", "Base"]


def test_answers_that_are_missing_when_their_server_is_gone_are_told(run: EvaluationRun) -> None:
    message = run.evaluate(**{names.BASE_URL: ""})
    assert (run.code, message.reason) == (ExitCode.INVALID_INPUT, Reason.VOLUME_UNUSABLE)
    assert message.message == (
        "Answers of Base are missing in answers.jsonl, and its server, which an earlier run has asked, is "
        "gone: make the job again."
    )


def test_an_override_of_what_was_never_evaluated_is_refused(run: EvaluationRun) -> None:
    decided = json.dumps({"by": "kubectl-annotate", "reason": "Why not."})
    message = run.evaluate(**{names.OVERRIDE: decided, names.CANDIDATE_URL: ""})
    assert (run.code, message.reason) == (ExitCode.INVALID_INPUT, Reason.VOLUME_UNUSABLE)
    assert message.message.endswith(
        "that the override is about: make the job again, so that it is evaluated."
    )


@pytest.mark.parametrize("broken", ["missing", "not questions", "without examples"])
def test_questions_that_prepare_did_not_write_for_this_evaluation_are_told(
    tmp_path: Path, server: OpenAI, broken: str
) -> None:
    run = evaluation_run(tmp_path, server, [*QUESTIONS, *GENERAL], **EVERYTHING)
    path = run.run.questions_file
    if broken == "missing":
        path.unlink()
    elif broken == "not questions":
        path.write_text("{}\n")
    else:
        write_questions(GENERAL, path)
    message = run.evaluate()
    assert (run.code, message.reason) == (ExitCode.INVALID_INPUT, Reason.VOLUME_UNUSABLE)
    what = "is missing" if broken == "missing" else "is not what prepare writes"
    assert message.message == f"{path} {what}: delete it, and make the job again."


def test_the_jobs_own_servers_are_not_asked_through_the_platforms_proxy(
    tmp_path: Path, server: OpenAI
) -> None:
    run = evaluation_run(tmp_path, server, QUESTIONS[:3])
    nowhere = "http://127.0.0.1:9"
    message = run.evaluate(HTTP_PROXY=nowhere, http_proxy=nowhere, NO_PROXY="", no_proxy="")
    assert message.reason == Reason.COMPLETED, run.stderr
