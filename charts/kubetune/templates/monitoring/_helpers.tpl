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
