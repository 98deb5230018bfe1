// Command kubeadm is this repository's program, but kubeadm installs Kubernetes. `make bench` compares the
// two. Both declare the same OpenStack resources through the same engine and providers. They differ in the
// user-data of the nodes and in the conditions that an `up` waits for on the nodes. Nothing is deployed into
// kubeadm's cluster.
package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"slices"
	"time"

	"github.com/pulumi/pulumi-openstack/sdk/v3/go/openstack/compute"
	"github.com/pulumi/pulumi-tls/sdk/v5/go/tls"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"kubernetes-openstack/cluster"
	"kubernetes-openstack/infra"
	"kubernetes-openstack/internal/readiness"
)

func main() {
	pulumi.Run(func(ctx *pulumi.Context) error {
		text, _ := ctx.GetConfig("kubernetes-openstack:cluster")
		config, err := cluster.Decode(ctx.Stack(), text)
		if err != nil {
			return err
		}
		plan := cluster.NewPlan(config)
		k, err := newKubeadm(plan)
		if err != nil {
			return err
		}
		if err := ctx.RegisterStackTransformation(k.transform); err != nil {
			return err
		}
		in, err := infra.New(ctx, plan, nil, watcher{readiness.NewCloud(), plan})
		if err != nil {
			return err
		}
		ctx.Export("kubeconfig", in.Kubeconfig(plan))
		return nil
	})
}

// kubeadm holds the values for a cluster of kubeadm. Its certificate authority is the one that the program
// declares, so that the program's kubeconfig is valid for it, too.
type kubeadm struct {
	plan                  cluster.Plan
	ca                    *tls.SelfSignedCert
	caKey                 *tls.PrivateKey
	token, certificateKey string
	checksum              string // of the program kubeadm
}

func newKubeadm(plan cluster.Plan) (*kubeadm, error) {
	random := make([]byte, 32)
	_, _ = rand.Read(random)
	key := hex.EncodeToString(random)
	checksum, err := sha256Of("bin/linux/amd64/kubeadm", plan.Kubernetes.Version)
	return &kubeadm{plan: plan, certificateKey: key, token: key[:6] + "." + key[6:22], checksum: checksum}, err
}

// transform replaces the nodes' user-data with kubeadm's.
func (k *kubeadm) transform(args *pulumi.ResourceTransformationArgs) *pulumi.ResourceTransformationResult {
	switch resource := args.Resource.(type) {
	case *tls.SelfSignedCert:
		if args.Name == k.plan.Name+"-"+cluster.KubernetesCA {
			k.ca = resource
		}
	case *tls.PrivateKey:
		if args.Name == k.plan.Name+"-"+cluster.KubernetesCA {
			k.caKey = resource
		}
	case *compute.Instance:
		i := slices.IndexFunc(k.plan.Machines, func(m cluster.Machine) bool { return m.ID == args.Name })
		m := k.plan.Machines[i]
		if m.Role == cluster.RoleEtcd {
			return nil
		}
		props := *args.Props.(*compute.InstanceArgs)
		inputs := pulumi.All(props.UserData.ToStringPtrOutput(), k.ca.CertPem, k.caKey.PrivateKeyPem)
		props.UserData = inputs.ApplyT(func(values []any) (string, error) {
			return k.userData(m, *values[0].(*string), values[1].(string), values[2].(string))
		}).(pulumi.StringOutput)
		return &pulumi.ResourceTransformationResult{Props: &props, Opts: args.Opts}
	}
	return nil
}

// watcher waits for the etcd members as the program does, and then until the nodes are Ready. kubeadm's nodes
// do not report their progress on their consoles, and their Nodes have no instance IDs.
type watcher struct {
	*readiness.Cloud
	plan cluster.Plan
}

func (w watcher) Machine(ctx context.Context, m readiness.Machine, log func(string) error) error {
	if slices.ContainsFunc(w.plan.WithRole(cluster.RoleEtcd),
		func(member cluster.Machine) bool { return member.ID == m.Name }) {
		return w.Cloud.Machine(ctx, m, log)
	}
	return nil
}

func (w watcher) Cluster(ctx context.Context, c readiness.Cluster, _ func(string) error) error {
	config, err := clientcmd.RESTConfigFromKubeConfig([]byte(c.Kubeconfig))
	if err != nil {
		return err
	}
	config.ServerName = "kubernetes" // the certificate does not have the floating IP
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	for {
		if nodes, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{}); err == nil {
			ready := 0
			for _, node := range nodes.Items {
				for _, condition := range node.Status.Conditions {
					if condition.Type == "Ready" && condition.Status == "True" {
						ready++
					}
				}
			}
			if ready == len(c.Nodes) {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Second):
		}
	}
}
