{{- define "kubetune.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 53 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 53 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 53 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "kubetune.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "kubetune.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "kubetune.gatewayName" -}}
{{ include "kubetune.fullname" . }}-gateway
{{- end }}

{{- define "kubetune.gatewayServiceAccountName" -}}
{{- if .Values.gateway.serviceAccount.create }}
{{- default (include "kubetune.gatewayName" .) .Values.gateway.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.gateway.serviceAccount.name }}
{{- end }}
{{- end }}

{{- /* JSON: the namespaces that the gateway serves; none when it serves all. */ -}}
{{- define "kubetune.gatewayNamespaces" -}}
{{- .Values.gateway.namespaces | default .Values.settings.watchNamespaces | default list | toJson }}
{{- end }}

{{- define "kubetune.leaseName" -}}
{{- default (include "kubetune.fullname" .) .Values.settings.leaseName }}
{{- end }}

{{- define "kubetune.leaseNamespace" -}}
{{- default .Release.Namespace .Values.settings.leaseNamespace }}
{{- end }}

{{- /* What the operator's pod is selected by: never changed, since a Deployment's selector is immutable. */ -}}
{{- define "kubetune.selectorLabels" -}}
app.kubernetes.io/name: kubetune
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end }}

{{- /* What the gateway's pods are selected by. */ -}}
{{- define "kubetune.gatewaySelectorLabels" -}}
{{- merge (dict "app.kubernetes.io/component" "gateway") (include "kubetune.selectorLabels" . | fromYaml) | toYaml }}
{{- end }}

{{- /* The labels that the chart gives by itself: no value may set them. */ -}}
{{- define "kubetune.ownLabels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "kubetune.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- /* Labels of an object: (dict "root" $ "component" <name, or "operator"> "more" <dict>). */ -}}
{{- define "kubetune.labelsWith" -}}
{{- $own := include "kubetune.ownLabels" .root | fromYaml }}
{{- with .component }}{{ $_ := set $own "app.kubernetes.io/component" . }}{{ end }}
{{- merge $own (.more | default dict) (.root.Values.commonLabels | default dict) | toYaml }}
{{- end }}

{{- define "kubetune.labels" -}}
{{- include "kubetune.labelsWith" (dict "root" .) }}
{{- end }}

{{- /* The field `annotations` of an object, if there are any: (dict "root" $ "more" <dict>). */ -}}
{{- define "kubetune.annotations" -}}
{{- with merge dict (.more | default dict) (.root.Values.commonAnnotations | default dict) }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- /* Labels and annotations of an object, with the parameters of both: (dict "root" $ "component" "labels" "annotations"). */ -}}
{{- define "kubetune.metadata" -}}
labels:
  {{- include "kubetune.labelsWith" (dict "root" .root "component" .component "more" .labels) | nindent 2 }}
{{- include "kubetune.annotations" (dict "root" .root "more" .annotations) }}
{{- end }}

{{- /* Reference of an image: (dict "image" <values> "registry" <prefix> "tag" <default tag>). */ -}}
{{- define "kubetune.image" -}}
{{- if .registry }}{{ trimSuffix "/" .registry }}/{{ end }}{{ .image.repository }}
{{- if .image.digest }}@{{ .image.digest }}{{ else }}:{{ default .tag .image.tag }}{{ end }}
{{- end }}

{{- define "kubetune.globalRegistry" -}}
{{- (.Values.global | default dict).imageRegistry | default "" }}
{{- end }}

{{- /* One of KubeTune's own: (dict "root" $ "image" <values>). */ -}}
{{- define "kubetune.ownImage" -}}
{{- $registry := include "kubetune.globalRegistry" .root | default .root.Values.imageRegistry }}
{{- include "kubetune.image" (dict "image" .image "registry" $registry "tag" .root.Chart.AppVersion) }}
{{- end }}

{{- define "kubetune.operatorImage" -}}
{{- include "kubetune.ownImage" (dict "root" . "image" .Values.image) }}
{{- end }}

{{- define "kubetune.gatewayImage" -}}
{{- include "kubetune.ownImage" (dict "root" . "image" .Values.gateway.image) }}
{{- end }}

{{- define "kubetune.trainerImage" -}}
{{- include "kubetune.ownImage" (dict "root" . "image" .Values.settings.trainerImage) }}
{{- end }}

{{- /* Empty where `servingImage` serves without GPUs, too. */ -}}
{{- define "kubetune.servingCpuImage" -}}
{{- with .Values.settings.servingCpuImage }}
{{- if .repository }}{{ include "kubetune.ownImage" (dict "root" $ "image" .) }}{{ end }}
{{- end }}
{{- end }}

{{- /* It has its registry in its repository, which is what `global.imageRegistry` takes the place of. */ -}}
{{- define "kubetune.servingImage" -}}
{{- $image := .Values.settings.servingImage }}
{{- with include "kubetune.globalRegistry" . }}
{{- $parts := splitList "/" $image.repository }}
{{- if and (rest $parts) (regexMatch "[.:]|^localhost$" (first $parts)) }}{{ $parts = rest $parts }}{{ end }}
{{- $image = merge (dict "repository" (printf "%s/%s" (trimSuffix "/" .) (join "/" $parts))) $image }}
{{- end }}
{{- include "kubetune.image" (dict "image" $image "tag" "latest") }}
{{- end }}

{{- /* JSON: names of pull secrets, which people write as a name or as {name: ...}. */ -}}
{{- define "kubetune.pullSecrets" -}}
{{- $names := list }}
{{- range concat (.Values.settings.imagePullSecrets | default list) ((.Values.global | default dict).imagePullSecrets | default list) }}
{{- if kindIs "map" . }}{{ $names = append $names .name }}{{ else }}{{ $names = append $names . }}{{ end }}
{{- end }}
{{- $names | uniq | toJson }}
{{- end }}

{{- /* The field `imagePullSecrets` of a pod, if there are any. */ -}}
{{- define "kubetune.podPullSecrets" -}}
{{- with include "kubetune.pullSecrets" . | fromJsonArray }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end }}

{{- define "kubetune.podSecurityContext" -}}
runAsNonRoot: true
{{- with .Values.settings.runAsUser }}
runAsUser: {{ int64 . }}
{{- end }}
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "kubetune.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

