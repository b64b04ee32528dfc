{{- define "streamgauge.name" -}}
{{- if contains "streamgauge" .Release.Name }}{{ .Release.Name }}{{ else }}{{ printf "%s-streamgauge" .Release.Name }}{{ end }}
{{- end }}

{{- define "streamgauge.selector" -}}
app.kubernetes.io/name: streamgauge
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "streamgauge.labels" -}}
{{ include "streamgauge.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}
