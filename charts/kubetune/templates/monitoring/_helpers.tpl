{{- define "kubetune.monitorLabels" -}}
{{ include "kubetune.labelsWith" (dict "root" . "more" .Values.monitoring.additionalLabels) }}
{{- end }}

{{- define "kubetune.scrape" -}}
path: /metrics
{{- with .Values.monitoring.interval }}
interval: {{ . }}
{{- end }}
{{- with .Values.monitoring.podMonitors.metricRelabelings }}
metricRelabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "kubetune.relabelings" -}}
{{- with .Values.monitoring.podMonitors.relabelings }}
{{- toYaml . }}
{{- end }}
{{- end }}

{{- define "kubetune.monitoredNamespaces" -}}
namespaceSelector:
{{- with .Values.settings.watchNamespaces }}
  matchNames:
    {{- toYaml . | nindent 4 }}
{{- else }}
  any: true
{{- end }}
{{- end }}

{{- /* A job's owner chooses its images: what they serve is bounded, and leads Prometheus nowhere else. */}}
{{- define "kubetune.scrapeOfStrangers" -}}
honorLabels: false
followRedirects: false
{{ include "kubetune.scrape" . }}
relabelings:
  # The job's name, as the operator's own series have it.
  - sourceLabels: [__meta_kubernetes_pod_label_kubetune_dev_finetunejob]
    targetLabel: finetunejob
  {{- include "kubetune.relabelings" . | nindent 2 }}
{{- end }}

{{- define "kubetune.scrapeLimits" -}}
{{- range $name, $limit := .Values.monitoring.podMonitors.limits }}
{{- if ne (toString $limit) "0" }}
{{ $name }}: {{ toJson $limit }}
{{- end }}
{{- end }}
{{- end }}
