"""A model small enough to make in a fixture: random two-layer Llama, and a tokenizer with one token per byte.

One byte is one token and every special token is one, so a test can count tokens by hand.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.support.chat_templates import CHATML

SPECIAL_TOKENS = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>",                                     # ChatML, Qwen
    "<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>",     # Llama 3
    "<s>", "</s>", "[INST]", "[/INST]",                                                # Mistral
    "<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>",                              # Gemma
    "<|system|>", "<|user|>", "<|assistant|>", "<|end|>",                              # Phi-3
)  # fmt: skip
VOCABULARY = 256 + len(SPECIAL_TOKENS)
HIDDEN = 64
LAYERS = 2


def tiny_tokenizer(
    *,
    chat_template: str | None = CHATML,
    bos: str | None = None,
    eos: str = "<|im_end|>",
    specials: Sequence[str] = (),
) -> Any:
    """Build a byte-level tokenizer: 256 bytes, no merges, and the special tokens of several families.

    ``specials`` are more of them.
    """
    from tokenizers import Tokenizer, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={byte: index for index, byte in enumerate(alphabet)}, merges=[]))
    return _fast(tokenizer, chat_template, bos, eos, specials)


def merging_tokenizer(
    *,
    chat_template: str | None = CHATML,
    bos: str | None = None,
    eos: str = "<|im_end|>",
    specials: Sequence[str] = (),
) -> Any:
    """Like ``tiny_tokenizer``, but with tokens of several characters, such as a space and a letter."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    space, line_end = "\u0120", "\u010a"  # as the byte-level alphabet writes them
    merges = [(space, "H"), (space, "S"), (line_end, line_end), ("e", "r"), (space, "i"), (":", space)]
    words = [*alphabet, *("".join(merge) for merge in merges)]
    vocabulary = {word: index for index, word in enumerate(words)}
    return _fast(Tokenizer(models.BPE(vocab=vocabulary, merges=merges)), chat_template, bos, eos, specials)


def _fast(
    tokenizer: Any, chat_template: str | None, bos: str | None, eos: str, specials: Sequence[str]
) -> Any:
    from tokenizers import AddedToken, decoders, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    every = dict.fromkeys((*SPECIAL_TOKENS, *specials))
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in every])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=bos, eos_token=eos, pad_token="<|endoftext|>"
    )
    fast.chat_template = chat_template
    return fast


def make_tiny_model(
    directory: Path,
    *,
    chat_template: str | None = CHATML,
    bos: str | None = None,
    eos: str = "<|im_end|>",
    seed: int = 0,
    **config: Any,
) -> Path:
    """Save a tiny random Llama with its tokenizer as safetensors; ``config`` overrides LlamaConfig fields.

    The same arguments give the same bytes: 2 layers, hidden size 64, 4 heads, tied embeddings.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = tiny_tokenizer(chat_template=chat_template, bos=bos, eos=eos)
    sizes = {
        "vocab_size": VOCABULARY,
        "hidden_size": HIDDEN,
        "intermediate_size": 2 * HIDDEN,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 2048,
        "tie_word_embeddings": True,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "dtype": "float32",
    }
    state = torch.get_rng_state()
    torch.manual_seed(seed)
    model = LlamaForCausalLM(LlamaConfig(**{**sizes, **config}))
    torch.set_rng_state(state)
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


_TEXT = {
    "vocab_size": VOCABULARY,
    "hidden_size": HIDDEN,
    "intermediate_size": 2 * HIDDEN,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 2,  # of 32: vLLM has no narrower ones on CPU
    "num_key_value_heads": 1,
    "max_position_embeddings": 2048,
    "tie_word_embeddings": False,
}
_VISION = {
    "hidden_size": 32,
    "intermediate_size": 128,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 16,
    "patch_size": 4,
}


def _qwen3_5() -> Any:
    """Images and text; every fourth layer has attention, the others a state, with heads as wide as vLLM's CPU
    kernel wants them."""
    from transformers import Qwen3_5Config, Qwen3_5ForConditionalGeneration

    linear = {"linear_num_key_heads": 2, "linear_num_value_heads": 4}
    linear |= {"linear_key_head_dim": 128, "linear_value_head_dim": 128}
    text = _TEXT | linear | {"num_hidden_layers": 4, "head_dim": 32}
    vision = {"depth": 1, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2, "patch_size": 4}
    config = Qwen3_5Config(text_config=text, vision_config={**vision, "out_hidden_size": HIDDEN})
    return Qwen3_5ForConditionalGeneration(config)


def _gemma3() -> Any:
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration

    text = _TEXT | {"head_dim": 32, "sliding_window": 32, "tie_word_embeddings": True}
    return Gemma3ForConditionalGeneration(
        Gemma3Config(text_config=text, vision_config=_VISION, mm_tokens_per_image=4)
    )


def _llama4(**layers: Any) -> Any:
    """The first layer is dense, the second has experts; ``layers`` says otherwise."""
    from transformers import Llama4Config, Llama4ForConditionalGeneration

    experts = {"num_local_experts": 4, "num_experts_per_tok": 1, "interleave_moe_layer_step": 2, **layers}
    text = _TEXT | experts | {"head_dim": 32, "intermediate_size_mlp": 2 * HIDDEN, "pad_token_id": 0}
    sizes = {"vision_output_dim": 64, "projector_input_dim": 64, "projector_output_dim": 64}
    return Llama4ForConditionalGeneration(
        Llama4Config(text_config=text, vision_config={**_VISION, **sizes, "num_attention_heads": 2})
    )


def _qwen2_moe() -> Any:
    """Experts, whose stacked matrices PEFT does not adapt, beside one that is shared."""
    from transformers import Qwen2MoeConfig, Qwen2MoeForCausalLM

    experts = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
    return Qwen2MoeForCausalLM(Qwen2MoeConfig(**_TEXT, **experts, shared_expert_intermediate_size=48))


def _mixtral() -> Any:
    """Experts, whose stacked matrices PEFT adapts."""
    from transformers import MixtralConfig, MixtralForCausalLM

    return MixtralForCausalLM(MixtralConfig(**_TEXT, num_local_experts=4, num_experts_per_tok=2))


FAMILIES = {
    "gemma3": _gemma3,
    "llama4": _llama4,
    "llama4_dense": lambda: _llama4(interleave_moe_layer_step=LAYERS + 1, moe_layers=[]),
    "mixtral": _mixtral,
    "qwen2_moe": _qwen2_moe,
    "qwen3_5": _qwen3_5,
}
"""Families whose checkpoints have other names than the model that transformers loads from them."""


def make_tiny_of(family: str, directory: Path) -> Path:
    """Save a tiny random model of a family of FAMILIES, or "llama", with the tokenizer.

    The same family gives the same bytes."""
    import torch

    if family == "llama":
        return make_tiny_model(directory, num_attention_heads=2, num_key_value_heads=1)
    state = torch.get_rng_state()
    torch.manual_seed(0)
    FAMILIES[family]().save_pretrained(directory)
    torch.set_rng_state(state)
    tiny_tokenizer().save_pretrained(directory)
    return directory


def chat_row(question: str, answer: str) -> str:
    """One JSONL line of a two-message conversation."""
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return json.dumps({"messages": messages}) + "\n"


def write_chat_rows(path: Path, count: int = 40) -> Path:
    """Write a learnable JSONL file: ``count`` different questions with one of four answers."""
    colours = ("red", "green", "blue", "grey")
    lines = [chat_row(f"Item {index}: which colour?", colours[index % 4]) for index in range(count)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(lines))
    return path
