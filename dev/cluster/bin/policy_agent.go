package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"

	"github.com/florianl/go-nfqueue"
	"github.com/spf13/cobra"
	"golang.org/x/net/ipv4"
	v1 "k8s.io/api/core/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
)

const (
	byAddress = "address"
	headers   = 128 // bytes of a packet that the kernel hands over: those of IP with all options, and ports
	waiting   = 1024
	// How long a packet waits until the API server tells whose address it has: kubelet reports a pod's address only
	// when its containers start already.
	patience = 10 * time.Second
	lookEach = 20 * time.Millisecond
)

var protocols = map[int]v1.Protocol{6: v1.ProtocolTCP, 17: v1.ProtocolUDP, 132: v1.ProtocolSCTP}

// policyAgent decides about the first packet of each connection that the packet filter sends to a queue.
type policyAgent struct {
	queue    *nfqueue.Nfqueue
	pods     cache.Indexer
	podRange netip.Prefix
	node     netip.Addr // in the pods' range, but this machine's
	policies policies
}

func newPolicyAgentCommand() *cobra.Command {
	var kubeconfig, podRange, node string
	var queue uint16
	command := &cobra.Command{
		Use:   "policy-agent",
		Short: "Enforces NetworkPolicies on the packets of a netfilter queue",
		RunE: func(command *cobra.Command, _ []string) error {
			agent := &policyAgent{}
			var err error
			if agent.podRange, err = netip.ParsePrefix(podRange); err != nil {
				return err
			}
			if agent.node, err = netip.ParseAddr(node); err != nil {
				return err
			}
			return agent.run(command.Context(), kubeconfig, queue)
		},
	}
	command.Flags().StringVar(&kubeconfig, "kubeconfig", "", "how to reach the API server")
	command.Flags().StringVar(&podRange, "pod-cidr", "", "the addresses of pods")
	command.Flags().StringVar(&node, "node-address", "", "the address among them that is the node's")
	command.Flags().Uint16Var(&queue, "queue", 0, "the number of the queue")
	return command
}

// run takes packets once it knows the cluster, until the queue cannot be read any more. It ends then: with nobody at
// the queue the kernel lets no new connection through.
func (a *policyAgent) run(ctx context.Context, kubeconfig string, number uint16) error {
	client, err := newClient(kubeconfig)
	if err != nil {
		return err
	}
	factory := informers.NewSharedInformerFactory(client, 0)
	pods := factory.Core().V1().Pods().Informer()
	if err := pods.AddIndexers(cache.Indexers{byAddress: addresses}); err != nil {
		return err
	}
	a.pods = pods.GetIndexer()
	a.policies = policies{
		policies:   factory.Networking().V1().NetworkPolicies().Lister(),
		namespaces: factory.Core().V1().Namespaces().Lister(),
	}
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())

	a.queue, err = nfqueue.Open(&nfqueue.Config{
		NfQueue:      number,
		MaxPacketLen: headers,
		MaxQueueLen:  waiting,
		Copymode:     nfqueue.NfQnlCopyPacket,
		Flags:        nfqueue.NfQaCfgFlagGSO, // packets larger than the link allows are not cut up for us
	})
	if err != nil {
		return err
	}
	defer a.queue.Close()
	ended := make(chan error, 1)
	err = a.queue.RegisterWithErrorFunc(ctx, a.receive, func(err error) int {
		ended <- err
		return 1
	})
	if err != nil {
		return fmt.Errorf("queue %d is not to be had, maybe because another program has it: %w", number, err)
	}
	klog.InfoS("Judging connections", "queue", number)
	return <-ended
}

// addresses has the addresses that are a pod's own; those of pods that have ended can be another's by now.
func addresses(object any) ([]string, error) {
	pod := object.(*v1.Pod)
	if pod.Spec.HostNetwork || pod.Status.Phase == v1.PodSucceeded || pod.Status.Phase == v1.PodFailed {
		return nil, nil
	}
	var found []string
	for _, each := range pod.Status.PodIPs {
		found = append(found, each.IP)
	}
	return found, nil
}

// receive decides beside the reading, so that a packet that waits holds up no other.
func (a *policyAgent) receive(packet nfqueue.Attribute) int {
	go func() {
		verdict := nfqueue.NfDrop
		if a.judge(*packet.Payload) {
			verdict = nfqueue.NfAccept
		}
		if err := a.queue.SetVerdict(*packet.PacketID, verdict); err != nil {
			klog.ErrorS(err, "The kernel took no verdict")
		}
	}()
	return 0
}

func (a *policyAgent) judge(packet []byte) bool {
	made, err := parse(packet)
	if err != nil {
		klog.ErrorS(err, "Refused a packet that cannot be read")
		return false
	}
	if !a.identify(&made.source) || !a.identify(&made.target) {
		klog.InfoS("Refused a connection of an address that no pod has", "connection", made)
		return false
	}
	if by := a.policies.refusal(made); by != "" {
		klog.InfoS("Refused by policies", "direction", by, "connection", made)
		return false
	}
	return true
}

// identify fills in whose address a party has, and tells whether that is known.
func (a *policyAgent) identify(one *party) bool {
	if !a.podRange.Contains(one.address) || one.address == a.node {
		return true
	}
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(lookEach) {
		if found, _ := a.pods.ByIndex(byAddress, one.address.String()); len(found) > 0 {
			one.pod = found[0].(*v1.Pod)
			return true
		}
	}
	return false
}

func parse(packet []byte) (connection, error) {
	header, err := ipv4.ParseHeader(packet)
	if err != nil {
		return connection{}, err
	}
	source, _ := netip.AddrFromSlice(header.Src.To4())
	target, _ := netip.AddrFromSlice(header.Dst.To4())
	made := connection{
		source:   party{address: source},
		target:   party{address: target},
		protocol: protocols[header.Protocol],
	}
	if made.protocol != "" { // all three begin with the ports of source and target
		ports := packet[header.Len:]
		if len(ports) < 4 {
			return connection{}, fmt.Errorf("a packet from %s to %s without ports", source, target)
		}
		made.port = int32(binary.BigEndian.Uint16(ports[2:]))
	}
	return made, nil
}

// String is for people who look why something was refused.
func (c connection) String() string {
	return fmt.Sprintf("%s -> %s %s %d", c.source, c.target, c.protocol, c.port)
}

func (p party) String() string {
	if p.pod == nil {
		return p.address.String()
	}
	return fmt.Sprintf("%s/%s (%s)", p.pod.Namespace, p.pod.Name, p.address)
}
