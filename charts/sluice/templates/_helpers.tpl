{{/* Names. */}}
{{- define "sluice.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* 53, so that "-dashboard" fits behind it. */}}
{{- define "sluice.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 53 | trimSuffix "-" }}
{{- else }}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 53 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 53 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{- define "sluice.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "sluice.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "sluice.configMapName" -}}
{{- default (include "sluice.fullname" .) .Values.existingConfigMap }}
{{- end }}

{{- define "sluice.image" -}}
{{- if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) }}
{{- end }}
{{- end }}

{{/* Labels and annotations. */}}
{{- define "sluice.instanceLabels" -}}
app.kubernetes.io/name: {{ include "sluice.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* Of the proxy's pods alone: the pod of `helm test` must not become an endpoint. */}}
{{- define "sluice.selectorLabels" -}}
{{ include "sluice.instanceLabels" . }}
app.kubernetes.io/component: proxy
{{- end }}

{{- define "sluice.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "sluice.instanceLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/*
An object's metadata. Takes a list: the root, the name, and optionally a map with namespace,
labels and annotations of its own.
*/}}
{{- define "sluice.metadata" -}}
{{- $root := index . 0 }}
{{- $own := dict }}
{{- if gt (len .) 2 }}{{ $own = index . 2 }}{{ end -}}
name: {{ index . 1 }}
namespace: {{ default $root.Release.Namespace (get $own "namespace") }}
labels:
  {{- include "sluice.labels" $root | nindent 2 }}
  {{- with get $own "labels" }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with mergeOverwrite (dict) $root.Values.commonAnnotations (default (dict) (get $own "annotations")) }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* The configuration. */}}
{{- define "sluice.config" -}}
{{- if kindIs "string" .Values.config }}
{{- .Values.config }}
{{- else }}
{{- toYaml .Values.config }}
{{- end }}
{{- end }}

{{/* The ports that the configuration listens on, as a JSON list under "ports". */}}
{{- define "sluice.listenPorts" -}}
{{- $config := include "sluice.config" . | fromYaml }}
{{- if hasKey $config "Error" }}{{ fail (printf "config is not YAML: %s" $config.Error) }}{{ end }}
{{- $listen := dig "server" "listen" nil $config }}
{{- $ports := list }}
{{- range (kindIs "slice" $listen | ternary $listen (list $listen)) }}
{{- $address := kindIs "map" . | ternary . (dict "address" .) }}
{{- $ports = append $ports (toString (get $address "address") | regexFind "[0-9]+$") }}
{{- end }}
{{- dict "ports" $ports | toJson }}
{{- end }}

{{/* A port of the container on which nothing listens is a Service that never answers. */}}
{{- define "sluice.checkPorts" -}}
{{- if not .Values.existingConfigMap }}
{{- $ports := (include "sluice.listenPorts" . | fromJson).ports }}
{{- range $name, $port := .Values.containerPorts }}
{{- if not (has (toString $port) $ports) }}
{{- fail (printf "containerPorts.%s is %v, but server.listen in config has only: %s" $name $port (join ", " $ports)) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* A duration such as 250ms, 5s or 1m in whole seconds, rounded up. */}}
{{- define "sluice.seconds" -}}
{{- $number := regexFind "^[0-9]+" . | int }}
{{- $unit := regexFind "[a-z]+$" . }}
{{- if eq $unit "ms" }}{{ divf $number 1000 | ceil }}
{{- else }}{{ mul $number (get (dict "s" 1 "m" 60 "h" 3600) $unit) }}
{{- end }}
{{- end }}

{{- define "sluice.gracePeriod" -}}
{{- $drain := add (include "sluice.seconds" .Values.drain.minDelay) (include "sluice.seconds" .Values.drain.timeout) }}
{{- $given := get .Values "terminationGracePeriodSeconds" }}
{{- if not $given }}
{{- add $drain 5 }}
{{- else if lt (int $given) (int $drain) }}
{{- fail (printf "terminationGracePeriodSeconds is %v, but drain.minDelay and drain.timeout take %v: the kubelet would kill before the drain ends" $given $drain) }}
{{- else }}
{{- $given }}
{{- end }}
{{- end }}
