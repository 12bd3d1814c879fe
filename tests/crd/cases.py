"""Every rule of the API as a table: what a spec says beside the minimum, and what is refused about it.

The same table is read by the tests without an API server and by those with one.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]
Changes = dict[str, Any]

MINIMAL: Json = {
    "apiVersion": "kubetune.dev/v1alpha1",
    "kind": "FineTuneJob",
    "metadata": {"name": "intents", "namespace": "default"},
    "spec": {
        "model": {"uri": "hf://org/base"},
        "dataset": {"train": {"uri": "pvc://datasets/train.jsonl"}},
        "training": {"gpusPerNode": 1},
    },
}
"""The least that works."""

ABSENT = object()
"""Takes a field away."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One create, or one update when ``before`` is given."""

    name: str
    changes: Changes
    refused: str | None = None
    """Words of the refusal; None when it is admitted."""
    before: Changes | None = field(default=None)

    @property
    def new(self) -> Json:
        """The object that is sent."""
        return changed(self.changes)

    @property
    def old(self) -> Json | None:
        """The object that is there."""
        return None if self.before is None else changed(self.before)


def changed(changes: Changes) -> Json:
    """MINIMAL with these changes; paths are relative to spec unless they begin with metadata."""
    job = copy.deepcopy(MINIMAL)
    for path, value in changes.items():
        *parents, last = (path if path.startswith("metadata.") else f"spec.{path}").split(".")
        block = job
        for parent in parents:
            block = block.setdefault(parent, {})
        if value is ABSENT:
            block.pop(last, None)
        else:
            block[last] = value
    return job


def accept(name: str, changes: Changes, *, before: Changes | None = None) -> Case:
    """A case that is admitted."""
    return Case(name=f"accepts {name}", changes=changes, before=before)


def refuse(name: str, changes: Changes, words: str, *, before: Changes | None = None) -> Case:
    """A case that is refused with these words."""
    return Case(name=f"refuses {name}", changes=changes, refused=words, before=before)


def _template(**fields: Any) -> Changes:
    return {"training.podTemplate": fields}


def _volume(**source: Any) -> Changes:
    return _template(volumes=[{"name": "extra", **source}])


def _mount(path: str, **more: Any) -> Changes:
    return _template(
        volumes=[{"name": "extra", "emptyDir": {}}],
        volumeMounts=[{"name": "extra", "mountPath": path, **more}],
    )


def _spread(key: str, **more: Any) -> Json:
    return {"maxSkew": 1, "topologyKey": key, "whenUnsatisfiable": "ScheduleAnyway", **more}


def _variable(name: str) -> Changes:
    return _template(env=[{"name": name, "value": "x"}])


_RESERVED_VARIABLES = (
    "RANK",
    "LOCAL_RANK",
    "WORLD_SIZE",
    "LOCAL_WORLD_SIZE",
    "MASTER_ADDR",
    "MASTER_PORT",
    "NNODES",
    "NPROC_PER_NODE",
    "JOB_COMPLETION_INDEX",
    "DS_ACCELERATOR",
    "HF_HUB_OFFLINE",
    "KUBETUNE_X",
    "MODEL_HF_TOKEN",
    "ARTIFACT_HF_TOKEN",
    "TRAIN_HF_TOKEN",
    "VALIDATION_HF_TOKEN",
)
_LORA_SERVED = {"training.adapter": {"type": "LoRA"}}
_FULL_SERVED = {"training.adapter": {"type": "Full"}}

NAMES = (
    accept("the minimum", {}),
    accept("a name of 40 characters", {"metadata.name": "a" * 40}),
    refuse("a name of 41 characters", {"metadata.name": "a" * 41}, "more than 40 characters"),
    accept("a name with digits and dashes", {"metadata.name": "intents-2"}),
    refuse("a name that begins with a digit", {"metadata.name": "2-intents"}, "also a Service's"),
    refuse("a name with a dot", {"metadata.name": "intents.2"}, "also a Service's"),
    refuse("a name that ends in -train", {"metadata.name": "a-train"}, "ends in -train"),
    refuse("a name that ends in -candidate", {"metadata.name": "a-candidate"}, "ends in -candidate"),
    refuse("a name that ends in -baseline", {"metadata.name": "a-baseline"}, "ends in -baseline"),
    accept("a name with train in its middle", {"metadata.name": "a-train-2"}),
)

MODEL = (
    accept("a model of the hub", {"model.uri": "hf://HuggingFaceTB/SmolLM2-135M-Instruct"}),
    accept("a model in a bucket", {"model.uri": "s3://my-bucket/models/smollm2"}),
    accept("a model on a claim", {"model.uri": "pvc://models/smollm2"}),
    refuse("a job without model", {"model": ABSENT}, "model"),
    refuse("a model without uri", {"model": {}}, "uri"),
    refuse("an empty model URI", {"model.uri": ""}, "uri"),
    refuse("a hub model without organisation", {"model.uri": "hf://gpt2"}, "not a model URI"),
    refuse("a hub model with a path", {"model.uri": "hf://org/base/file"}, "not a model URI"),
    refuse("a bucket without a prefix", {"model.uri": "s3://my-bucket"}, "not a model URI"),
    refuse("a bucket with upper case", {"model.uri": "s3://My-Bucket/x"}, "not a model URI"),
    refuse("a model claim without a path", {"model.uri": "pvc://models"}, "not a model URI"),
    refuse("a model path with a slash at its end", {"model.uri": "pvc://models/x/"}, "not a model URI"),
    refuse("a model in a ConfigMap", {"model.uri": "configMap://models/x"}, "not a model URI"),
    refuse("a model by https", {"model.uri": "https://example.com/x"}, "not a model URI"),
    refuse("a newline in a model URI", {"model.uri": "pvc://models/x\n"}, "not a model URI"),
    refuse("a way out of the claim", {"model.uri": "pvc://models/../x"}, "segment is . or .."),
    refuse("a way out at the end", {"model.uri": "s3://my-bucket/x/.."}, "segment is . or .."),
    refuse("a path segment that is a dot", {"model.uri": "pvc://models/./x"}, "segment is . or .."),
    accept("a path segment that begins with dots", {"model.uri": "pvc://models/..x"}),
    accept("a revision of a hub model", {"model.revision": "refs/pr/1"}),
    refuse(
        "a revision of a model on a claim",
        {"model.uri": "pvc://models/x", "model.revision": "main"},
        "only hf:// models have revisions",
    ),
    refuse("a revision that looks like an option", {"model.revision": "--upload-pack"}, "revision"),
    accept("a Secret for the model", {"model.credentials": {"secretName": "hf-token"}}),
    accept(
        "a Secret for a bucket", {"model.uri": "s3://b-1/m", "model.credentials": {"secretName": "s3-keys"}}
    ),
    refuse(
        "a Secret for a model on a claim",
        {"model.uri": "pvc://models/x", "model.credentials": {"secretName": "hf-token"}},
        "only hf:// and s3:// sources take credentials",
    ),
    refuse("credentials without Secret", {"model.credentials": {}}, "secretName"),
    refuse(
        "a Secret of another namespace",
        {"model.credentials": {"secretName": "hf-token", "namespace": "other"}},
        "namespace",
    ),
)

