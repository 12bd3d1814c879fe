// Package monitorcrd pins the module whose types the PodMonitor CRD is generated from.
package monitorcrd

import _ "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
