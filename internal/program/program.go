// Package program is the Pulumi program. It reads the configuration, computes the Plan, declares the
// resources of packages infra and k8s, and exports the outputs.
package program

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"kubernetes-openstack/cluster"
	"kubernetes-openstack/infra"
	"kubernetes-openstack/internal/field"
	"kubernetes-openstack/internal/openstack"
	"kubernetes-openstack/k8s"
	"kubernetes-openstack/policy"
	"kubernetes-openstack/templates"
)

const configKey = "kubernetes-openstack:cluster"

// Run returns the Pulumi program, which declares all resources of the stack. In an `up`, the program uses
// watcher to wait until the cluster is ready, and then sync to create its tenants. If the configuration is
// invalid, contradicts environment or breaks a rule of package policy, the program returns an error before it declares
// any resource.
func Run(watcher infra.Watcher, sync k8s.Syncer, environment openstack.Environment) pulumi.RunFunc {
	return func(ctx *pulumi.Context) error { return run(ctx, watcher, sync, environment) }
}

func run(ctx *pulumi.Context, watcher infra.Watcher, sync k8s.Syncer, environment openstack.Environment) error {
	if err := checkKeys(); err != nil {
		return err
	}
	text, ok := ctx.GetConfig(configKey)
	if !ok {
		return fmt.Errorf("%s is not set in Pulumi.%s.yaml: copy a file of examples and edit it", configKey, ctx.Stack())
	}
	config, err := cluster.Decode(ctx.Stack(), text)
	if err != nil {
		return err
	}
	if region, ok := ctx.GetConfig("openstack:region"); ok { // of the provider only
		environment.Provider = openstack.Region{Name: region, From: "openstack:region"}
	}
	warnings, errs := checkEnvironment(config, environment)
	if len(errs) > 0 {
		return fmt.Errorf("%s has %w", configKey, errs)
	}
	for _, warning := range append(config.Warnings(), warnings...) {
		if err := ctx.Log.Warn(configKey+": "+warning.Error(), nil); err != nil {
			return err
		}
	}
	snapshot, err := readSnapshot(config.Etcd)
	if err != nil {
		return fmt.Errorf("%s has %w", configKey,
			field.Errors{{Path: "etcd.restore", Message: "cannot upload the snapshot: " + err.Error()}})
	}
	if snapshot != nil {
		config.Etcd.Restore = snapshot.Name // the machines restore the object
	}
	plan := cluster.NewPlan(config)
	if err := templates.CheckUserData(plan); err != nil {
		return fmt.Errorf("%s has %w", configKey, err)
	}
	if err := checkPolicy(ctx, plan); err != nil {
		return err
	}
	in, err := infra.New(ctx, plan, snapshot, watcher)
	if err != nil {
		return err
	}
	if err := k8s.New(ctx, plan, in.Cluster, in.Credential, in.Network.SubnetID, in.PKI, sync); err != nil {
		return err
	}
	return export(ctx, plan, in)
}

// checkPolicy returns an error for all rules of package policy that end the program, and logs the warnings.
func checkPolicy(ctx *pulumi.Context, plan cluster.Plan) error {
	images, err := k8s.Images(plan)
	if err != nil {
		return err
	}
	stack, err := policy.NewStack(plan, images)
	if err != nil {
		return err
	}
	warnings, errs := policy.Check(stack)
	for _, warning := range warnings {
		if err := ctx.Log.Warn("policy: "+warning.Error(), nil); err != nil {
			return err
		}
	}
	if len(errs) > 0 {
		return fmt.Errorf("%s has %w", configKey, errs)
	}
	return nil
}

// checkKeys returns an error for a misspelt `kubernetes-openstack:cluster`, because Pulumi ignores keys
// that no program reads.
func checkKeys() error {
	text := os.Getenv(pulumi.EnvConfig)
	if text == "" {
		return nil // Pulumi's mocks do not set the variable
	}
	var keys map[string]string
	if err := json.Unmarshal([]byte(text), &keys); err != nil {
		return fmt.Errorf("read the stack's configuration: %w", err)
	}
	for key := range keys {
		if strings.HasPrefix(key, "kubernetes-openstack:") && key != configKey {
			return fmt.Errorf("%s: unknown key; the only key is %s", key, configKey)
		}
	}
	return nil
}

func export(ctx *pulumi.Context, plan cluster.Plan, in *infra.Infra) error {
	summary, err := plan.Summary().Output()
	if err != nil {
		return err
	}
	ctx.Export("cluster", pulumi.Any(summary))
	machines := pulumi.Map{}
	etcd := pulumi.StringArray{}
	for _, m := range plan.Machines {
		machines[m.ID] = pulumi.Map{
			"role":    pulumi.String(string(m.Role)),
			"address": pulumi.String(m.Address.String()),
			"id":      in.Machines.ByID[m.ID].Instance.ID(),
		}
		if m.Role == cluster.RoleEtcd {
			etcd = append(etcd, pulumi.String(fmt.Sprintf("https://%s:%d", m.Address, cluster.EtcdClientPort)))
		}
	}
	ctx.Export("machines", machines)
	ctx.Export("endpoints", pulumi.Map{"api": in.Endpoint.URL(), "etcd": etcd})
	ctx.Export("caCertificate", in.PKI.Part(cluster.KubernetesCA, cluster.PartCertificate))
	ctx.Export("kubeconfig", in.Kubeconfig(plan))
	if in.SSHKey.PrivateKey != nil {
		ctx.Export("sshPrivateKey", pulumi.ToSecret(*in.SSHKey.PrivateKey))
	}
	return nil
}