DATASET = (
    accept("a dataset of the hub", {"dataset.train.uri": "hf://org/rows"}),
    accept("a revision of a hub dataset", {"dataset.train.uri": "hf://org/rows@v1.0"}),
    accept("a file of a hub dataset", {"dataset.train.uri": "hf://org/rows@main/data/train.jsonl"}),
    accept("a file in a bucket", {"dataset.train.uri": "s3://my-bucket/rows/train.parquet"}),
    accept("a file on a claim", {"dataset.train.uri": "pvc://datasets/banking77/train.csv"}),
    accept("a key of a ConfigMap", {"dataset.train.uri": "configMap://rows/train.jsonl"}),
    refuse("a job without rows", {"dataset": {}}, "train"),
    refuse("a hub dataset without organisation", {"dataset.train.uri": "hf://rows"}, "not a dataset URI"),
    refuse("an empty revision", {"dataset.train.uri": "hf://org/rows@/x"}, "not a dataset URI"),
    refuse("a ConfigMap without key", {"dataset.train.uri": "configMap://rows"}, "not a dataset URI"),
    refuse("a path in a ConfigMap", {"dataset.train.uri": "configMap://rows/a/b"}, "not a dataset URI"),
    refuse("a plain path", {"dataset.train.uri": "/data/train.jsonl"}, "not a dataset URI"),
    refuse("a way out of a dataset claim", {"dataset.train.uri": "pvc://a/b/../../c"}, "segment is . or .."),
    refuse("a URI of 513 characters", {"dataset.train.uri": "pvc://a/" + "b" * 505}, "uri"),
    accept("validation rows", {"dataset.validation": {"uri": "pvc://datasets/test.jsonl"}}),
    accept("a part held out", {"dataset.validationFraction": "0.1"}),
    refuse(
        "validation rows and a part held out",
        {"dataset.validation": {"uri": "pvc://datasets/x.csv"}, "dataset.validationFraction": "0.1"},
        "exclude each other",
    ),
    refuse("nothing held out", {"dataset.validationFraction": "0"}, "above 0 and below 1"),
    refuse("everything held out", {"dataset.validationFraction": "1.0"}, "above 0 and below 1"),
    refuse("a float for a decimal", {"dataset.validationFraction": 0.1}, "validationFraction"),
    refuse("a percentage for a decimal", {"dataset.validationFraction": "10%"}, "validationFraction"),
    accept("own column names", {"dataset.columns": {"prompt": "text", "completion": "category"}}),
    refuse("a column that is no standard one", {"dataset.columns": {"answer": "category"}}, "answer"),
    refuse("an empty column name", {"dataset.columns": {"prompt": ""}}, "prompt"),
    accept("a format", {"dataset.format": "PromptCompletion"}),
    accept("the format of instructions", {"dataset.format": "Alpaca"}),
    refuse("a format of later", {"dataset.format": "Preference"}, "format"),
    accept("a file on a web server", {"dataset.train": {"uri": "https://data.example.com:8443/a/rows.csv"}}),
    refuse(
        "a file on a web server without TLS",
        {"dataset.train": {"uri": "http://data.example.com/rows.csv"}},
        "not a dataset URI",
    ),
    refuse(
        "a password in a URL",
        {"dataset.train": {"uri": "https://ada:secret@data.example.com/rows.csv"}},
        "not a dataset URI",
    ),
    refuse(
        "a signature in a URL",
        {"dataset.train": {"uri": "https://data.example.com/rows.csv?signature=1"}},
        "not a dataset URI",
    ),
    accept("a file whose name has spaces", {"dataset.train": {"uri": "pvc://rows/first 20/my rows.jsonl"}}),
    accept("rows that must fit", {"dataset.onTooLong": "Fail", "dataset.maxLength": 8}),
    accept("validation rows that must be new", {"dataset.onLeak": "Fail"}),
    refuse("another answer to leaks", {"dataset.onLeak": "Drop"}, "onLeak"),
    accept(
        "a chat template and its arguments",
        {
            "dataset.chatTemplate": "{{ messages }}",
            "dataset.chatTemplateKwargs": {"enable_thinking": "false"},
        },
    ),
    refuse("an empty chat template", {"dataset.chatTemplate": ""}, "chatTemplate"),
    refuse("a chat template of 65 KiB", {"dataset.chatTemplate": "a" * 66560}, "chatTemplate"),
    refuse(
        "an argument of a chat template without quotes",
        {"dataset.chatTemplateKwargs": {"enable_thinking": False}},
        "enable_thinking",
    ),
    refuse("rows of no length", {"dataset.maxLength": 0}, "maxLength"),
    accept(
        "a Secret for the rows",
        {"dataset.train": {"uri": "s3://rows/train.jsonl", "credentials": {"secretName": "s3-keys"}}},
    ),
    refuse(
        "a Secret for rows on a claim",
        {"dataset.train": {"uri": "pvc://rows/train.jsonl", "credentials": {"secretName": "s3-keys"}}},
        "only hf:// and s3:// sources take credentials",
    ),
    refuse(
        "a Secret for rows in a ConfigMap",
        {"dataset.validation": {"uri": "configMap://rows/x.jsonl", "credentials": {"secretName": "s3-keys"}}},
        "only hf:// and s3:// sources take credentials",
    ),
)

