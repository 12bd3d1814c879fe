package main

import (
	"encoding/json"
	"net"
	"net/http"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	listers "k8s.io/client-go/listers/core/v1"
)

const metaPrefix = "__meta_kubernetes_pod_"

// targetGroup is one entry of what Prometheus reads from an HTTP service discovery.
type targetGroup struct {
	Targets []string          `json:"targets"`
	Labels  map[string]string `json:"labels"`
}

// newTargetsCommand stands in for Prometheus' own discovery of pods, which Debian's build of Prometheus lacks: the
// same labels, so that a scrape configuration reads as it would with the real one.
func newTargetsCommand() *cobra.Command {
	var kubeconfig, address string
	command := &cobra.Command{
		Use:   "pod-targets",
		Short: "Serves the ports of all pods as targets for Prometheus",
		RunE: func(command *cobra.Command, _ []string) error {
			client, err := newClient(kubeconfig)
			if err != nil {
				return err
			}
			factory := informers.NewSharedInformerFactory(client, 0)
			pods := factory.Core().V1().Pods().Lister()
			factory.Start(command.Context().Done())
			factory.WaitForCacheSync(command.Context().Done())
			return http.ListenAndServe(address, handler(pods))
		},
	}
	command.Flags().StringVar(&kubeconfig, "kubeconfig", "", "how to reach the API server")
	command.Flags().StringVar(&address, "address", "", "where to listen")
	return command
}

func handler(pods listers.PodLister) http.HandlerFunc {
	return func(response http.ResponseWriter, _ *http.Request) {
		list, err := pods.List(labels.Everything())
		if err != nil {
			http.Error(response, err.Error(), http.StatusInternalServerError)
			return
		}
		groups := []targetGroup{}
		for _, pod := range list {
			groups = append(groups, targets(pod)...)
		}
		response.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(response).Encode(groups) // the client is gone, and will ask again
	}
}

// targets has one target for each port that a pod declares, as the real discovery does.
func targets(pod *v1.Pod) []targetGroup {
	if pod.Status.PodIP == "" {
		return nil
	}
	var groups []targetGroup
	for _, container := range pod.Spec.Containers {
		for _, port := range container.Ports {
			meta := map[string]string{
				"__meta_kubernetes_namespace":      pod.Namespace,
				metaPrefix + "name":                pod.Name,
				metaPrefix + "phase":               string(pod.Status.Phase),
				metaPrefix + "container_name":      container.Name,
				metaPrefix + "container_port_name": port.Name,
			}
			for name, value := range pod.Labels {
				meta[metaPrefix+"label_"+labelName(name)] = value
			}
			address := net.JoinHostPort(pod.Status.PodIP, strconv.Itoa(int(port.ContainerPort)))
			groups = append(groups, targetGroup{Targets: []string{address}, Labels: meta})
		}
	}
	return groups
}

// labelName turns a Kubernetes label's name into one that Prometheus allows.
func labelName(name string) string {
	return strings.Map(func(letter rune) rune {
		if letter >= 'a' && letter <= 'z' || letter >= 'A' && letter <= 'Z' || letter >= '0' && letter <= '9' {
			return letter
		}
		return '_'
	}, name)
}
