"""Runs a model in float32 whatever its weights are stored in, one layer's copies at a time.

A server that is asked to computes in float32 from the same bf16 files, so that both can be compared closely;
bf16 differs by more than a small fault does. It works beside DeepSpeed: its hooks are set aside, weights that
ZeRO-3 has split are put together by all ranks, and everything is put back.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

_HOOKS = (
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
)


@contextmanager
def computing_in_float32(model: Any, device: torch.device) -> Iterator[None]:
    """Within the block ``model(...)`` computes on the device in float32 and in evaluation mode.

    Every rank must enter it and call the model equally often.
    """
    import torch

    training = model.training
    aside = [(module, name, getattr(module, name)) for module in model.modules() for name in _HOOKS]
    swapped: dict[Any, ExitStack] = {}

    def enter(module: Any, _: Any) -> None:
        swapped[module] = stack = ExitStack()
        stack.enter_context(_as_float32(tensors[module], device))

    def leave(module: Any, _: Any, __: Any) -> None:
        swapped.pop(module).close()

    tensors = dict(_units(model))
    tf32 = torch.backends.cudnn.allow_tf32
    try:
        for module, name, _ in aside:
            setattr(module, name, OrderedDict())
        for module in tensors:
            module.register_forward_pre_hook(enter)
            module.register_forward_hook(leave)
        torch.backends.cudnn.allow_tf32 = False
        model.eval()
        with torch.no_grad():
            yield
    finally:
        for stack in swapped.values():
            stack.close()
        for module, name, hooks in aside:
            setattr(module, name, hooks)
        torch.backends.cudnn.allow_tf32 = tf32
        model.train(training)


def _units(module: Any) -> Iterator[tuple[Any, list[torch.Tensor]]]:
    """Modules with the tensors that they need: layers as a whole, of all others their own.

    A layer may use the weights of its parts without calling them; one is small enough to be copied."""
    import torch
    from peft.tuners.tuners_utils import BaseTunerLayer

    for child in module.children():
        if isinstance(module, torch.nn.ModuleList) or isinstance(child, BaseTunerLayer):
            yield child, [*child.parameters(), *child.buffers()]
            continue
        own = [*child.parameters(recurse=False), *child.buffers(recurse=False)]
        if own:
            yield child, own
        yield from _units(child)


@contextmanager
def _as_float32(tensors: list[torch.Tensor], device: torch.device) -> Iterator[None]:
    import torch

    with ExitStack() as stack:
        if split := [tensor for tensor in tensors if hasattr(tensor, "ds_id")]:
            import deepspeed

            stack.enter_context(deepspeed.zero.GatheredParameters(split))
        for tensor in tensors:
            stack.callback(setattr, tensor, "data", tensor.data)
            kind = torch.float32 if tensor.is_floating_point() else tensor.dtype
            tensor.data = tensor.data.to(device, kind)
        yield
