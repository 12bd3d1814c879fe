{{- define "kubetune.policyName" -}}
{{ include "kubetune.fullname" .root }}-{{ .policy }}
{{- end }}

{{- /* Head of a policy, down to what it matches: (dict "root" $ "policy" <name>). */ -}}
{{- define "kubetune.policy" -}}
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata:
  name: {{ include "kubetune.policyName" . }}
  {{- include "kubetune.metadata" (dict "root" .root) | nindent 2 }}
spec:
  failurePolicy: Fail
{{- end }}

{{- /* Its binding: in the watched namespaces, if "watched" is true and there are any. */ -}}
{{- define "kubetune.policyBinding" -}}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: {{ include "kubetune.policyName" . }}
  {{- include "kubetune.metadata" (dict "root" .root) | nindent 2 }}
spec:
  policyName: {{ include "kubetune.policyName" . }}
  validationActions: [Deny]
  {{- if and .watched .root.Values.settings.watchNamespaces }}
  matchResources:
    namespaceSelector:
      matchExpressions:
        - key: kubernetes.io/metadata.name
          operator: In
          values:
            {{- toYaml .root.Values.settings.watchNamespaces | nindent 12 }}
  {{- end }}
{{- end }}

{{- /* What policies on FineTuneJobs match. */ -}}
{{- define "kubetune.policyOnJobs" -}}
matchConstraints:
  resourceRules:
    - apiGroups: [kubetune.dev]
      apiVersions: ["*"]
      operations: [CREATE, UPDATE]
      resources: [finetunejobs]
{{- end }}

{{- /* A job that was there before the policy can still be labelled, and get what is none of its spec. */ -}}
{{- define "kubetune.policyOnSpecs" -}}
{{ include "kubetune.policyOnJobs" . }}
matchConditions:
  - name: says-something-new
    expression: request.operation == 'CREATE' || object.spec != oldObject.spec
{{- end }}

{{- /* CEL: whether one of "patterns" names "name"; a pattern with a star at its end is a beginning. */ -}}
{{- define "kubetune.celAllows" -}}
{{- $names := list }}{{ $beginnings := list }}
{{- range .patterns }}
{{- if hasSuffix "*" . }}{{ $beginnings = append $beginnings (trimSuffix "*" .) }}{{ else }}{{ $names = append $names . }}{{ end }}
{{- end -}}
({{ .name }} in {{ toJson $names }} || {{ toJson $beginnings }}.exists(beginning, {{ .name }}.startsWith(beginning)))
{{- end }}

{{- /* CEL: the repositories of a list of images in full, without tag and digest, as spec/platform_policy.py has it. */ -}}
{{- define "kubetune.celRepositories" -}}
{{ . }}.map(i, i.split('@')[0])
  .map(i, i.lastIndexOf(':') > i.lastIndexOf('/') ? i.substring(0, i.lastIndexOf(':')) : i)
  .map(i, !i.contains('/') ? 'docker.io/library/' + i
    : !i.split('/')[0].matches('[.:]|^localhost$') ? 'docker.io/' + i
    : i.matches('^docker[.]io/[^/]*$') ? 'docker.io/library/' + i.substring(10)
    : i)
{{- end }}

{{- /* A repository, or the beginning of some, with its registry. */ -}}
{{- define "kubetune.repositoryInFull" -}}
{{- $first := first (splitList "/" .) }}
{{- if eq . "*" }}*
{{- else if not (contains "/" .) }}docker.io/library/{{ . }}
{{- else if not (regexMatch "[.:]|^localhost$" $first) }}docker.io/{{ . }}
{{- else if regexMatch "^docker[.]io/[^/]*$" . }}docker.io/library/{{ trimPrefix "docker.io/" . }}
{{- else }}{{ . }}
{{- end }}
{{- end }}

{{- /* JSON: the repositories of settings.allowedImages in full. */ -}}
{{- define "kubetune.allowedRepositories" -}}
{{- $found := list }}
{{- range .Values.settings.allowedImages }}
{{- $found = append $found (include "kubetune.repositoryInFull" .) }}
{{- end }}
{{- toJson $found }}
{{- end }}

{{- /* CEL: the repositories of the platform's own images. They are read from the images here, so that whoever puts another
image into a rendered policy has put in its repository. */ -}}
{{- define "kubetune.celPlatform" -}}
{{- $images := list (include "kubetune.trainerImage" .) (include "kubetune.servingImage" .) }}
{{- with include "kubetune.servingCpuImage" . }}{{ $images = append $images . }}{{ end }}
{{- include "kubetune.celRepositories" (toJson $images) }}
{{- end }}

{{- define "kubetune.operatorUser" -}}
system:serviceaccount:{{ .Release.Namespace }}:{{ include "kubetune.serviceAccountName" . }}
{{- end }}
