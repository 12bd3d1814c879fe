{{- define "kubetune.monitorLabels" -}}
{{ include "kubetune.labels" . }}
{{- with .Values.monitoring.additionalLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "kubetune.scrape" -}}
path: /metrics
{{- with .Values.monitoring.interval }}
interval: {{ . }}
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
{{- end }}

{{- define "kubetune.scrapeLimits" -}}
{{- range $name, $limit := .Values.monitoring.podMonitors.limits }}
{{- if ne (toString $limit) "0" }}
{{ $name }}: {{ toJson $limit }}
{{- end }}
{{- end }}
{{- end }}