TRAINING = (
    refuse("a job without gpusPerNode", {"training": {}}, "gpusPerNode"),
    accept("training on CPU", {"training.gpusPerNode": 0}),
    refuse("a number in quotes", {"training.gpusPerNode": "1"}, "gpusPerNode"),
    refuse("a truth value for a number", {"training.gpusPerNode": True}, "gpusPerNode"),
    refuse("a number that is not whole", {"training.epochs": 1.5}, "epochs"),
    refuse("a number beyond 32 bits", {"training.maxSteps": 2**31}, "maxSteps"),
    refuse("a method of later", {"training.method": "DPO"}, "method"),
    refuse("a misspelled field", {"training.batchSizee": 1}, "batchSizee"),
    refuse("a misspelled field set to null", {"training.batchSizee": None}, "batchSizee"),
    accept("a field set to null, as absent", {"training.maxSteps": None, "training.epochs": None}),
    accept("a full fine-tune", {"training.adapter": {"type": "Full"}}),
    refuse("an adapter of later", {"training.adapter": {"type": "DoRA"}}, "type"),
    accept("a base in 4 bits", {"training.adapter": {"type": "QLoRA", "useRslora": True}}),
    refuse(
        "a base in 4 bits that is divided",
        {"training.adapter": {"type": "QLoRA"}, "training.deepspeed": {"zeroStage": 3}},
        "must be below 3 with adapter.type QLoRA",
    ),
    accept("weight decay and no clipping", {"training.weightDecay": "0.01", "training.maxGradNorm": "0"}),
    refuse("negative weight decay", {"training.weightDecay": "-0.1"}, "weightDecay"),
    accept(
        "the best weights",
        {"dataset.validationFraction": "0.1", "training.select": {"strategy": "Best", "patience": 3}},
    ),
    refuse(
        "the best weights without validation rows",
        {"training.select": {"strategy": "Best"}},
        "Best needs validation rows",
    ),
    refuse("patience for the last weights", {"training.select": {"patience": 3}}, "is for strategy Best"),
    refuse(
        "no patience",
        {"dataset.validationFraction": "0.1", "training.select": {"strategy": "Best", "patience": 0}},
        "patience",
    ),
    accept("adapters of earlier epochs", {"training.keepEpochs": 10}),
    accept("none of a full fine-tune", {"training.adapter": {"type": "Full"}, "training.keepEpochs": 0}),
    refuse("more epochs than a server holds", {"training.keepEpochs": 11}, "keepEpochs"),
    refuse(
        "earlier epochs of a full fine-tune",
        {"training.adapter": {"type": "Full"}, "training.keepEpochs": 1},
        "is for adapters, which a server answers with side by side",
    ),
    accept("an end when learning diverges", {"training.onDivergence": "Stop"}),
    refuse("another answer to divergence", {"training.onDivergence": "Retry"}, "onDivergence"),
    refuse("a rank of 0", {"training.adapter": {"rank": 0}}, "rank"),
    accept("dropout", {"training.adapter": {"dropout": "0.05"}}),
    refuse("dropout of everything", {"training.adapter": {"dropout": "1"}}, "must be below 1"),
    refuse("negative dropout", {"training.adapter": {"dropout": "-0.1"}}, "dropout"),
    accept("named target modules", {"training.adapter": {"targetModules": ["q_proj", "v_proj"]}}),
    refuse("no target modules", {"training.adapter": {"targetModules": []}}, "targetModules"),
    refuse("a regular expression", {"training.adapter": {"targetModules": [".*"]}}, "targetModules"),
    refuse(
        "all-linear beside another module",
        {"training.adapter": {"targetModules": ["all-linear", "q_proj"]}},
        "all-linear stands alone",
    ),
    accept("a batch that 2 x 4 GPUs can share", {"training.nodes": 2, "training.gpusPerNode": 4}),
    refuse("a batch that 3 GPUs cannot share", {"training.gpusPerNode": 3}, "must be divisible"),
    accept("a batch that 3 GPUs can share", {"training.gpusPerNode": 3, "training.batchSize": 33}),
    refuse(
        "a batch that 3 nodes without GPUs cannot share",
        {"training.nodes": 3, "training.gpusPerNode": 0},
        "must be divisible",
    ),
    refuse("no nodes", {"training.nodes": 0}, "nodes"),
    accept("a learning rate with exponent", {"training.learningRate": "2e-4"}),
    accept("a learning rate as Python writes it", {"training.learningRate": "1e-05"}),
    accept("a learning rate without exponent", {"training.learningRate": "0.0002"}),
    refuse("a learning rate of 0", {"training.learningRate": "0.0"}, "must be above 0"),
    refuse("a float for the learning rate", {"training.learningRate": 2e-4}, "learningRate"),
    refuse("a learning rate that is no number", {"training.learningRate": "fast"}, "learningRate"),
    accept("warm-up", {"training.schedule": {"type": "Linear", "warmupRatio": "0.1"}}),
    refuse("nothing but warm-up", {"training.schedule": {"warmupRatio": "1"}}, "must be below 1"),
    accept("every ZeRO stage", {"training.deepspeed": {"zeroStage": 3}}),
    refuse("a ZeRO stage of 4", {"training.deepspeed": {"zeroStage": 4}}, "zeroStage"),
    refuse("raw DeepSpeed settings", {"training.deepspeed": {"config": {}}}, "config"),
    accept("no retries", {"training.retries": {"max": 0}}),
    accept("checkpoints", {"training.checkpoint": {"everySteps": 10, "keep": 1}}),
    accept("checkpoints by time", {"training.checkpoint": {"keep": 1}}),
    refuse("a checkpoint after every 0th step", {"training.checkpoint": {"everySteps": 0}}, "everySteps"),
    refuse("no checkpoint kept", {"training.checkpoint": {"keep": 0}}, "keep"),
    accept("an image", {"training.image": "registry.example.com:5000/kubetune/trainer@sha256:0a"}),
    refuse("an image with a space", {"training.image": "a b"}, "image"),
    accept(
        "resources as strings and integers",
        {"training.resources": {"limits": {"nvidia.com/gpu": 4, "memory": "64Gi", "cpu": "1.5"}}},
    ),
    refuse("a negative amount", {"training.resources": {"requests": {"cpu": -1}}}, "cpu"),
    refuse("an amount that is none", {"training.resources": {"requests": {"cpu": "many"}}}, "cpu"),
    refuse(
        "a resource that has no name", {"training.resources": {"limits": {"a b": 1}}}, "not a resource name"
    ),
    refuse(
        "a request without a name", {"training.resources": {"requests": {"/x": 1}}}, "not a resource name"
    ),
)

