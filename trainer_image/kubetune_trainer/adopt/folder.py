"""Which files of a folder are an artifact, and what to do about a folder that has none."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import PurePosixPath
from typing import Final

from ..base.digest import MODEL_SUFFIXES, is_of_tokenizer
from ..base.fetch import wanted
from ..contract.errors import AdapterInvalid, name_list
from ..sources.source import RemoteFile
from ..store.manifest import MANIFEST_NAME

CONFIG: Final = "config.json"
ADAPTER_CONFIG: Final = "adapter_config.json"
ADAPTER_WEIGHTS: Final = "adapter_model.safetensors"

MERGE: Final = (
    "Merge it into the base where it was trained (merge_and_unload and save_pretrained of PEFT, in 16 bits, "
    "with the tokenizer beside it) and adopt the merged folder"
)
"""What is left of nearly everything that a server cannot apply as an adapter."""

PICKLED: Final = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
"""Files that can run code when they are loaded."""
_TRAINER: Final = frozenset(
    {"trainer_state.json", "all_results.json", "train_results.json", "eval_results.json", "trainer_log.json"}
)
"""What trainers write about a run beside its weights."""

_SHARDS: Final = re.compile(
    r"pytorch_model_fsdp.*|.*\.distcp|global_step\d+|.*zero_pp_rank.*|.*mp_rank_\d+.*|.*optim_states\.pt|latest"
)
"""What FSDP and DeepSpeed write: every rank its part."""

_CHECKPOINT: Final = re.compile(r"checkpoint-(\d+)")


def artifact_files(files: Sequence[RemoteFile], uri: str) -> list[RemoteFile]:
    """The files of an adapter or of a full model; of a folder that KubeTune published, all.

    Args:
        files: those of the folder, and of the folders in it, as ``fetch.Choose`` gets them.
        uri: of the folder.

    Raises:
        AdapterInvalid: there is nothing that can be adopted; the message says what to do.
        ModelUnavailable: a full model has no weights that can be read.
    """
    top = [file for file in files if "/" not in file.name]
    names = {file.name for file in top}
    if ADAPTER_CONFIG in names:
        _require_adapter_weights(names, files, uri)
        taken = [f for f in top if f.name in (ADAPTER_CONFIG, ADAPTER_WEIGHTS) or _is_about_text(f.name)]
    elif CONFIG in names:
        _require_model_weights(names, files, uri)
        taken = [file for file in wanted(top, uri) if file.name not in _TRAINER]
    else:
        raise _elsewhere(names, files, uri)
    if MANIFEST_NAME in names:  # a KubeTune job published it, and its manifest names every file
        taken = [file for file in top if not file.name.startswith(".")]
    return taken


def refusal(uri: str, what: str, remedy: str) -> AdapterInvalid:
    """What is raised for an artifact that cannot be adopted."""
    return AdapterInvalid(f"artifact.uri {uri} {what}. {remedy}.")


def _is_about_text(name: str) -> bool:
    """Tokenizer, chat template and ends of answers."""
    is_read = PurePosixPath(name).suffix in MODEL_SUFFIXES and name not in _TRAINER
    return is_read and (is_of_tokenizer(name) or name == "generation_config.json")


def _require_adapter_weights(names: Collection[str], files: Sequence[RemoteFile], uri: str) -> None:
    if ADAPTER_WEIGHTS in names:
        return
    if pickled := next((n for n in sorted(names) if n.startswith("adapter") and n.endswith(PICKLED)), None):
        raise refusal(
            uri,
            f"has its weights only as {pickled}, which can run code when it is loaded",
            "Load the adapter with PEFT where you trust it and save it again: save_pretrained writes "
            f"{ADAPTER_WEIGHTS}",
        )
    _require_consolidated(files, uri)
    raise refusal(
        uri,
        f"has {ADAPTER_CONFIG}, but no {ADAPTER_WEIGHTS}; it has {name_list(sorted(names))}",
        "Save the adapter with save_pretrained of PEFT",
    )


def _require_model_weights(names: Collection[str], files: Sequence[RemoteFile], uri: str) -> None:
    if any(name.endswith(".safetensors") for name in names):
        return
    if any(name.endswith(".gguf") for name in names):
        raise refusal(uri, "has its weights as GGUF", "Name the folder with the 16-bit safetensors weights")
    if inside := _folders_with(files, (ADAPTER_CONFIG, CONFIG)):
        raise _name_one(uri, inside)  # a trainer wrote the base's config.json beside its checkpoints
    _require_consolidated(files, uri)


def _require_consolidated(files: Sequence[RemoteFile], uri: str) -> None:
    shards = [file.name for file in files if any(map(_SHARDS.fullmatch, file.name.strip("/").split("/")))]
    if shards:
        raise refusal(
            uri,
            f"has shards of FSDP or DeepSpeed ({name_list(shards, 2)}), which are not put together",
            "Put them together where it was trained: accelerate merge-weights for FSDP, zero_to_fp32.py for "
            "DeepSpeed, or the trainer's own final save",
        )


def _elsewhere(names: Collection[str], files: Sequence[RemoteFile], uri: str) -> AdapterInvalid:
    """A folder with neither an adapter nor a model: perhaps one in it has one."""
    if inside := _folders_with(files, (ADAPTER_CONFIG, CONFIG)):
        return _name_one(uri, inside)
    if archive := next((n for n in sorted(names) if n.endswith((".tar", ".tar.gz", ".tgz", ".zip"))), None):
        return refusal(uri, f"holds the archive {archive}", "Extract it, and name the folder with its files")
    if ADAPTER_WEIGHTS in names:
        return refusal(
            uri,
            f"has {ADAPTER_WEIGHTS}, but no {ADAPTER_CONFIG}, which says how it is applied",
            "Put the one that it was saved with beside it",
        )
    _require_consolidated(files, uri)
    has = f"it has {name_list(sorted(names))}" if names else "it has no files"
    return refusal(
        uri,
        f"has neither {ADAPTER_CONFIG} nor {CONFIG}; {has}",
        "Name the folder of a PEFT adapter or of a full model",
    )


def _folders_with(files: Sequence[RemoteFile], names: Collection[str]) -> list[str]:
    """Folders that hold one of the files; one whose content nobody knows counts if it is a checkpoint."""
    found = set()
    for file in files:
        folder, _, name = file.name.partition("/")
        if name in names or (file.name.endswith("/") and _CHECKPOINT.fullmatch(folder)):
            found.add(folder)
    return sorted(found, key=lambda folder: (_step(folder), folder))


def _step(folder: str) -> int:
    checkpoint = _CHECKPOINT.fullmatch(folder)
    return int(checkpoint[1]) if checkpoint else -1


def _name_one(uri: str, folders: Sequence[str]) -> AdapterInvalid:
    return refusal(
        uri,
        f"has nothing to adopt itself, but in {name_list(folders)}",
        f"Name one, such as {uri}/{folders[-1]}",
    )
