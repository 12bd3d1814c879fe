"""The general questions that the project ships."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from dev.paths import REPOSITORY
from kubetune_trainer.scoring.general import GENERAL_METRIC, general_questions
from kubetune_trainer.scoring.metrics import Said, metric_of
from kubetune_trainer.scoring.questions import PLAIN, Prompt, Question


def as_question(identity: str, line: int, ask: str, expected: str) -> Question:
    prompt = Prompt(messages=({"role": "user", "content": ask},), tokens=1)
    return Question(
        id=identity,
        set="General",
        file="general.jsonl",
        line=line,
        turn=1,
        expected=expected,
        prompts={PLAIN: prompt},
    )


def test_there_are_sixty_and_no_two_are_alike() -> None:
    questions = list(general_questions())

    assert len(questions) == 60
    assert len({question.ask for question in questions}) == 60
    assert [question.id for question in questions] == [f"general-{line}" for line in range(1, 61)]


def test_each_is_right_with_its_answer_in_a_sentence_and_wrong_with_its_own_words() -> None:
    """A model that only repeats what it is asked knows nothing."""
    metric = metric_of(GENERAL_METRIC)
    for general in general_questions():
        question = as_question(*general)

        assert metric.misfit(question) is None
        assert metric.score(question, Said(f"I think it is {general.expected.upper()}.")) == 1
        assert metric.score(question, Said(general.ask)) == 0, general


def test_no_answer_is_right_everywhere() -> None:
    """Of all that is expected anywhere, nothing answers more than three questions."""
    metric = metric_of(GENERAL_METRIC)
    questions = [as_question(*general) for general in general_questions()]
    for said in {question.expected for question in questions}:
        assert sum(metric.score(question, Said(said)) for question in questions) <= 3, said


def test_they_travel_in_the_wheel(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, source)
    for name in ("operator", "trainer_image", "guard"):
        shutil.copytree(REPOSITORY / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    build = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"

    built = subprocess.run(
        [sys.executable, "-c", build, tmp_path], cwd=source, capture_output=True, text=True, check=True
    )

    wheel = zipfile.ZipFile(tmp_path / built.stdout.splitlines()[-1])
    shipped = REPOSITORY / "trainer_image/kubetune_trainer/scoring/general.jsonl"
    assert wheel.read("kubetune_trainer/scoring/general.jsonl") == shipped.read_bytes()
