package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v13/controller"
)

const (
	provisionerName = "kubetune.dev/local"
	// The StorageClass parameter that says whether claims of that class may ask for more than one node.
	sharedParameter = "shared"
)

// directories provisions each claim as a directory under root, which every pod of a one-node cluster can reach.
type directories struct{ root string }

func newProvisionerCommand() *cobra.Command {
	var kubeconfig, root string
	command := &cobra.Command{
		Use:   "local-provisioner",
		Short: "Provisions claims as directories of this machine",
		RunE: func(command *cobra.Command, _ []string) error {
			client, err := newClient(kubeconfig)
			if err != nil {
				return err
			}
			ctx := klog.NewContext(command.Context(), klog.Background())
			controller.NewProvisionController(
				ctx, client, provisionerName, &directories{root: root},
				controller.LeaderElection(false), // there is only one
			).Run(ctx)
			return nil
		},
	}
	command.Flags().StringVar(&kubeconfig, "kubeconfig", "", "how to reach the API server")
	command.Flags().StringVar(&root, "root", "", "the directory that holds the volumes")
	return command
}

// Provision makes the directory and the volume that points to it.
func (d *directories) Provision(
	_ context.Context, options controller.ProvisionOptions,
) (*v1.PersistentVolume, controller.ProvisioningState, error) {
	claim := options.PVC
	if options.StorageClass.Parameters[sharedParameter] == "false" && wantsSharing(claim.Spec.AccessModes) {
		return nil, controller.ProvisioningFinished, fmt.Errorf(
			"storage class %q does not support access modes %v: its volumes are for one node",
			options.StorageClass.Name, claim.Spec.AccessModes)
	}
	path := filepath.Join(d.root, options.PVName)
	if err := os.MkdirAll(path, 0o777); err != nil {
		return nil, controller.ProvisioningFinished, err
	}
	// Mkdir obeys the umask, and fsGroup is not applied to hostPath volumes: without this only root could write.
	if err := os.Chmod(path, 0o777); err != nil {
		return nil, controller.ProvisioningFinished, err
	}
	mustExist := v1.HostPathDirectory
	return &v1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: options.PVName},
		Spec: v1.PersistentVolumeSpec{
			AccessModes:                   claim.Spec.AccessModes,
			Capacity:                      v1.ResourceList{v1.ResourceStorage: claim.Spec.Resources.Requests[v1.ResourceStorage]},
			PersistentVolumeReclaimPolicy: *options.StorageClass.ReclaimPolicy,
			PersistentVolumeSource: v1.PersistentVolumeSource{
				HostPath: &v1.HostPathVolumeSource{Path: path, Type: &mustExist},
			},
		},
	}, controller.ProvisioningFinished, nil
}

// Delete removes the volume's directory, and nothing that is not directly under the root.
func (d *directories) Delete(_ context.Context, volume *v1.PersistentVolume) error {
	source := volume.Spec.HostPath
	if source == nil || filepath.Dir(filepath.Clean(source.Path)) != filepath.Clean(d.root) {
		return &controller.IgnoredError{Reason: "the volume is not a directory under " + d.root}
	}
	return os.RemoveAll(source.Path)
}

func wantsSharing(modes []v1.PersistentVolumeAccessMode) bool {
	return slices.Contains(modes, v1.ReadWriteMany) || slices.Contains(modes, v1.ReadOnlyMany)
}
