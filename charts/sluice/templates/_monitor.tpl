{{/*
What a ServiceMonitor and a PodMonitor have in common. Takes a list: the root, the monitor's values,
the key under which the endpoints stand.
*/}}
{{- define "sluice.monitored" -}}
{{- $values := index . 1 -}}
namespaceSelector:
  matchNames:
    - {{ (index . 0).Release.Namespace }}
{{ index . 2 }}:
  - port: admin
    path: /metrics
    {{- range $key := list "interval" "scrapeTimeout" }}
    {{- with get $values $key }}
    {{ $key }}: {{ . }}
    {{- end }}
    {{- end }}
    {{- range $key := list "relabelings" "metricRelabelings" }}
    {{- with get $values $key }}
    {{ $key }}:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    {{- end }}
{{- end }}
