// Command kubeadm is this repository's program, but for Kubernetes itself, which is kubeadm's: `make bench` compares
// the two. Both declare the same OpenStack resources through the same engine and providers; they differ in the
// user-data of the nodes, in what an `up` waits for on them, and in that nothing is deployed into kubeadm's.
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
		in, err := infra.New(ctx, plan, watcher{readiness.NewCloud(), plan})
		if err != nil {
			return err
		}
		ctx.Export("kubeconfig", in.Kubeconfig(plan))
		return nil
	})
}

// kubeadm is the cluster's. Its authority is the one that the program declares, so
// that the program's kubeconfig is good for it too.
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

// transform gives the nodes kubeadm's user-data.
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

// watcher waits for the etcd members as the program does, and then for the nodes to be Ready: kubeadm's do not say on
// their consoles how far they are, nor which instances they are.
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
	config.ServerName = "kubernetes" // its certificate does not have the floating IP
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