POD_TEMPLATE = (
    accept("an empty pod template", _template()),
    refuse("host networking", _template(hostNetwork=True), "hostNetwork"),
    refuse("a security context", _template(securityContext={}), "securityContext"),
    refuse("containers", _template(containers=[]), "containers"),
    accept("a node selector", _template(nodeSelector={"gpu.example.com/model": "a100"})),
    refuse("a node label with a space", _template(nodeSelector={"a b": "x"}), "not a label key"),
    refuse("a label value with a space", _template(nodeSelector={"a": "x y"}), "nodeSelector"),
    accept(
        "workload identity",
        _template(serviceAccountName="trainer", priorityClassName="high", schedulerName="volcano"),
    ),
    accept("pull secrets", _template(imagePullSecrets=[{"name": "a"}, {"name": "b"}])),
    refuse(
        "a pull secret twice", _template(imagePullSecrets=[{"name": "a"}, {"name": "a"}]), "imagePullSecrets"
    ),
    accept(
        "labels and annotations", _template(labels={"team": "a"}, annotations={"example.com/x": "any text"})
    ),
    refuse("a label of KubeTune", _template(labels={"kubetune.dev/stage": "x"}), "a key is reserved"),
    refuse("a label of applications", _template(labels={"app.kubernetes.io/name": "x"}), "a key is reserved"),
    refuse("a label of Jobs", _template(labels={"batch.kubernetes.io/job-name": "x"}), "a key is reserved"),
    refuse(
        "an annotation of the Deployment controller",
        _template(annotations={"deployment.kubernetes.io/revision": "1"}),
        "a key is reserved",
    ),
    refuse("host networking of all pods", {"podTemplate": {"hostNetwork": True}}, "hostNetwork"),
    refuse(
        "a reserved variable of all pods",
        {"podTemplate": {"env": [{"name": "RANK"}]}},
        "is reserved for KubeTune",
    ),
    refuse("the old label of Jobs", _template(labels={"job-name": "x"}), "a key is reserved"),
    refuse("an annotation of KubeTune", _template(annotations={"kubetune.dev/x": "x"}), "a key is reserved"),
    accept("a label set to null, as absent", _template(labels={"team": None})),
    refuse("a label without name", _template(labels={"a/": "x"}), "not a label key"),
    refuse("an annotation without name", _template(annotations={"/": "x"}), "not an annotation key"),
)

