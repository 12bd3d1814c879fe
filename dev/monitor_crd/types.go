// Package monitorcrd pins the module whose types the monitors' CRDs are generated from.
package monitorcrd

import _ "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
