"""Words of kubectl and helm that pages may use; one that is missing here is added."""

from __future__ import annotations


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


KUBECTL = _words(
    """annotate api-resources apply auth config cordon cp create debug delete describe diff drain edit events
    exec explain expose get kustomize label logs patch port-forward proxy replace rollout run scale set top
    uncordon version wait"""
)
HELM = _words(
    """dependency get history install lint list package pull push registry repo rollback show status template
    test uninstall upgrade version"""
)
TAKING = _words(
    """-n --namespace --context --kubeconfig -l --selector -o --output -f --filename -c --container -p --patch
    --type --for --timeout --field-manager --tail --since --replicas --image --grace-period --sort-by -L
    --label-columns --from-file --from-literal --group --user --clusterrole --role --serviceaccount --hard
    --values --set --set-string --version --overrides --subresource --max-log-requests
    --raw --field-selector"""
)
"""Options whose value is the next word."""

NAMING = _words("annotate delete describe edit exec expose get label logs patch port-forward scale top wait")
"""Verbs whose first argument is a kind, or a kind and a name."""

BY_POD = _words("logs exec port-forward")
"""Of these, those whose argument without a kind is a pod."""

KINDS = _words(
    """all configmap cm cronjob crd customresourcedefinition deployment deployments deploy event events
    finetunejob finetunejobs ftj horizontalpodautoscaler hpa ingress job jobs lease leases namespace
    namespaces ns networkpolicy networkpolicies node nodes persistentvolumeclaim pvc pv pod pods
    podmonitor podmonitors po prometheusrule prometheusrules replicaset resourcequota quota rolebinding
    secret secrets service services svc serviceaccount sa storageclass sc validatingadmissionpolicy
    validatingadmissionpolicies volumesnapshot volumesnapshots localqueue clusterqueue workload
    workloads"""
)
FINE_TUNE_JOB = _words("ftj finetunejob finetunejobs")

OTHER_CONDITIONS = _words("Ready Available Complete Failed Established")
"""Of pods, Deployments, Jobs and CustomResourceDefinitions."""
