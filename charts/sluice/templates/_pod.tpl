{{/* The pod of the Deployment or the DaemonSet. */}}
{{- define "sluice.podTemplate" -}}
metadata:
  labels:
    {{- include "sluice.labels" . | nindent 4 }}
    app.kubernetes.io/component: proxy
    {{- with .Values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- $annotations := mergeOverwrite (dict) .Values.commonAnnotations .Values.podAnnotations }}
  {{- if .Values.restartOnConfigChange }}
  {{- $_ := set $annotations "checksum/config" (include "sluice.config" . | sha256sum) }}
  {{- end }}
  {{- with $annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  serviceAccountName: {{ include "sluice.serviceAccountName" . }}
  automountServiceAccountToken: {{ .Values.serviceAccount.automount }}
  # A Service called "sluice" would put SLUICE_PORT and more among the environment variables.
  enableServiceLinks: false
  {{- with .Values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.podSecurityContext }}
  securityContext:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  terminationGracePeriodSeconds: {{ include "sluice.gracePeriod" . }}
  {{- with .Values.extraInitContainers }}
  initContainers:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - name: sluice
      {{- include "sluice.container" . | nindent 6 }}
    {{- with .Values.extraContainers }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  volumes:
    - name: config
      configMap:
        name: {{ include "sluice.configMapName" . }}
    {{- range .Values.tlsSecrets }}
    - name: tls-{{ .name }}
      secret:
        secretName: {{ .secretName }}
    {{- end }}
    {{- with .Values.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with include "sluice.placement" . | trim }}
  {{- . | nindent 2 }}
  {{- end }}
{{- end }}

{{- define "sluice.container" -}}
image: {{ include "sluice.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
{{- with .Values.securityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
args:
  - run
  - --config
  - /etc/sluice/{{ .Values.configKey }}
  {{- with .Values.extraArgs }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
env:
  - name: POD_NAME
    valueFrom:
      fieldRef:
        fieldPath: metadata.name
  - name: POD_NAMESPACE
    valueFrom:
      fieldRef:
        fieldPath: metadata.namespace
  - name: SLUICE_ADMIN_LISTEN
    value: {{ printf "%s:%v" .Values.admin.address .Values.admin.port | quote }}
  # For the subcommands: kubectl exec POD -- sluice status
  - name: SLUICE_ADMIN
    value: {{ printf "http://127.0.0.1:%v" .Values.admin.port }}
  - name: SLUICE_DRAIN_MIN_DELAY
    value: {{ .Values.drain.minDelay }}
  - name: SLUICE_DRAIN_TIMEOUT
    value: {{ .Values.drain.timeout }}
  {{- with .Values.logLevel }}
  - name: SLUICE_LOG_LEVEL
    value: {{ . }}
  {{- end }}
  {{- with .Values.extraEnvs }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with .Values.extraEnvFrom }}
envFrom:
  {{- toYaml . | nindent 2 }}
{{- end }}
ports:
  {{- range $name, $port := .Values.containerPorts }}
  - name: {{ $name }}
    containerPort: {{ $port }}
    {{- with get $.Values.hostPorts $name }}
    hostPort: {{ . }}
    {{- end }}
    protocol: TCP
  {{- end }}
  - name: admin
    containerPort: {{ .Values.admin.port }}
    protocol: TCP
{{- range $kind := list "startupProbe" "livenessProbe" "readinessProbe" }}
{{- with get $.Values $kind }}
{{ $kind }}:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- with .Values.resources }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
volumeMounts:
  # The directory, never a subPath: that would not follow an edit.
  - name: config
    mountPath: /etc/sluice
    readOnly: true
  {{- range .Values.tlsSecrets }}
  - name: tls-{{ .name }}
    mountPath: /etc/sluice-tls/{{ .name }}
    readOnly: true
  {{- end }}
  {{- with .Values.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{/* Where the pod goes, and with which network. */}}
{{- define "sluice.placement" -}}
{{- if .Values.hostNetwork }}
hostNetwork: true
{{- end }}
{{- with default (ternary "ClusterFirstWithHostNet" "" .Values.hostNetwork) .Values.dnsPolicy }}
dnsPolicy: {{ . }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.runtimeClassName }}
runtimeClassName: {{ . }}
{{- end }}
{{- with .Values.schedulerName }}
schedulerName: {{ . }}
{{- end }}
{{- range $key := list "dnsConfig" "hostAliases" "nodeSelector" "tolerations" "affinity" }}
{{- with get $.Values $key }}
{{ $key }}:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- with .Values.topologySpreadConstraints }}
topologySpreadConstraints:
  {{- range . }}
  - {{- $selector := dict "labelSelector" (dict "matchLabels" (include "sluice.selectorLabels" $ | fromYaml)) }}
    {{- mergeOverwrite $selector . | toYaml | nindent 4 }}
  {{- end }}
{{- end }}
{{- end }}
