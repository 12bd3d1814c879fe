{{- /* All that the operator may do in a watched namespace; the code that does it is operator/kubetune/cluster/kube/client.py
and operator/kubetune/cluster/watch.py. Neither Secrets nor any wildcard: a job's Secrets are only named to the kubelet. */ -}}
{{- define "kubetune.rules" -}}
- apiGroups: [kubetune.dev]
  resources: [finetunejobs]
  verbs:
    - get # read live before a child that once existed is made again
    - list # the watch's start, and the relist of metadata
    - watch # what is wanted
- apiGroups: [kubetune.dev]
  resources: [finetunejobs/status]
  verbs:
    - patch # the only thing that is written on a FineTuneJob
- apiGroups: [kubetune.dev]
  resources: [finetunejobs/finalizers]
  verbs:
    - update # blockOwnerDeletion in children's owner references, where that is enforced (OpenShift)
- apiGroups: [batch]
  resources: [jobs]
  verbs:
    - get # whose it is when its name is taken
    - list # the watch's start, the relist of metadata, and whether an earlier job of the name still has one
    - watch # how prepare and the attempts of training go
    - create # prepare, and each attempt of training; they are deleted with their FineTuneJob, by the collector
- apiGroups: [""]
  resources: [pods]
  verbs:
    - list # the watch's start, why a pod waits, and whether one of an earlier job still runs
    - watch # how trainer pods ended: exit code and termination message
- apiGroups: [""]
  resources: [configmaps]
  verbs:
    - get # whose it is when its name is taken
    - list # the relist of metadata
    - create # the frozen configuration of a job, and the guard of its server
    - delete # the guard, when the job wants no serving any more or servers have a newer one
- apiGroups: [""]
  resources: [services]
  verbs:
    - get # whose it is when its name is taken, and whether it still selects its pods
    - list # the relist of metadata
    - create # the trainers' headless Service, and the public one
    - delete # when the job wants no serving any more
- apiGroups: [apps]
  resources: [deployments]
  verbs:
    - get # whose it is when its name is taken
    - list # the watch's start, and the relist of metadata
    - watch # how the rollout of a server goes
    - create # server-side apply creates what is missing
    - patch # server-side apply
    - delete # when the job wants no serving any more
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs:
    - get # whose it is when its name is taken, and why it is pending
    - list # the relist of metadata
    - create # the output claim; it is never deleted by the operator
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs:
    - get # whose it is when its name is taken
    - list # the relist of metadata
    - create # who may reach a job's pods, and where these may get
    - delete # when another takes its place, and when the server that it is for is not wanted any more
- apiGroups: [""]
  resources: [events]
  verbs:
    - list # why a pod or a claim waits; this API shows the Events of both
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs:
    - create # changes of a job's reason, for kubectl describe
{{- end }}

{{- /* All that it may do in the namespace of its Lease. */ -}}
{{- define "kubetune.leaseRules" -}}
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  resourceNames: [{{ include "kubetune.leaseName" . | quote }}]
  verbs:
    - get # who acts
    - update # take it, renew it, give it back
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs:
    - create # when there is none yet; a name cannot be demanded of what is created
{{- end }}
