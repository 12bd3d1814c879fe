"""Faults at an exact point of one rank; Python imports this module at start when it is on PYTHONPATH.

KUBETUNE_FAULT is "rank:function:call:signal": the rank sends itself the signal at the n-th call. Several are
separated by spaces. With the function "gather" the rank loses the content of a tensor instead, with "method"
it trains by the toy method, with "unpickle" it fails where an object of another rank would be unpickled,
with "memory" its n-th step runs out of memory.
"""

import os
import signal
import sys


def _install(fault: str) -> None:
    rank, function, call, number = fault.split(":")
    if os.environ.get("RANK") != rank:
        return
    calls = 0

    def wrap(original):
        def wrapped(*args, **kwargs):
            nonlocal calls
            calls += 1
            if calls == int(call):
                os.kill(os.getpid(), getattr(signal, number))
            return original(*args, **kwargs)

        return wrapped

    if function == "step":  # told once when training begins, and after each step
        from kubetune_trainer.loop import attempt

        train = attempt.train
        attempt.train = lambda config, stop, stepped: train(config, stop, wrap(stepped))
    elif function == "memory":  # as "step", but a GPU has no memory left
        from kubetune_trainer.loop.trainer import FineTuner

        training_step = FineTuner.training_step

        def without_memory(*args, **kwargs):
            nonlocal calls
            calls += 1
            if calls == int(call):
                raise MemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
            return training_step(*args, **kwargs)

        FineTuner.training_step = without_memory
    elif function == "agree":  # the ranks agree whether to stop, after each step and each validation batch
        from kubetune_trainer.gang.peers import Peers

        Peers.any_of = wrap(Peers.any_of)
    elif function == "gather":
        from kubetune_trainer.artifact import publish

        gather = publish.gather

        def emptied(*args, **kwargs):
            weights = gather(*args, **kwargs)
            for name in list(weights)[:1]:
                weights[name] = weights[name][:0]
            return weights

        publish.gather = emptied
    elif function == "unpickle":
        from torch.distributed import distributed_c10d

        def refused(*_):
            raise AssertionError("an object of another rank was to be unpickled")

        distributed_c10d._tensor_to_object = refused
    elif function == "method":
        from kubetune_trainer.methods.table import METHODS
        from tests.support.toy_method import EveryToken

        METHODS["SFT"] = EveryToken
    else:
        setattr(os, function, wrap(getattr(os, function)))


if "KUBETUNE_FAULT" in os.environ and any(
    argument == "kubetune_trainer.process.rank" for argument in sys.orig_argv
):
    for each in os.environ["KUBETUNE_FAULT"].split():
        _install(each)
