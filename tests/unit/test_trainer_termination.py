"""The termination message: small enough, valid JSON, without credentials; and the entrypoint's exit codes."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from pathlib import Path

import pytest

from kubetune_trainer import __main__ as entry
from kubetune_trainer.contract import errors, termination
from kubetune_trainer.contract.config import TrainerConfig
from kubetune_trainer.contract.messages import (
    TERMINATION_LIMIT,
    DatasetSummary,
    ExitCode,
    ModelSummary,
    PlanSummary,
    PrepareSummary,
    Reason,
    TerminationMessage,
    TokensPerRow,
)
from kubetune_trainer.data.bad_rows import BadRows
from tests.support.trainer_configs import trainer_config


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "termination-log"
    monkeypatch.setenv(termination.LOG_VARIABLE, str(path))
    return path


@pytest.fixture
def config_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "config.json"
    path.write_text(trainer_config(model="pvc://m/x", train="pvc://d/train.jsonl").model_dump_json())
    monkeypatch.setenv(entry.CONFIG_VARIABLE, str(path))
    return path


def invalid(message: str, found: list[errors.BadRow]) -> errors.DataInvalid:
    return errors.DataInvalid(
        message, rows=found, classes={"message_missing_key": len(found)}, errors=len(found)
    )


def rows(count: int, message: str = "Message 2 has no role.") -> list[errors.BadRow]:
    return [
        errors.BadRow(line=line, kind="message_missing_key", message=message) for line in range(1, count + 1)
    ]


def test_bad_rows_and_their_counts_are_in_the_message() -> None:
    text = termination.encode(termination.failed(invalid("Bad.", rows(20))))
    assert json.loads(text)["summary"] == {
        "errors": 20,
        "classes": {"message_missing_key": 20},
        "rows": [row.as_json() for row in rows(20)],
    }


def test_thousands_of_bad_rows_are_counted_and_written_but_not_held(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bad = BadRows(tmp_path / "errors.jsonl")
    for row in rows(5000):
        bad.add(row)
        bad.add(
            errors.BadRow(line=row.line, kind="missing_content", message="The content of message 2 is empty.")
        )
    bad.close()
    assert len(caplog.messages) == 1001
    assert caplog.messages[-1] == "9,000 more are in prepared/errors.jsonl"
    assert len((tmp_path / "errors.jsonl").read_text().splitlines()) == 10000
    error = bad.error(6000)
    assert error.message.startswith("5,000 of 6,000 rows cannot be used. Line 1: Message 2 has no role. ")
    summary = error.summary()
    assert (summary["errors"], len(summary["rows"])) == (5000, 20)
    assert summary["classes"] == {"message_missing_key": 5000, "missing_content": 5000}


@pytest.mark.parametrize("length", [10, 300, 3000, 30000])
def test_message_never_exceeds_the_limit_and_stays_json(length: int) -> None:
    error = invalid("é" * length, rows(30, message="ü" * 200))
    text = termination.encode(termination.failed(error))
    assert len(text.encode()) <= TERMINATION_LIMIT
    message = TerminationMessage.model_validate_json(text)
    assert message.reason is Reason.DATA_INVALID
    assert message.summary["errors"] == 30


def test_long_warnings_give_way_and_the_summary_stays_readable() -> None:
    summary = PrepareSummary(
        model=ModelSummary(revision="a" * 40, path="/output/models/x", architecture="Llama", parameters=1),
        dataset=DatasetSummary(
            fingerprint="sha256:1",
            train_rows=10,
            validation_rows=0,
            train_tokens=100,
            tokens_per_row=TokensPerRow(mean=10, p50=10, p95=10, max=10),
            warnings=tuple(f"warning {index} " + "x" * 500 for index in range(20)),
        ),
        plan=PlanSummary(total_steps=1, trainable_parameters=1, memory_per_gpu_bytes=1, estimated_seconds=1),
    )
    text = termination.encode(termination.completed("10 rows.", summary))
    assert len(text.encode()) <= TERMINATION_LIMIT
    read = PrepareSummary.model_validate(json.loads(text)["summary"])
    assert read.model == summary.model
    assert 1 <= len(read.dataset.warnings) < 20


def test_credentials_are_redacted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODEL_HF_TOKEN", "hf_abcdefgh")
    monkeypatch.setenv("TRAIN_AWS_SECRET_ACCESS_KEY", "sec/ret+key")
    text = termination.encode(
        termination.failed(errors.Transient("GET ?token=hf_abcdefgh&k=sec/ret+key failed."))
    )
    assert json.loads(text)["message"] == (
        "GET ?token=<MODEL_HF_TOKEN>&k=<TRAIN_AWS_SECRET_ACCESS_KEY> failed."
    )


def test_passwords_of_proxies_are_redacted(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://user:p@ss@proxy.example.com:3128/")
    monkeypatch.setenv("http_proxy", "http://proxy.example.com:3128")
    said = termination.redact("No way through http://user:p@ss@proxy.example.com:3128.")
    assert said == "No way through http://<HTTPS_PROXY>@proxy.example.com:3128."


def test_stderr_is_the_fallback_when_there_is_no_termination_log(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(termination.LOG_VARIABLE, "/no/such/directory/log")
    termination.write(termination.failed(errors.ModelUnavailable("No model.")))
    assert json.loads(capsys.readouterr().err) == {"reason": "ModelUnavailable", "message": "No model."}


@pytest.mark.parametrize(
    ("error", "code", "reason"),
    [
        (errors.InvalidInput("x"), ExitCode.INVALID_INPUT, Reason.INVALID_INPUT),
        (errors.DataInvalid("x"), ExitCode.INVALID_INPUT, Reason.DATA_INVALID),
        (errors.ModelUnavailable("x"), ExitCode.INVALID_INPUT, Reason.MODEL_UNAVAILABLE),
        (errors.AdapterInvalid("x"), ExitCode.INVALID_INPUT, Reason.ADAPTER_INVALID),
        (errors.DoesNotFit("x"), ExitCode.INVALID_INPUT, Reason.DOES_NOT_FIT),
        (errors.VolumeUnusable("x"), ExitCode.INVALID_INPUT, Reason.VOLUME_UNUSABLE),
        (errors.GpuUnusable("x"), ExitCode.INVALID_INPUT, Reason.GPU_UNUSABLE),
        (errors.OutOfMemory("x"), ExitCode.OUT_OF_MEMORY, Reason.OUT_OF_MEMORY),
        (errors.Preempted("x"), ExitCode.PREEMPTED, Reason.PREEMPTED),
        (errors.NumericalFailure("x"), ExitCode.NUMERICAL_FAILURE, Reason.NUMERICAL_FAILURE),
        (errors.PeerLost("x"), ExitCode.PEER_LOST, Reason.PEER_LOST),
        (errors.DirectoryInUse("x"), ExitCode.DIRECTORY_IN_USE, Reason.DIRECTORY_IN_USE),
        (errors.Transient("x"), 1, Reason.UNKNOWN),
    ],
)
@pytest.mark.usefixtures("config_file")
def test_every_error_has_its_exit_code_and_reason(
    log: Path, error: errors.TrainerError, code: int, reason: Reason
) -> None:
    def subcommand(_: TrainerConfig) -> int:
        raise error

    assert entry.run(subcommand) == code
    assert json.loads(log.read_text()) == {"reason": reason, "message": "x"}


@pytest.mark.usefixtures("config_file")
def test_unknown_exception_is_code_1_with_the_last_lines_of_its_traceback(log: Path) -> None:
    def subcommand(_: TrainerConfig) -> int:
        raise ZeroDivisionError("by nothing")

    assert entry.run(subcommand) == 1
    message = json.loads(log.read_text())
    assert message["reason"] == "Unknown"
    assert "test_trainer_termination.py" in message["message"]
    assert message["message"].endswith("ZeroDivisionError: by nothing")


def test_wrong_configuration_names_the_field(log: Path, config_file: Path) -> None:
    data = json.loads(config_file.read_text())
    data["training"]["epochs"] = "many"
    config_file.write_text(json.dumps(data))
    assert entry.main(["prepare"]) == ExitCode.INVALID_INPUT
    assert "training.epochs: Input should be a valid integer" in json.loads(log.read_text())["message"]


def test_missing_configuration_is_invalid_input(log: Path, config_file: Path) -> None:
    config_file.unlink()
    assert entry.main(["prepare"]) == ExitCode.INVALID_INPUT
    assert json.loads(log.read_text())["message"].endswith("cannot be read: No such file or directory.")


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        ([], ""),
        (["a"], "a"),
        (["a", "b"], "a and b"),
        (["a", "b", "c"], "a, b and c"),
        (list("abcdefg"), "a, b, c, d, e and 2 more"),
    ],
)
def test_names_are_joined_for_a_sentence(names: list[str], sentence: str) -> None:
    assert errors.name_list(names) == sentence


@pytest.mark.slow
def test_what_fails_early_needs_no_torch() -> None:
    modules = (
        "__main__ prepare.command prepare.adoption sizing.estimate data.rows data.formats data.chat "
        "sources.locate base.fetch evaluate.command evaluate.examination evaluate.canary"
    )
    code = (
        "import importlib, sys\n"
        f"for name in '{modules}'.split(): importlib.import_module('kubetune_trainer.' + name)\n"
        "sys.exit(str({'torch', 'transformers', 'pyarrow'} & set(sys.modules) or ''))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.stderr.strip() == ""


STOPPED_WHILE_LOADING = """
import os, signal, time
from kubetune_trainer import __main__ as entry
from kubetune_trainer.contract.errors import ModelUnavailable

