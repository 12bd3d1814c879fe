{{- /* A schema, or what it refers to: (dict "all" <whole schema> "schema" <part>). JSON. */ -}}
{{- define "kubetune.schemaOf" -}}
{{- $name := index .schema "$ref" | default "" | trimPrefix "#/definitions/" }}
{{- empty $name | ternary .schema (index .all.definitions $name) | toJson }}
{{- end }}

{{- /* Adds the paths of values that the schema does not allow to "found": (dict "all" "schema" "value" "path" "found"). */ -}}
{{- define "kubetune.findUnknown" -}}
{{- $schema := include "kubetune.schemaOf" . | fromJson }}
{{- if and (kindIs "map" .value) $schema.properties }}
{{- range $key, $value := .value }}
{{- $path := empty $.path | ternary $key (printf "%s.%s" $.path $key) }}
{{- if hasKey $schema.properties $key }}
{{- include "kubetune.findUnknown" (dict "all" $.all "schema" (index $schema.properties $key) "value" $value "path" $path "found" $.found) }}
{{- else if not $schema.additionalProperties }}
{{- $_ := set $.found "paths" (append $.found.paths $path) }}
{{- end }}
{{- end }}
{{- else if and (kindIs "slice" .value) (kindIs "map" $schema.items) }}
{{- range $index, $value := .value }}
{{- include "kubetune.findUnknown" (dict "all" $.all "schema" $schema.items "value" $value "path" (printf "%s[%d]" $.path $index) "found" $.found) }}
{{- end }}
{{- end }}
{{- end }}

{{- /* Adds the paths of all values to "found", and counts how often each last name is there, but for what a parent chart sets: (dict "all" "schema" "path" "found"). */ -}}
{{- define "kubetune.findKnown" -}}
{{- $schema := include "kubetune.schemaOf" . | fromJson }}
{{- range $key, $part := $schema.properties }}
{{- $path := empty $.path | ternary $key (printf "%s.%s" $.path $key) }}
{{- $_ := set $.found "paths" (append $.found.paths $path) }}
{{- /* What the gateway has as the operator has it is meant for the operator, unless it stands below `gateway`. */}}
{{- $again := and (eq $.path "gateway") (hasKey $.all.properties $key) }}
{{- if not (or $again (eq $.path "global")) }}{{ $_ := set $.found.counts $key (add1 (index $.found.counts $key | default 0)) }}{{ end }}
{{- include "kubetune.findKnown" (dict "all" $.all "schema" $part "path" $path "found" $.found) }}
{{- end }}
{{- with $schema.items }}
{{- include "kubetune.findKnown" (dict "all" $.all "schema" . "path" (print $.path "[]") "found" $.found) }}
{{- end }}
{{- end }}

{{- /* The known value that "path" was most likely meant to be, or nothing: (dict "path" "known"). A name beside it or below
it that is nearly the same or has it as a part, or such a name at another place. */ -}}
{{- define "kubetune.nearest" -}}
{{- $parts := splitList "." .path }}
{{- $place := initial $parts | join "." }}
{{- $known := regexReplaceAll `\[\d+\]` $place "[]" }}
{{- $name := include "kubetune.plain" (last $parts) }}
{{- $most := max 1 (div (len $name) 3) | int }}
{{- $best := "" }}{{ $least := 1000 }}
{{- range .known.paths }}
{{- $there := splitList "." . }}
{{- $other := include "kubetune.plain" (last $there) }}
{{- $beside := eq $known (initial $there | join ".") }}
{{- $below := and $known (hasPrefix (print $known ".") .) }}
{{- /* `enabled` and the like are everywhere. */}}
{{- $unique := eq 1 (int (index $.known.counts (last $there))) }}
{{- $elsewhere := and (gt (min (len $name) (len $other)) 4) $unique (not (or (hasPrefix "global." .) (contains "[]." .) (and (hasPrefix "gateway." .) (has (last $there) $.known.paths)))) }}
{{- if or $beside $below $elsewhere }}
{{- $distance := include "kubetune.distance" (dict "a" $name "b" $other "most" $most) | int }}
{{- $cost := add (mul 3 $distance) (ternary 0 (ternary 1 2 (not (empty $below))) $beside) | int }}
{{- if and (le $distance $most) (lt $cost $least) }}
{{- $least = $cost }}
{{- $best = $beside | ternary (append (initial $parts) (last $there) | join ".") . }}
{{- end }}
{{- end }}
{{- end }}
{{- $best }}
{{- end }}

{{- /* A name without what people confuse in it. */ -}}
{{- define "kubetune.plain" -}}
{{- regexReplaceAll "[-_]" . "" | lower }}
{{- end }}

{{- /* How many characters must be added, removed, replaced or exchanged with the next to make "b" of "a"; "most" where one
is part of the other; 1000 where it would be more than "most" for their lengths alone. */ -}}
{{- define "kubetune.distance" -}}
{{- if eq .a .b }}0
{{- else if and (gt (min (len .a) (len .b)) 2) (or (contains .a .b) (contains .b .a)) }}{{ .most }}
{{- else if or (gt (len .a) (int (add (len .b) .most))) (gt (len .b) (int (add (len .a) .most))) }}1000
{{- else }}
{{- $a := splitList "" .a }}{{ $b := splitList "" .b }}
{{- $before := list }}{{ $row := untilStep 0 (int (add1 (len $b))) 1 }}
{{- range $i, $x := $a }}
{{- $next := list (add1 $i) }}
{{- range $j, $y := $b }}
{{- $cost := min (add (index $row $j) (ternary 0 1 (eq $x $y))) (add1 (index $row (int (add1 $j)))) (add1 (last $next)) }}
{{- if and $i $j }}
{{- if and (eq $x (index $b (int (sub $j 1)))) (eq $y (index $a (int (sub $i 1)))) }}
{{- $cost = min $cost (add1 (index $before (int (sub $j 1)))) }}
{{- end }}
{{- end }}
{{- $next = append $next $cost }}
{{- end }}
{{- $before = $row }}{{ $row = $next }}
{{- end }}
{{- last $row }}
{{- end }}
{{- end }}
