"""All calls of a fine-tune with OpenAI's client of any version, one after the other.

python lifecycle.py sync|async strict|loose
"""

import asyncio
import inspect
import io
import json
import sys
import time
import uuid

import openai
from openai.types import FileObject

ROWS = b'{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n' * 12
MODEL = "gpt-4o-mini"
ENDS = ("succeeded", "failed", "cancelled")
HOW = sys.argv[1:]
client = (openai.AsyncOpenAI if "async" in HOW else openai.OpenAI)(
    max_retries=0, _strict_response_validation="strict" in HOW
)


async def got(answer):
    """What either client answers."""
    return await answer if inspect.isawaitable(answer) else answer


async def items(found):
    """All items of a list, of all pages, or of a stream."""
    return [each async for each in found] if hasattr(found, "__aiter__") else [*found]


async def ended(id_):
    """A job once it has ended."""
    end = time.monotonic() + 60
    while (job := await got(client.fine_tuning.jobs.retrieve(id_))).status not in ENDS:
        assert time.monotonic() < end, job.status
        await asyncio.sleep(0.05)
    return job


async def files():
    """Upload, look, read and delete; return what stays."""
    gone = await got(client.files.create(file=io.BytesIO(ROWS), purpose="fine-tune"))
    assert (await got(client.files.delete(gone.id))).deleted
    file = await got(
        client.files.create(
            file=("rows.jsonl", ROWS),
            purpose="fine-tune",
            expires_after={"anchor": "created_at", "seconds": 86400},
        )
    )
    assert (file.filename, file.bytes) == ("rows.jsonl", len(ROWS))
    assert file.expires_at == file.created_at + 86400
    assert (await got(client.files.wait_for_processing(file.id))).status == "processed"
    assert await got(client.files.retrieve(file.id)) == file
    assert (await got(client.files.content(file.id))).read() == ROWS
    found = [each.id for each in await items(client.files.list(purpose="fine-tune", limit=1))]
    assert file.id in found
    assert gone.id not in found
    return file.id


async def upload_in_parts():
    """Upload a file in two parts."""
    asked = {"mime_type": "application/jsonl", "purpose": "fine-tune"}
    upload = await got(client.uploads.create(bytes=2 * len(ROWS), filename="parts.jsonl", **asked))
    parts = [(await got(client.uploads.parts.create(upload.id, data=ROWS))).id for _ in range(2)]
    done = await got(client.uploads.complete(upload.id, part_ids=parts))
    assert (done.status, done.file.bytes) == ("completed", 2 * len(ROWS))
    assert (await got(client.files.content(done.file.id))).read() == ROWS * 2
    dropped = await got(client.uploads.create(bytes=9, filename="x", **asked))
    assert (await got(client.uploads.cancel(dropped.id))).status == "cancelled"
    return done.file.id


async def jobs(file, validation):
    """Make jobs that end well, badly, and by a person's will; return the first."""
    create, metadata = client.fine_tuning.jobs.create, {"program": str(uuid.uuid4())}
    numbers = {"n_epochs": 2, "batch_size": "auto", "learning_rate_multiplier": 0.5}
    good = await got(
        create(
            model=MODEL,
            training_file=file,
            validation_file=validation,
            suffix="all-calls",
            seed=105,
            metadata=metadata,
            integrations=[],
            method={"type": "supervised", "supervised": {"hyperparameters": numbers}},
            extra_body={"trainingType": "globalstandard"},
        )
    )
    assert good.hyperparameters.n_epochs == 2
    assert good.error is None
    older = {"model": MODEL, "training_file": file, "hyperparameters": {"n_epochs": 1}}
    bad = await got(create(suffix="failing", **older))
    endless = await got(create(suffix="waiting", **older))
    found = [job.id for job in await items(client.fine_tuning.jobs.list(limit=1, metadata=metadata))]
    assert found == [good.id]

    failed = await ended(bad.id)
    assert (failed.status, failed.error.code) == ("failed", "invalid_training_file")
    assert failed.error.param == "training_file"
    assert "row 3" in failed.error.message
    assert (await got(client.fine_tuning.jobs.cancel(endless.id))).id == endless.id
    assert (await ended(endless.id)).status == "cancelled"

    job = await ended(good.id)
    assert (job.status, job.error, job.seed) == ("succeeded", None, 105)
    assert (job.training_file, job.validation_file) == (file, validation)
    assert job.fine_tuned_model.startswith(f"ft:{MODEL}:")
    assert ":all-calls:" in job.fine_tuned_model
    assert job.trained_tokens > 0
    return job