def prepare(config):
    entry.end_on_sigterm("prepare", lambda: None)
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)
    except Exception:  # as around the loading of tokenizers and configurations, here and in libraries
        raise ModelUnavailable("The tokenizer cannot be loaded")

raise SystemExit(entry.run(prepare))
"""


def test_stop_while_a_library_loads_a_tokenizer_is_no_wrong_model(log: Path, config_file: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", STOPPED_WHILE_LOADING], check=False, timeout=60)
    assert ended.returncode == ExitCode.PREEMPTED
    assert json.loads(log.read_text())["reason"] == Reason.PREEMPTED


VOLUMES: dict[str, tuple[OSError, str | None]] = {
    "a full output volume, where a write names no file": (
        OSError(errno.ENOSPC, "No space left on device"),
        "The output volume is full: enlarge the job's output claim, remove from it what is no longer needed, "
        "or delete it with all that it holds and ask for a larger spec.storage.size.",
    ),
    "a used up quota": (
        OSError(errno.EDQUOT, "Disk quota exceeded", "/output/models/abc/model.safetensors"),
        "The output volume has reached its quota: enlarge the job's output claim, remove from it what is no "
        "longer needed, or delete it with all that it holds and ask for a larger spec.storage.size.",
    ),
    "an output volume that is read-only": (
        OSError(errno.EROFS, "Read-only file system", "/output/job"),
        "The output volume is mounted read-only: use a claim that may be written.",
    ),
    "a full disk of the node": (OSError(errno.ENOSPC, "No space left on device", "/tmp/x"), None),
    "a server that forbids": (PermissionError(errno.EACCES, "Access Denied"), None),
    "a file that is missing": (FileNotFoundError(errno.ENOENT, "No such file", "/output/x"), None),
}


@pytest.mark.parametrize("case", VOLUMES)
def test_volume_that_cannot_be_used_is_no_reason_to_try_again(
    log: Path, config_file: Path, case: str
) -> None:
    cause, sentence = VOLUMES[case]

    def download(config: TrainerConfig) -> int:
        try:
            raise cause
        except OSError as error:  # as the clients of hubs and stores do with any error
            raise errors.Transient("The model cannot be read now") from error

    assert entry.run(download) == (ExitCode.INVALID_INPUT if sentence else 1)
    message = json.loads(log.read_text())
    assert message["reason"] == (Reason.VOLUME_UNUSABLE if sentence else Reason.UNKNOWN)
    assert message["message"] == (sentence or "The model cannot be read now")
