"""The parts of an evaluation: requests and their keys, what is kept, the table of candidates, the summary."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from kubetune.facts import canary as facts
from kubetune_trainer.contract import termination
from kubetune_trainer.contract.errors import Transient
from kubetune_trainer.contract.evaluation import (
    EvaluateSummary,
    EvaluationConfig,
    GenerationConfig,
    MetricConfig,
)
from kubetune_trainer.contract.layout import RunDirectory
from kubetune_trainer.contract.messages import TERMINATION_LIMIT
from kubetune_trainer.evaluate import canary, losses, results
from kubetune_trainer.evaluate.asking import Outage, Patience
from kubetune_trainer.evaluate.candidates import Candidate, baseline, tuned
from kubetune_trainer.evaluate.kept import Kept
from kubetune_trainer.evaluate.request import request_of, without_repeats
from kubetune_trainer.evaluate.results import Paper
from kubetune_trainer.evaluate.server import Answer
from kubetune_trainer.evaluate.summary import summary_of
from kubetune_trainer.scoring.report import CandidateReport, Interval, Report, Unstable, Versus
from kubetune_trainer.store.manifest import Manifest
from tests.support.evaluation_runs import question
from tests.support.http_server import serving
from tests.support.trainer_configs import trainer_config

ENVIRONMENT = {
    "KUBETUNE_CANDIDATE_URL": "http://job/v1",
    "KUBETUNE_CANDIDATE_MODEL": "job",
    "KUBETUNE_BASE_URL": "http://job/v1",
    "KUBETUNE_BASE_MODEL": "tiny",
    "KUBETUNE_ARTIFACT_DIGEST": "sha256:1",
}
CONFIG = trainer_config(model="hf://org/tiny", train="pvc://data/train.jsonl")
GENERATION = GenerationConfig(max_tokens=8, stop=("\n",))
TUNED = tuned(CONFIG, ENVIRONMENT)


def manifest(revision: str = "1") -> Manifest:
    details = {"base_model": "hf://org/tiny", "base_revision": revision}
    return Manifest(digest="sha256:1", files=(), details=details)


def candidate(name: str) -> Candidate:
    return TUNED if name == "Tuned" else baseline(name, CONFIG, manifest(), ENVIRONMENT)  # type: ignore[arg-type]


def answer(text: str = "red", **fields: Any) -> Answer:
    values = {
        "finish_reason": "stop",
        "prompt_tokens": 10,
        "completion_tokens": 1,
        "started": 0.0,
        "seconds": 1.0,
    }
    return Answer(**{"text": text, **values, **fields})


def paper(name: str, scores: list[float | None], answers: list[Answer] | None = None) -> Paper:
    given = tuple(answers or [answer() for _ in scores])
    return Paper(candidate=candidate(name), answers=given, asked=given, scores={"F1": tuple(scores)})


def test_a_request_is_the_prompt_as_it_was_written_and_how_to_decode() -> None:
    request = request_of(question(3, tools=({"type": "function"},)), candidate("FewShot"), GENERATION)
    assert request.body == {
        "model": "tiny",
        "messages": list(question(3).prompts["FewShot"].messages or ()),
        "max_tokens": 8,
        "temperature": 0.0,
        "seed": 0,
        "stop": ["\n"],
        "tools": [{"type": "function"}],
    }


def test_an_answer_is_kept_for_all_that_it_depends_on_and_nothing_else() -> None:
    asked, base = question(1), candidate("Base")
    key = request_of(asked, base, GENERATION).key
    assert request_of(question(1, id="9", line=9, expected="x"), base, GENERATION).key == key
    other = trainer_config(
        model="hf://org/tiny",
        train="pvc://data/t",
        dataset={"chat_template_kwargs": {"enable_thinking": False}},
    )
    others = [
        request_of(question(2), base, GENERATION),
        request_of(asked, candidate("FewShot"), GENERATION),
        request_of(asked, base, GenerationConfig(max_tokens=9, stop=("\n",))),
        request_of(asked, base, GENERATION, repetition=1),
        request_of(asked, TUNED, GENERATION),
        request_of(asked, tuned(CONFIG, {**ENVIRONMENT, "KUBETUNE_ARTIFACT_DIGEST": "sha256:2"}), GENERATION),
        request_of(asked, baseline("Base", CONFIG, manifest("2"), ENVIRONMENT), GENERATION),
        request_of(asked, baseline("Base", other, manifest(), ENVIRONMENT), GENERATION),
    ]
    assert len({key, *(each.key for each in others)}) == 1 + len(others)


def test_rows_that_ask_the_same_are_one_request() -> None:
    requests = [request_of(question(1, id=str(line), line=line), TUNED, GENERATION) for line in (4, 5)]
    assert [each.question.line for each in without_repeats(requests)] == [4]


def test_what_was_kept_is_there_again_and_a_torn_line_is_not(tmp_path: Path) -> None:
    path = tmp_path / "evaluation" / "answers.jsonl"
    with Kept(path, Answer) as kept:
        kept.add("a", answer("rot\n\u2028grün"))
        assert json.loads(path.read_text())["text"] == "rot\n\u2028grün"
        kept.add("b", answer())
    path.write_bytes(path.read_bytes()[:-9] + b"\xff")
    with Kept(path, Answer) as kept:
        assert ("a" in kept, "b" in kept) == (True, False)
        kept.add("c", answer())
    with Kept(path, Answer) as kept:
        assert [kept.get(key) for key in "abc"] == [answer("rot\n\u2028grün"), None, answer()]


def test_the_servers_time_is_that_during_which_anything_was_under_way() -> None:
    times = [(0.0, 2.0), (1.0, 2.0), (1.5, 0.5), (10.0, 1.0), (11.0, 1.0)]
    assert results.busy_seconds([answer(started=begin, seconds=long) for begin, long in times]) == 5.0


def test_a_question_that_one_candidate_has_no_grade_for_is_left_out_for_all() -> None:
    papers = [paper("Tuned", [1.0, 1.0, 0.0, 1.0]), paper("Base", [0.0, 1.0, 0.5, None])]
    own, base = results.table(papers, confidence=0.95)
    assert (own.scores["F1"].mean, base.scores["F1"].mean) == (pytest.approx(2 / 3), 0.5)
    versus = base.versus["F1"]
    assert (versus.wins, versus.losses, versus.ties) == (1, 1, 1)
    assert own.versus == {}
    assert results.ungraded(papers) == {"F1": 1}


def test_the_table_has_means_of_what_the_server_counted() -> None:
    answers = [
        answer(prompt_tokens=10, completion_tokens=8, started=0.0, seconds=2.0, finish_reason="length"),
        answer(prompt_tokens=20, completion_tokens=2, started=1.0, seconds=3.0),
    ]
    (own,) = results.table([paper("Tuned", [1.0, 0.0], answers)], confidence=0.95)
    numbers = (
        own.prompt_tokens,
        own.completion_tokens,
        own.latency_seconds,
        own.seconds_per_request,
        own.cut,
    )
    assert numbers == (15.0, 5.0, 2.5, 2.0, 1)


def test_the_price_is_that_of_the_best_prompt_with_examples() -> None:
    papers = [
        paper("Tuned", [1.0], [answer(prompt_tokens=10)]),
        paper("Base", [1.0], [answer(prompt_tokens=10)]),
        paper("FewShot", [0.5], [answer(prompt_tokens=50)]),
        paper("Retrieval", [0.9], [answer(prompt_tokens=90, seconds=0.5)]),
    ]
    price = results.price(results.table(papers, confidence=0.95), "F1")
    assert price is not None
    assert (price.alternative, price.tokens_saved_per_request) == ("Retrieval", 80.0)
    assert price.seconds_saved_per_request == -0.5
    assert results.price(results.table(papers[:2], confidence=0.95), "F1") is None


def test_answers_that_differ_in_the_names_of_calls_alone_are_the_same() -> None:
    def calling(identifier: str, name: str) -> Answer:
        return answer(tool_calls=({"id": identifier, "type": "function", "function": {"name": name}},))

    pairs = [(calling("1", "page"), calling("2", "page")), (calling("1", "page"), calling("1", "call"))]
    assert results.unstable(pairs) == Unstable(asked=2, differ=1)


def test_a_summary_of_many_candidates_and_metrics_fits_a_termination_message() -> None:
    metrics = [
        MetricConfig(name=f"a-metric-with-a-long-name-{number}", type="TokenF1") for number in range(8)
    ]
    interval = Interval(mean=0.123456, low=0.01, high=0.2)
    scores = {metric.name: interval for metric in metrics}
    versus = {metric.name: Versus(difference=interval, wins=100, losses=50, ties=50) for metric in metrics}
    candidates = [
        CandidateReport(
            name=name,
            model="a-model-with-a-long-name",
            scores=scores,
            versus={} if name == "Tuned" else versus,
            prompt_tokens=1234.5,
            completion_tokens=10.0,
            latency_seconds=12.3,
            seconds_per_request=1.2,
        )
        for name in ("Tuned", "Base", "FewShot", "Retrieval")
    ]
    report = Report.model_validate(
        {
            "name": "job",
            "namespace": "team",
            "created": "2026-03-01T10:00:00Z",
            "verdict": "Passed",
            "said": "Passed: " + "x" * 492,
            "artifact": "sha256:" + "1" * 64,
            "artifact_type": "LoRA",
            "base_model": "hf://org/tiny",
            "base_revision": "1" * 40,
            "data": "pvc://data/validation.jsonl",
            "rows": 200,
            "metric": metrics[0].name,
            "config": EvaluationConfig(metrics=tuple(metrics)),
            "candidates": candidates,
            "warnings": ["A long warning. " * 20] * 7,
        }
    )
    summary = summary_of(report, "job/0123456789abcdef/evaluation")
    text = termination.encode(termination.completed(report.said, summary))
    assert len(text.encode()) <= TERMINATION_LIMIT
    told = EvaluateSummary.model_validate(json.loads(text)["summary"])
    assert told.candidates == summary.candidates
    assert told.said == report.said
    assert told.candidates[1].model_dump(exclude={"scores"}) == {
        "name": "Base",
        "score": "0.1235",
        "low": "0.0100",
        "high": "0.2000",
        "wins": 100,
        "losses": 50,
        "ties": 50,
        "prompt_tokens": 1234,
        "latency_seconds": "12.3000",
        "seconds_per_request": "1.2000",
    }
    assert len(told.candidates[3].scores) == 8


def test_a_long_loss_curve_is_drawn_from_500_points(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    lines = [{"step": step, "loss": 1.0 if step % 2 else 3.0} for step in range(1, 2001)]
    lines += [{"step": step, "validation_loss": step / 1000} for step in range(3, 2001, 400)]
    run.metrics_file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    curve = losses.curve(run)
    assert len(curve) == losses.POINTS
    assert curve[:2] == ((4, 2.0, 0.003), (8, 2.0, None))
    assert curve[-1][0] == 2000
    assert [loss for *_, loss in curve if loss] == [0.003, 0.403, 0.803, 1.203, 1.603]


def test_what_was_never_trained_has_no_loss_curve(tmp_path: Path) -> None:
    assert losses.curve(RunDirectory(tmp_path)) == ()


def test_validation_losses_are_of_all_rows_where_there_are_such(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    lines = [{"step": 1, "loss": 1, "validation_loss": 5}, {"step": 2, "full_validation_loss": 4}]
    run.metrics_file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert losses.curve(run) == ((1, 1.0, None), (2, None, 4))


def test_a_server_that_loads_is_asked_again_what_it_serves() -> None:
    left = [503, 503]

    class Guard(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            told = {"verdict": "Unproven", "message": "Who knows.", "digest": "sha256:1"}
            self.send_response(left.pop() if left else 200)
            self.end_headers()
            self.wfile.write(json.dumps(told if self.path == facts.CANARY_PATH else {}).encode())

        def log_message(self, *_: Any) -> None:
            pass

    slept: list[float] = []
    with serving(Guard) as url:
        assert canary.proven("Tuned", f"{url}/v1", "sha256:1", Patience(), sleep=slept.append) == "Who knows."
    assert slept == [0.5, 1.0]


def test_a_server_that_is_away_is_asked_ever_more_rarely_and_not_for_ever() -> None:
    now = [0.0]
    outage = Outage("The server", "http://job-candidate.team-a.svc/v1", 100.0, clock=lambda: now[0])
    pauses: list[float] = []

    def wait() -> None:
        while True:
            pauses.append(outage.goes_on("Gone."))
            now[0] += pauses[-1]

    with pytest.raises(Transient) as failure:
        wait()
    assert str(failure.value) == (
        "The server has not answered for 100 seconds, the last time with: Gone. `kubectl logs -n team-a "
        "service/job-candidate` shows what it does. What was answered before is kept: an evaluator that is "
        "started again asks the rest."
    )
    assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0, *[15.0] * 6]
    outage.over()
    assert outage.goes_on("Gone.") == 0.5