async def history(job):
    """Events and checkpoints, the newest first."""
    events = await items(client.fine_tuning.jobs.list_events(job.id, limit=2))
    messages = [event.message for event in events]
    assert "The job has successfully completed" in messages[:3]
    assert f"Created fine-tuning job: {job.id}" in messages
    measured = [event.data for event in events if event.type == "metrics"]
    assert len(measured) == measured[0]["total_steps"] == 4
    assert "Step 1/4: training loss=2.50, validation loss=2.60" in messages
    checkpoints = await items(client.fine_tuning.jobs.checkpoints.list(job.id, limit=1))
    assert {each.fine_tuning_job_id for each in checkpoints} == {job.id}
    assert [each.step_number for each in checkpoints] == [4, 2]
    assert [each.metrics.train_loss for each in checkpoints] == [0.625, 1.25]
    assert checkpoints[1].fine_tuned_model_checkpoint == f"{job.fine_tuned_model}:ckpt-step-2"


async def results(id_):
    """The result file, which comes a moment after the job's end."""
    end = time.monotonic() + 60
    while not (found := await got(client.fine_tuning.jobs.retrieve(id_))).result_files:
        assert time.monotonic() < end
        await asyncio.sleep(0.05)
    file = await got(client.files.retrieve(found.result_files[0]))
    assert (file.purpose, file.filename) == ("fine-tune-results", "step_metrics.csv")
    head, *rows = (await got(client.files.content(file.id))).text.splitlines()
    assert head.startswith("step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy")
    assert [row.split(",")[0] for row in rows] == ["1", "2", "3", "4"]


async def models(model):
    """List, look and ask."""
    assert model in [each.id for each in await items(client.models.list())]
    assert (await got(client.models.retrieve(model))).id == model
    asked = {"model": model, "messages": [{"role": "user", "content": "How are you?"}], "max_tokens": 5}
    answer = await got(client.chat.completions.create(**asked, temperature=0))
    assert answer.choices[0].message.content
    pieces = await items(await got(client.chat.completions.create(**asked, stream=True)))
    assert "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices)


async def stored(model):
    """Answers that are kept, found again, changed, made into rows, and deleted."""
    pairs, completions = {"program": str(uuid.uuid4())}, client.chat.completions
    question = {"role": "user", "content": "What is kept?"}
    answer = await got(completions.create(model=model, messages=[question], store=True, metadata=pairs))
    assert [each.id for each in await items(completions.list(metadata=pairs))] == [answer.id]
    assert (await got(completions.retrieve(answer.id))).choices == answer.choices
    if "strict" not in HOW:  # which takes messages of assistants only
        asked = await items(completions.messages.list(answer.id))
        assert [each.content for each in asked] == [question["content"]]
    rows = await got(client.post("/chat/datasets", body={"metadata": pairs}, cast_to=FileObject))
    [row] = (await got(client.files.content(rows.id))).text.splitlines()
    assert json.loads(row)["messages"][0] == question
    assert (await got(completions.update(answer.id, metadata={"program": "gone"}))).metadata != pairs
    assert (await got(completions.delete(answer.id))).deleted


async def refused(answer, kind, param):
    """Errors are of the client's own types, and say which field."""
    try:
        await got(answer())
        raise AssertionError(f"nothing was refused as {kind}")
    except kind as error:
        found = error.param
    assert found == param, found


async def refusals(file, job):
    """What is asked for wrongly."""
    create = client.fine_tuning.jobs.create
    await refused(lambda: create(model="none", training_file=file), openai.BadRequestError, "model")
    await refused(lambda: client.fine_tuning.jobs.retrieve("ftjob-none"), openai.NotFoundError, "id")
    await refused(lambda: client.files.content("file-none"), openai.NotFoundError, "id")
    await refused(lambda: client.fine_tuning.jobs.cancel(job.id), openai.BadRequestError, "id")
    if hasattr(client.fine_tuning.jobs, "pause"):
        await refused(lambda: client.fine_tuning.jobs.pause(job.id), openai.BadRequestError, "id")
    await refused(lambda: client.models.delete(job.fine_tuned_model), openai.BadRequestError, "model")
    stranger = client.with_options(api_key="none")
    await refused(lambda: stranger.files.retrieve(file), openai.AuthenticationError, None)


async def main():
    """All of it."""
    file = await files()
    job = await jobs(file, await upload_in_parts())
    await history(job)
    await results(job.id)
    await models(job.fine_tuned_model)
    await models(f"{job.fine_tuned_model}:ckpt-step-2")
    await stored(job.fine_tuned_model)
    await refusals(file, job)
    print(openai.__version__, job.fine_tuned_model)


if __name__ == "__main__":
    asyncio.run(main())