SCHEDULING = (
    accept("a toleration", _template(tolerations=[{"key": "gpu", "value": "yes", "effect": "NoSchedule"}])),
    accept("a toleration of everything", _template(tolerations=[{"operator": "Exists"}])),
    refuse("a toleration without key", _template(tolerations=[{"value": "x"}]), "needs operator Exists"),
    refuse(
        "a value of a toleration by existence",
        _template(tolerations=[{"key": "a", "operator": "Exists", "value": "x"}]),
        "operator Exists takes no value",
    ),
    accept(
        "a toleration for some time",
        _template(
            tolerations=[{"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60}]
        ),
    ),
    refuse(
        "some time without NoExecute",
        _template(tolerations=[{"key": "a", "operator": "Exists", "tolerationSeconds": 60}]),
        "needs effect NoExecute",
    ),
    accept(
        "node affinity",
        _template(
            affinity={
                "nodeAffinity": {
                    "requiredDuringSchedulingIgnoredDuringExecution": {
                        "nodeSelectorTerms": [
                            {"matchExpressions": [{"key": "gpu", "operator": "In", "values": ["a100"]}]}
                        ]
                    }
                }
            }
        ),
    ),
    accept(
        "pods apart",
        _template(
            affinity={
                "podAntiAffinity": {
                    "preferredDuringSchedulingIgnoredDuringExecution": [
                        {
                            "weight": 100,
                            "podAffinityTerm": {
                                "topologyKey": "kubernetes.io/hostname",
                                "labelSelector": {"matchLabels": {"team": "a"}},
                            },
                        }
                    ]
                }
            }
        ),
    ),
    refuse("an affinity of another kind", _template(affinity={"nested": {"deep": {}}}), "nested"),
    accept(
        "pods spread",
        _template(
            topologySpreadConstraints=[
                {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}
            ]
        ),
    ),
    accept(
        "pods spread in two ways", _template(topologySpreadConstraints=[_spread("zone"), _spread("rack")])
    ),
    refuse(
        "pods spread over zones twice",
        _template(topologySpreadConstraints=[_spread("zone"), _spread("zone", maxSkew=2)]),
        "topologySpreadConstraints",
    ),
    refuse("pods spread by nothing", _template(topologySpreadConstraints=[{"maxSkew": 1}]), "topologyKey"),
)

ENVIRONMENT = (
    accept("an environment variable", _variable("NCCL_DEBUG")),
    *(
        refuse(f"the variable {name}", _variable(name), "is reserved for KubeTune")
        for name in _RESERVED_VARIABLES
    ),
    accept("a variable that only resembles a reserved one", _variable("MY_RANK")),
    refuse("a variable with a dash", _variable("A-B"), "name"),
    refuse("a variable twice", _template(env=[{"name": "A"}, {"name": "A"}]), "env"),
    accept(
        "a variable from a Secret",
        _template(env=[{"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]),
    ),
    refuse(
        "a value and its source",
        _template(
            env=[{"name": "A", "value": "x", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]
        ),
        "exclude each other",
    ),
    refuse(
        "a source that is none",
        _template(env=[{"name": "A", "valueFrom": {}}]),
        "exactly one of secretKeyRef",
    ),
    refuse(
        "two sources of a value",
        _template(
            env=[
                {
                    "name": "A",
                    "valueFrom": {
                        "fieldRef": {"fieldPath": "metadata.name"},
                        "configMapKeyRef": {"name": "c", "key": "k"},
                    },
                }
            ]
        ),
        "exactly one of secretKeyRef",
    ),
    accept(
        "variables from a ConfigMap", _template(envFrom=[{"prefix": "APP_", "configMapRef": {"name": "c"}}])
    ),
    refuse("variables from nowhere", _template(envFrom=[{"prefix": "APP_"}]), "exactly one of secretRef"),
    refuse(
        "variables with a reserved prefix",
        _template(envFrom=[{"prefix": "MODEL_", "secretRef": {"name": "s"}}]),
        "is reserved for KubeTune",
    ),
)

VOLUMES = (
    accept("an empty directory", _volume(emptyDir={"medium": "Memory", "sizeLimit": "1Gi"})),
    accept("a claim", _volume(persistentVolumeClaim={"claimName": "c", "readOnly": True})),
    accept("a ConfigMap's files", _volume(configMap={"name": "c", "items": [{"key": "k", "path": "a/.b"}]})),
    accept("a Secret's files", _volume(secret={"secretName": "s", "defaultMode": 0o400})),
    accept(
        "a token for workload identity",
        _volume(projected={"sources": [{"serviceAccountToken": {"path": "token", "audience": "sts"}}]}),
    ),
    refuse(
        "a token for the API server",
        _volume(projected={"sources": [{"serviceAccountToken": {"path": "token"}}]}),
        "audience",
    ),
    accept("a volume of a CSI driver", _volume(csi={"driver": "secrets-store.csi.k8s.io", "readOnly": True})),
    refuse(
        "a volume with a name of KubeTune's",
        _template(volumes=[{"name": "kubetune-output", "emptyDir": {}}]),
        "prefix of KubeTune's own volumes",
    ),
    refuse("a path of the node", _volume(hostPath={"path": "/"}), "hostPath"),
    refuse("an NFS server", _volume(nfs={"server": "a", "path": "/"}), "nfs"),
    refuse("a volume of no kind", _volume(), "a volume is exactly one of"),
    refuse(
        "a volume of two kinds", _volume(emptyDir={}, configMap={"name": "c"}), "a volume is exactly one of"
    ),
    refuse("a projected source of no kind", _volume(projected={"sources": [{}]}), "set exactly one of"),
    refuse(
        "a file outside of the volume",
        _volume(configMap={"name": "c", "items": [{"key": "k", "path": "../x"}]}),
        "path",
    ),
    refuse(
        "a volume twice",
        _template(volumes=[{"name": "a", "emptyDir": {}}, {"name": "a", "emptyDir": {}}]),
        "volumes",
    ),
    accept("a mount", _mount("/data", subPath="a/b", readOnly=True)),
    accept("a mount whose path resembles a reserved one", _mount("/outputs")),
    *(
        refuse(f"a mount on {path}", _mount(path), "a reserved path")
        for path in ("/output", "/inputs/x", "/etc/kubetune", "/dev/shm", "/tmp/x", "/etc", "/dev")
    ),
    refuse("a mount on the root", _mount("/"), "mountPath"),
    refuse("a relative mount", _mount("data"), "mountPath"),
    refuse("a detour to a reserved path", _mount("/x/../output"), "mountPath"),
    refuse("a doubled slash before a reserved path", _mount("//output"), "mountPath"),
    refuse("a way out of the volume", _mount("/data", subPath=".."), "subPath"),
    accept(
        "a mount of a volume that another podTemplate may have",
        _template(volumeMounts=[{"name": "a", "mountPath": "/a"}]),
    ),
    refuse(
        "two mounts on one path",
        _template(
            volumes=[{"name": "a", "emptyDir": {}}],
            volumeMounts=[{"name": "a", "mountPath": "/a"}, {"name": "a", "mountPath": "/a"}],
        ),
        "volumeMounts",
    ),
)

_ADOPTED: Changes = {"training": ABSENT, "dataset": ABSENT, "artifact": {"uri": "pvc://adapters/intents"}}


def _adopted(**fields: Any) -> Changes:
    """A job that adopts an artifact, with these fields of it."""
    return {**_ADOPTED, "artifact": {"uri": "pvc://adapters/intents", **fields}}


ARTIFACT = (
    accept("an adapter on a claim", _ADOPTED),
    accept("an adapter of the hub", _adopted(uri="hf://org/adapter")),
    accept("a folder of a hub repository", _adopted(uri="hf://org/adapter@v1/checkpoint-500")),
    accept("an adapter in a bucket", _adopted(uri="s3://my-bucket/adapters/intents")),
    accept("an adapter with rows", {**_ADOPTED, "dataset": {"train": {"uri": "pvc://datasets/train.jsonl"}}}),
    accept("a digest", _adopted(digest=f"sha256:{'0f' * 32}")),
    accept("a Secret for an adapter", _adopted(uri="hf://org/adapter", credentials={"secretName": "hub"})),
    accept("an adopted adapter that is served", {**_ADOPTED, "serving": {"gpus": 1}}),
    refuse(
        "a mode that an artifact says itself",
        {**_ADOPTED, "serving": {"gpus": 0, "mode": "Full"}},
        "remove mode",
    ),
    refuse("neither training nor artifact", {"training": ABSENT}, "set training or artifact"),
    refuse("training and artifact", {"artifact": {"uri": "hf://org/adapter"}}, "set training or artifact"),
    refuse("training without rows", {"dataset": ABSENT}, "training needs rows"),
    refuse("an artifact without uri", {**_ADOPTED, "artifact": {}}, "uri"),
    refuse("an artifact in a ConfigMap", _adopted(uri="configMap://a/b"), "not an artifact URI"),
    refuse("an artifact by https", _adopted(uri="https://example.com/a.tar"), "not an artifact URI"),
    refuse("a way out of an artifact's claim", _adopted(uri="pvc://a/b/../c"), "segment is . or .."),
    refuse("a digest that is cut short", _adopted(digest=f"sha256:{'0f' * 8}"), "digest"),
    refuse("a Secret for a claim", _adopted(credentials={"secretName": "x"}), "only hf:// and s3:// sources"),
    refuse("a server that may be on GPUs or not", {**_ADOPTED, "serving": {}}, "served on GPUs"),
)

SERVING = (
    accept("serving", {"serving": {}}),
    accept("an adapter that is served", {"serving.mode": "Adapter", **_LORA_SERVED}),
    accept("a full fine-tune that is served", {"serving.mode": "Full", **_FULL_SERVED}),
    refuse(
        "a LoRA adapter served as Full", {"serving.mode": "Full", **_LORA_SERVED}, "Adapter serves a LoRA"
    ),
    refuse("Full served as an adapter", {"serving.mode": "Adapter", **_FULL_SERVED}, "Adapter serves a LoRA"),
    refuse("a mode of later", {"serving.mode": "Merged"}, "mode"),
    refuse("no replicas", {"serving.replicas": 0}, "replicas"),
    accept("serving on CPU", {"serving.gpus": 0}),
    accept(
        "engine arguments",
        {
            "serving.engineArgs": {
                "max-model-len": "2048",
                "max-num-seqs": "16",
                "dtype": "bfloat16",
                "gpu-memory-utilization": "0.9",
                "enforce-eager": "true",
                "tool-call-parser": "hermes",
                "reasoning-parser": "qwen3",
            }
        },
    ),
    refuse(
        "another engine argument", {"serving.engineArgs": {"trust-remote-code": "true"}}, "trust-remote-code"
    ),
    refuse("a number as engine argument", {"serving.engineArgs": {"max-model-len": 2048}}, "max-model-len"),
    refuse(
        "more memory than there is", {"serving.engineArgs": {"gpu-memory-utilization": "1.1"}}, "gpu-memory"
    ),
    accept(
        "who may reach a server",
        {
            "serving.allowFrom": [
                {"podSelector": {}},
                {"namespaceSelector": {"matchLabels": {"team": "a"}}, "podSelector": {}},
                {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}},
                {"ipBlock": {"cidr": "fd00::/8"}},
            ]
        },
    ),
    accept("a server that nobody else reaches", {"serving.allowFrom": []}),
    refuse("a peer that names nobody", {"serving.allowFrom": [{}]}, "names nobody"),
    refuse(
        "pods at an address",
        {"serving.allowFrom": [{"podSelector": {}, "ipBlock": {"cidr": "10.0.0.0/8"}}]},
        "exclude each other",
    ),
    refuse("a host instead of addresses", {"serving.allowFrom": [{"ipBlock": {"cidr": "10.0.0.1"}}]}, "cidr"),
    refuse(
        "a mount that NVIDIA's runtime reads",
        {
            "training.podTemplate": {
                "volumes": [{"name": "gpus", "emptyDir": {}}],
                "volumeMounts": [{"name": "gpus", "mountPath": "/var/run/nvidia-container-devices/all"}],
            }
        },
        "reserved path",
    ),
    accept("keys that servers ask for", {"serving.apiKey": {"secretName": "clients"}}),
    refuse("keys of nowhere", {"serving.apiKey": {}}, "secretName"),
    refuse("a key in the manifest", {"serving.apiKey": {"secretName": "a", "value": "sk-1"}}, "value"),
    refuse("keys of another namespace", {"serving.apiKey": {"secretName": "other/clients"}}, "secretName"),
    refuse(
        "vLLM's own key",
        {"serving.podTemplate": {"env": [{"name": "VLLM_API_KEY", "value": "sk-1"}]}},
        "servers ask for the keys of serving.apiKey",
    ),
    refuse(
        "vLLM's own key by reference",
        {
            "podTemplate": {
                "env": [{"name": "VLLM_API_KEY", "valueFrom": {"secretKeyRef": {"name": "a", "key": "b"}}}]
            }
        },
        "servers ask for the keys of serving.apiKey",
    ),
    refuse(
        "adapters that clients load",
        {"serving.podTemplate": {"env": [{"name": "VLLM_ALLOW_RUNTIME_LORA_UPDATING", "value": "1"}]}},
        "serve this job's model",
    ),
    refuse("a serving pod with host PID", {"serving.podTemplate": {"hostPID": True}}, "hostPID"),
    refuse(
        "a reserved variable of a serving pod",
        {"serving.podTemplate": {"env": [{"name": "KUBETUNE_X"}]}},
        "is reserved for KubeTune",
    ),
)

STORAGE = (
    accept("a size and class", {"storage": {"size": "20Gi", "storageClassName": "fast"}}),
    accept("an existing claim", {"storage": {"claimName": "shared"}}),
    accept("a claim that goes with the job", {"storage": {"whenDeleted": "Delete"}}),
    refuse(
        "a size of an existing claim",
        {"storage": {"claimName": "shared", "size": "1Gi"}},
        "has size and class",
    ),
    refuse(
        "a class of an existing claim",
        {"storage": {"claimName": "shared", "storageClassName": "fast"}},
        "has size and class",
    ),
    accept("an existing claim that stays", {"storage": {"claimName": "shared", "whenDeleted": "Retain"}}),
    refuse(
        "an existing claim that goes with the job",
        {"storage": {"claimName": "shared", "whenDeleted": "Delete"}},
        "is never deleted",
    ),
    refuse("no size", {"storage": {"size": "0"}}, "size"),
    refuse("a bucket as storage", {"storage": {"uri": "s3://bucket/x"}}, "uri"),
)

LATER = (
    refuse("evaluation", {"evaluation": {}}, "evaluation"),
    refuse("a queue", {"queue": {"name": "a"}}, "queue"),
    refuse("suspension", {"suspend": True}, "suspend"),
    refuse("a time to live", {"ttlSecondsAfterFinished": 1}, "ttlSecondsAfterFinished"),
)

UPDATES = (
    accept("the same again", {}, before={}),
    accept("another use case", {"useCase": "b"}, before={"useCase": "a"}),
    refuse("another artifact", _adopted(uri="hf://org/a"), "artifact cannot be changed", before=_ADOPTED),
    refuse("training in the place of an artifact", {}, "artifact cannot be changed", before=_ADOPTED),
    refuse(
        "rows that disappear",
        _ADOPTED,
        "dataset cannot be changed",
        before={**_ADOPTED, "dataset": {"train": {"uri": "pvc://datasets/train.jsonl"}}},
    ),
    accept("serving that appears", {"serving": {}}, before={}),
    accept("serving that disappears", {}, before={"serving": {}}),
    accept("more replicas", {"serving.replicas": 2}, before={"serving.replicas": 1}),
    accept(
        "a server that asks for keys from now on",
        {"serving.apiKey": {"secretName": "a"}},
        before={"serving": {}},
    ),
    accept(
        "a server that asks for keys no more", {"serving": {}}, before={"serving.apiKey": {"secretName": "a"}}
    ),
    accept("a default that is written out", {"training.epochs": 3}, before={}),
    accept("the same storage", {"storage": {"size": "1Gi"}}, before={"storage": {"size": "1Gi"}}),
    accept("an optional field set to null", {"model.revision": None}, before={}),
    refuse("another model", {"model.uri": "hf://org/other"}, "model cannot be changed", before={}),
    refuse("a revision that appears", {"model.revision": "main"}, "model cannot be changed", before={}),
    refuse(
        "credentials that disappear",
        {},
        "model cannot be changed",
        before={"model.credentials": {"secretName": "a"}},
    ),
    refuse("other rows", {"dataset.train.uri": "pvc://a/b"}, "dataset cannot be changed", before={}),
    refuse(
        "validation rows that disappear",
        {},
        "dataset cannot be changed",
        before={"dataset.validation": {"uri": "pvc://a/b"}},
    ),
    refuse("another seed", {"training.seed": 1}, "training cannot be changed", before={}),
    refuse("a pod template that appears", _template(), "training cannot be changed", before={}),
    refuse(
        "a limit of steps that disappears", {}, "training cannot be changed", before={"training.maxSteps": 9}
    ),
    refuse(
        "a common pod template that appears",
        {"podTemplate": {}},
        "podTemplate cannot be changed",
        before={},
    ),
    refuse(
        "a common pod template that disappears",
        {},
        "podTemplate cannot be changed",
        before={"podTemplate": {"labels": {"a": "b"}}},
    ),
    refuse(
        "another common pod template",
        {"podTemplate": {"labels": {"a": "c"}}},
        "podTemplate cannot be changed",
        before={"podTemplate": {"labels": {"a": "b"}}},
    ),
    accept(
        "the same common pod template",
        {"podTemplate": {"labels": {"a": "b"}}},
        before={"podTemplate": {"labels": {"a": "b"}}},
    ),
    accept("another pod template of servers", {"serving.podTemplate": {}}, before={"serving": {}}),
    accept("others who may reach servers", {"serving.allowFrom": []}, before={"serving": {}}),
    refuse("storage that appears", {"storage": {}}, "storage cannot be changed", before={}),
    refuse("storage that disappears", {}, "storage cannot be changed", before={"storage": {"size": "1Gi"}}),
    refuse(
        "more storage",
        {"storage": {"size": "2Gi"}},
        "storage cannot be changed",
        before={"storage": {"size": "1Gi"}},
    ),
)

_METRICS = [{"type": "ExactMatch"}]
_ASKED: Changes = {"dataset.validationFraction": "0.1", "evaluation": {"metrics": _METRICS}}


def _evaluation(**fields: Any) -> Changes:
    return _ASKED | {"evaluation": {"metrics": _METRICS} | fields}


def _metric(**fields: Any) -> Changes:
    return _evaluation(metrics=[fields])


_JUDGE: Json = {"url": "https://models.example.com/v1", "model": "m", "rubric": "Polite."}

_OWN_ROWS = {"metrics": _METRICS, "dataset": {"uri": "pvc://data/test.jsonl"}}

EVALUATION: tuple[Case, ...] = (
    accept("an evaluation with the validation rows", _ASKED),
    accept(
        "an evaluation with its own rows",
        {"evaluation": {"metrics": _METRICS, "dataset": {"uri": "pvc://data/test.jsonl"}}},
    ),
    refuse(
        "an evaluation without rows", {"evaluation": {"metrics": _METRICS}}, "there are no rows to evaluate"
    ),
    accept(
        "an adopted adapter that is compared with its base",
        {**_ADOPTED, "evaluation": {**_OWN_ROWS, "baselines": [{"type": "Base"}]}},
    ),
    refuse(
        "examples without training rows",
        {**_ADOPTED, "evaluation": {**_OWN_ROWS, "baselines": [{"type": "FewShot"}]}},
        "take their examples from dataset.train",
    ),
    refuse("an evaluation without metrics", _evaluation(metrics=[]), "evaluation.metrics"),
    refuse(
        "rows to evaluate that are plain text",
        _evaluation(dataset={"uri": "pvc://d/a", "format": "Text"}),
        "Text",
    ),
    refuse(
        "an evaluation that appears",
        _ASKED,
        "evaluation cannot be changed",
        before={"dataset.validationFraction": "0.1"},
    ),
    refuse("another evaluation", _evaluation(maxRows=5), "evaluation cannot be changed", before=_ASKED),
    accept("the same evaluation", _ASKED, before=_ASKED),
    accept(
        "two metrics of one type with names",
        _evaluation(
            metrics=[{"type": "ExactMatch"}, {"type": "ExactMatch", "name": "loose", "ignore": ["Case"]}]
        ),
    ),
    refuse(
        "two metrics with one name",
        _evaluation(metrics=[{"type": "ExactMatch"}, {"type": "Contains", "name": "ExactMatch"}]),
        "two metrics have one name",
    ),
    *(
        accept(f"a metric {fields['type']}", _metric(**fields))
        for fields in (
            {"type": "Contains", "ignore": ["Case", "Articles"]},
            {"type": "Regex", "pattern": "^[a-z]+$"},
            {"type": "TokenF1"},
            {"type": "RougeL"},
            {"type": "NumericMatch", "tolerance": "0.5"},
            {"type": "JSONSchema", "schema": '{"type": "object"}'},
            {"type": "ToolCall"},
            {"type": "Judge", "judge": _JUDGE | {"credentials": {"secretName": "key"}}},
        )
    ),
    refuse("Regex without a pattern", _metric(type="Regex"), "Regex needs pattern"),
    refuse("JSONSchema without a schema", _metric(type="JSONSchema"), "JSONSchema needs schema"),
    refuse("Judge without a judge", _metric(type="Judge"), "Judge needs judge"),
    refuse(
        "what TokenF1 ignores", _metric(type="TokenF1", ignore=["Case"]), "is for ExactMatch and Contains"
    ),
    refuse("a pattern of Contains", _metric(type="Contains", pattern="a"), "is for Regex alone"),
    refuse("a tolerance of RougeL", _metric(type="RougeL", tolerance="1"), "is for NumericMatch alone"),
    refuse("a schema of Regex", _metric(type="Regex", pattern="a", schema="{}"), "is for JSONSchema alone"),
    refuse("a judge of ExactMatch", _metric(type="ExactMatch", judge=_JUDGE), "is for Judge alone"),
    refuse("a judge without a scheme", _metric(type="Judge", judge=_JUDGE | {"url": "models/v1"}), "url"),
    accept("no baselines", _evaluation(baselines=[])),
    accept(
        "all baselines",
        _evaluation(baselines=[{"type": "Base"}, {"type": "FewShot", "examples": 5}, {"type": "Retrieval"}]),
    ),
    refuse("a baseline twice", _evaluation(baselines=[{"type": "Base"}, {"type": "Base"}]), "baselines"),
    refuse(
        "examples for Base",
        _evaluation(baselines=[{"type": "Base", "examples": 1}]),
        "asked without examples",
    ),
    accept("a gate", _evaluation(gate={"metric": "ExactMatch", "minScore": "0.6", "minDelta": "0.05"})),
    accept("a gate with all defaults", _evaluation(gate={})),
    accept("a gate without baselines", _evaluation(baselines=[], gate={"minScore": "0.6"})),
    accept(
        "what must not regress",
        _evaluation(gate={"mustNotRegress": {"maxDrop": "0.02", "dataset": {"uri": "hf://o/n/t.jsonl"}}}),
    ),
    refuse("a gate on a metric that is none", _evaluation(gate={"metric": "BLEU"}), "none of the metrics"),
    refuse("a gate with nothing to compare", _evaluation(baselines=[], gate={}), "no baseline to be better"),
    refuse("a score above 1", _evaluation(gate={"minScore": "60"}), "scores are from 0 to 1"),
    refuse("a difference above 1", _evaluation(gate={"minDelta": "5"}), "scores are from 0 to 1"),
    refuse("full confidence", _evaluation(gate={"confidence": "1"}), "at least 0.5 and below 1"),
    accept("a confidence", _evaluation(gate={"confidence": "0.9"})),
)

CASES: tuple[Case, ...] = (
    *EVALUATION,
    *NAMES,
    *MODEL,
    *DATASET,
    *TRAINING,
    *POD_TEMPLATE,
    *SCHEDULING,
    *ENVIRONMENT,
    *VOLUMES,
    *ARTIFACT,
    *SERVING,
    *STORAGE,
    *LATER,
    *UPDATES,
)
