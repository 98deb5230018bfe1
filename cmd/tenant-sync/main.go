// Command tenant-sync updates the tenants of a cluster to those of OpenStack. A timer starts it on each control
// plane.
//
//	tenant-sync plan  --kubeconfig FILE [--policy-file FILE]
//	tenant-sync apply --kubeconfig FILE [--policy-file FILE --reload COMMAND]
//
// The configuration is in the namespace kube-system: ConfigMap tenant-sync contains the settings, and Secret
// tenant-sync contains the address of OpenStack and the credentials. The policy file is the ABAC policy file of this
// machine's kube-apiserver. When tenant-sync changes it, COMMAND makes kube-apiserver read it. The Lease tenant-sync
// lets only one machine work at a time, so only one kube-apiserver restarts at a time.
//
// SIGTERM ends tenant-sync, but it waits for a running COMMAND. systemd must use KillMode=mixed, because otherwise
// COMMAND also gets the signal.
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
	kubeconfig := flags.String("kubeconfig", "", "kubeconfig of the user tenant-sync (required)")
	policy := &policyFile{}
	flags.StringVar(&policy.path, "policy-file", "", "ABAC policy file of this machine's kube-apiserver")
	flags.StringVar(&policy.reload, "reload", "",
		"program that makes kube-apiserver read the changed policy file")
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
	j := &job{kube: kube, client: client, policy: policy, out: out, begin: time.Now()}
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

// job is one run of tenant-sync.
type job struct {
	kube   *rest.Config
	client kubernetes.Interface
	policy *policyFile
	out    io.Writer

	begin     time.Time
	durations []string
}

// done records the duration of a part that ends now.
func (j *job) done(part string) {
	j.record(part, time.Since(j.begin))
	j.begin = time.Now()
}

func (j *job) record(part string, duration time.Duration) {
	j.durations = append(j.durations, fmt.Sprintf("%s %.1f s", part, duration.Seconds()))
}

// compare prints the necessary changes.
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
	j.begin = j.begin.Add(changes.ReadDuration)
	j.record("OpenStack", changes.ReadDuration)
	j.done("Kubernetes")
	return changes, nil
}

func (j *job) apply(ctx context.Context, l *lease) (err error) {
	defer func() { fmt.Fprintln(j.out, "took: "+strings.Join(j.durations, ", ")) }()
	ctx, release, err := l.acquire(ctx, j.out)
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
	renew := func() error { return l.renew(ctx) } // the Lease must not expire during the reload
	err = j.policy.write(policy, renew)
	j.done("reload")
	return errors.Join(failed, err)
}

// configuration returns the settings and credentials that Pulumi wrote to the cluster.
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
