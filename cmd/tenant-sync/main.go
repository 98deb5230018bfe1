// Command tenant-sync makes the tenants of a cluster be OpenStack's. It runs on each control plane, by a timer.
//
//	tenant-sync plan  --kubeconfig FILE [--policy-file FILE]
//	tenant-sync apply --kubeconfig FILE [--policy-file FILE --reload COMMAND]
//
// What it is to do is in kube-system: ConfigMap tenant-sync has the settings, Secret tenant-sync how OpenStack is
// reached. The policy file is that of this machine's kube-apiserver for ABAC: where it changes, COMMAND makes
// kube-apiserver read it. One machine at a time works, by Lease tenant-sync, so one kube-apiserver at a time restarts.
//
// SIGTERM ends it, except while COMMAND runs: that it waits for. (systemd:
// KillMode=mixed, or COMMAND gets the signal, too.)
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"

	"kubernetes-openstack/internal/tenancy"
	"kubernetes-openstack/internal/tenantsync"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "tenant-sync:", err)
		os.Exit(1)
	}
}

const usage = "tenant-sync plan|apply --kubeconfig FILE [--policy-file FILE --reload COMMAND]"

func run(ctx context.Context, args []string, out io.Writer) error {
	if len(args) == 0 {
		return errors.New(usage)
	}
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	kubeconfig := flags.String("kubeconfig", "", "of user tenant-sync")
	policy := &policyFile{}
	flags.StringVar(&policy.path, "policy-file", "", "of this machine's kube-apiserver, for ABAC")
	flags.StringVar(&policy.reload, "reload", "",
		"program that makes kube-apiserver read the policy file, once it has changed")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	apply := args[0] == "apply"
	if !apply && args[0] != "plan" || flags.NArg() > 0 || *kubeconfig == "" ||
		apply && (policy.path == "") != (policy.reload == "") {
		return errors.New(usage)
	}
	kube, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(kube)
	if err != nil {
		return err
	}
	j := &job{kube: kube, client: client, policy: policy, out: out, began: time.Now()}
	if !apply {
		_, err := j.compare(ctx)
		return err
	}
	l, err := newLease(client)
	if err != nil {
		return err
	}
	return j.apply(ctx, l)
}

// job is one run.
type job struct {
	kube   *rest.Config
	client kubernetes.Interface
	policy *policyFile
	out    io.Writer

	began time.Time
	took  []string
}

// done notes how long a part took that ends now.
func (j *job) done(part string) {
	j.note(part, time.Since(j.began))
	j.began = time.Now()
}

func (j *job) note(part string, took time.Duration) {
	j.took = append(j.took, fmt.Sprintf("%s %.1f s", part, took.Seconds()))
}

// compare prints what there is to change.
func (j *job) compare(ctx context.Context) (*tenantsync.Changes, error) {
	settings, cloud, err := configuration(ctx, j.client)
	if err != nil {
		return nil, err
	}
	changes, err := tenantsync.Compare(ctx, j.kube, cloud, settings)
	if err != nil {
		return nil, err
	}
	access, err := j.policy.changes(changes.Policy)
	if err != nil {
		return nil, err
	}
	for _, line := range append(changes.Lines(), access...) {
		fmt.Fprintln(j.out, line)
	}
	j.began = j.began.Add(changes.Reading)
	j.note("OpenStack", changes.Reading)
	j.done("Kubernetes")
	return changes, nil
}

func (j *job) apply(ctx context.Context, l *lease) (err error) {
	defer func() { fmt.Fprintln(j.out, "took: "+strings.Join(j.took, ", ")) }()
	ctx, release, err := l.take(ctx, j.out)
	if err != nil {
		return err
	}
	defer release()
	defer func() {
		if cause := context.Cause(ctx); err != nil && cause != nil {
			err = fmt.Errorf("%w: %w", cause, err)
		}
	}()
	j.done("lease")
	changes, err := j.compare(ctx)
	if err != nil {
		return err
	}
	failed := changes.Apply(ctx)
	j.done("apply")
	policy := changes.Policy
	if failed != nil {
		if policy, err = j.policy.revoked(policy); err != nil {
			return errors.Join(failed, err)
		}
	}
	may := func() error { return l.renew(ctx) } // so that the Lease is ours for as long as a reload takes
	err = j.policy.write(policy, may)
	j.done("reload")
	return errors.Join(failed, err)
}

// configuration is what Pulumi left in the cluster.
func configuration(ctx context.Context,
	client kubernetes.Interface) (settings tenancy.Settings, cloud tenantsync.Cloud, err error) {
	const name, settingsKey, cloudKey = "tenant-sync", "settings.yaml", "cloud.yaml"
	config, err := client.CoreV1().ConfigMaps(metav1.NamespaceSystem).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return settings, cloud, err
	}
	secret, err := client.CoreV1().Secrets(metav1.NamespaceSystem).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return settings, cloud, err
	}
	if err := yaml.UnmarshalStrict([]byte(config.Data[settingsKey]), &settings); err != nil {
		return settings, cloud, fmt.Errorf("ConfigMap %s/%s, %s: %w", config.Namespace, name, settingsKey, err)
	}
	if err := yaml.UnmarshalStrict(secret.Data[cloudKey], &cloud); err != nil {
		return settings, cloud, fmt.Errorf("Secret %s/%s, %s: %w", secret.Namespace, name, cloudKey, err)
	}
	return settings, cloud, nil
}
