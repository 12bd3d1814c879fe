package main

import (
	"net/netip"
	"slices"

	v1 "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	corelisters "k8s.io/client-go/listers/core/v1"
	listers "k8s.io/client-go/listers/networking/v1"
)

// party is one end of a connection.
type party struct {
	address netip.Addr
	pod     *v1.Pod // nil for what is no pod: this machine, or the outside
}

// connection is what a policy can tell apart. Its port is the target's; ICMP and the like have neither port nor protocol.
type connection struct {
	source, target party
	protocol       v1.Protocol
	port           int32
}

// rule is what rules of either direction say: who may be at the other end, and which ports of the target are meant.
type rule struct {
	peers []networking.NetworkPolicyPeer
	ports []networking.NetworkPolicyPort
}

// policies judges connections by all policies of the cluster.
type policies struct {
	policies   listers.NetworkPolicyLister
	namespaces corelisters.NamespaceLister
}

// refusal says which end does not let a connection through: "egress", "ingress", or "" when it may be made.
func (p policies) refusal(c connection) networking.PolicyType {
	switch {
	case c.source.address == c.target.address: // no policy keeps a pod from itself
		return ""
	case !p.allow(networking.PolicyTypeEgress, c.source.pod, c.target, c):
		return networking.PolicyTypeEgress
	case !p.allow(networking.PolicyTypeIngress, c.target.pod, c.source, c):
		return networking.PolicyTypeIngress
	}
	return ""
}

// allow tells whether a pod may have a connection with a peer: no policy is about it, or one of those that are allows it.
func (p policies) allow(direction networking.PolicyType, pod *v1.Pod, peer party, c connection) bool {
	if pod == nil {
		return true
	}
	// A lister over a cache fails only for a selector that is none.
	all, _ := p.policies.NetworkPolicies(pod.Namespace).List(labels.Everything())
	isolated := false
	for _, policy := range all {
		if !slices.Contains(policy.Spec.PolicyTypes, direction) || !selects(&policy.Spec.PodSelector, pod.Labels) {
			continue
		}
		isolated = true
		for _, each := range rules(policy, direction) {
			if hasPort(each.ports, c) && p.hasPeer(each.peers, policy.Namespace, peer) {
				return true
			}
		}
	}
	return !isolated
}

func rules(policy *networking.NetworkPolicy, direction networking.PolicyType) []rule {
	var found []rule
	if direction == networking.PolicyTypeIngress {
		for _, each := range policy.Spec.Ingress {
			found = append(found, rule{peers: each.From, ports: each.Ports})
		}
		return found
	}
	for _, each := range policy.Spec.Egress {
		found = append(found, rule{peers: each.To, ports: each.Ports})
	}
	return found
}

// hasPeer tells whether a party is among the peers of a rule; no peers are all peers.
func (p policies) hasPeer(peers []networking.NetworkPolicyPeer, namespace string, other party) bool {
	return len(peers) == 0 || slices.ContainsFunc(peers, func(peer networking.NetworkPolicyPeer) bool {
		switch {
		case peer.IPBlock != nil:
			return inBlock(peer.IPBlock, other.address)
		case other.pod == nil:
			return false
		case peer.PodSelector != nil && !selects(peer.PodSelector, other.pod.Labels):
			return false
		case peer.NamespaceSelector == nil:
			return other.pod.Namespace == namespace
		}
		found, err := p.namespaces.Get(other.pod.Namespace)
		return err == nil && selects(peer.NamespaceSelector, found.Labels)
	})
}

func inBlock(block *networking.IPBlock, address netip.Addr) bool {
	contains := func(cidr string) bool {
		prefix, err := netip.ParsePrefix(cidr)
		return err == nil && prefix.Contains(address)
	}
	return contains(block.CIDR) && !slices.ContainsFunc(block.Except, contains)
}

// hasPort tells whether a connection's port is among the ports of a rule; no ports are all ports.
func hasPort(ports []networking.NetworkPolicyPort, c connection) bool {
	return len(ports) == 0 || slices.ContainsFunc(ports, func(port networking.NetworkPolicyPort) bool {
		switch {
		case port.Protocol == nil || *port.Protocol != c.protocol: // never nil: the API server fills it in
			return false
		case port.Port == nil:
			return true
		case port.Port.StrVal != "":
			return hasNamedPort(c.target.pod, port.Port.StrVal, c)
		case port.EndPort != nil:
			return port.Port.IntVal <= c.port && c.port <= *port.EndPort
		}
		return port.Port.IntVal == c.port
	})
}

func hasNamedPort(pod *v1.Pod, name string, c connection) bool {
	if pod == nil {
		return false
	}
	for _, container := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		for _, port := range container.Ports {
			if port.Name == name && port.ContainerPort == c.port && port.Protocol == c.protocol {
				return true
			}
		}
	}
	return false
}

// selects tells whether a selector fits. One that cannot be read selects nothing; the API server accepts none such.
func selects(selector *metav1.LabelSelector, given map[string]string) bool {
	parsed, err := metav1.LabelSelectorAsSelector(selector)
	return err == nil && parsed.Matches(labels.Set(given))
}
