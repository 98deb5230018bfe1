package tests

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"io"
	"math/big"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/pulumi/pulumi/sdk/v3/go/auto"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optpreview"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optrefresh"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"kubernetes-openstack/cluster"
	"kubernetes-openstack/infra"
	"kubernetes-openstack/internal/dirs"
	"kubernetes-openstack/k8s"
	"kubernetes-openstack/tests/apiserver"
	"kubernetes-openstack/tests/guest"
)

// smallPlan returns the plan of a small cluster with this DNS provider.
func smallPlan(t *testing.T, provider string) cluster.Plan {
	t.Helper()
	text, err := os.ReadFile("../cluster/testdata/small.yaml")
	require.NoError(t, err)
	object, err := yaml.YAMLToJSON(text)
	require.NoError(t, err)
	config, err := cluster.Decode("test", string(object))
	require.NoError(t, err)
	config.DNS.Provider = provider
	return cluster.NewPlan(config)
}

// pulumiCommand returns the pulumi that toolchain built.
func pulumiCommand(t *testing.T) auto.PulumiCommand {
	t.Helper()
	command, err := auto.NewPulumiCommand(&auto.PulumiCommandOptions{
		Root: dirs.State("pulumi-home"), SkipVersionCheck: true,
	})
	require.NoError(t, err, "run make test")
	return command
}

// withoutOutputs does not run `pulumi stack output`. After each up, auto.Stack runs it twice.
type withoutOutputs struct{ auto.PulumiCommand }

func (c withoutOutputs) Run(ctx context.Context, workdir string, stdin io.Reader, stdout, stderr []io.Writer,
	env []string, args ...string) (string, string, int, error) {
	if len(args) > 1 && args[0] == "stack" && args[1] == "output" {
		return "{}", "", 0, nil
	}
	return c.PulumiCommand.Run(ctx, workdir, stdin, stdout, stderr, env, args...)
}

// newStack creates a stack for the pulumi that toolchain built. Its program is run, in this process. Its results have
// no outputs, unless the options contain auto.Pulumi.
func newStack(t *testing.T, run pulumi.RunFunc, options ...auto.LocalWorkspaceOption) auto.Stack {
	t.Helper()
	home := dirs.State("pulumi-home")
	options = append([]auto.LocalWorkspaceOption{
		auto.Pulumi(withoutOutputs{pulumiCommand(t)}), auto.PulumiHome(home),
		auto.EnvVars(map[string]string{
			"PULUMI_BACKEND_URL":                          "file://" + t.TempDir(),
			"PULUMI_CONFIG_PASSPHRASE":                    "test",
			"PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
			"PULUMI_IGNORE_AMBIENT_PLUGINS":               "true",
			"PULUMI_SKIP_UPDATE_CHECK":                    "true",
			"GOGC":                                        "400", // as `toolchain env` sets it
		})}, options...)
	s, err := auto.NewStackInlineSource(t.Context(), "test", "kubernetes-openstack", run, options...)
	require.NoError(t, err)
	return s
}

// deployed returns a program that deploys the plan into the cluster of a kubeconfig.
func deployed(plan *cluster.Plan, kubeconfig string) pulumi.RunFunc {
	return func(ctx *pulumi.Context) error {
		c := &infra.Cluster{Kubeconfig: pulumi.ToSecret(pulumi.String(kubeconfig)).(pulumi.StringOutput)}
		if err := ctx.RegisterComponentResource("kubernetes-openstack:infra:Cluster", plan.Name, c); err != nil {
			return err
		}
		credential := &infra.Credential{
			ID:     pulumi.String("id").ToStringOutput(),
			Secret: pulumi.ToSecret(pulumi.String("application-credential")).(pulumi.StringOutput),
		}
		return k8s.New(ctx, *plan, c, credential, pulumi.String("subnet"), samePKI{}, nil)
	}
}

// samePKI has the same certificate and key for all names.
type samePKI struct{}

func (samePKI) Part(_ string, part cluster.Part) pulumi.StringOutput {
	certificate, key := selfSigned()
	if part == cluster.PartPrivateKey {
		return pulumi.ToSecret(pulumi.String(key)).(pulumi.StringOutput)
	}
	return pulumi.String(certificate).ToStringOutput()
}

// selfSigned returns a certificate and its key in PEM.
var selfSigned = sync.OnceValues(func() (certificate, key string) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		panic(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		panic(err)
	}
	inPEM := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	return inPEM("CERTIFICATE", der), inPEM("PRIVATE KEY", keyDER)
})

// TestDeploy checks that the real API server accepts all deployed objects, and that the real engine waits for
// them. Afterwards there is no difference. One DNS server replaces the other at the same address, and both answer the
// cases of package dns. A deleted cluster does not block a preview or a destroy.
func TestDeploy(t *testing.T) {
	t.Parallel()
	api := apiserver.Start(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go api.Run(ctx, metav1.NamespaceSystem)
	cases := newDNSCases(t, api)
	plan := cases.plan(t, cluster.CoreDNS)
	s := newStack(t, deployed(&plan, api.Kubeconfig))

	for _, name := range []string{"coredns", "kube-dns"} {
		begin := time.Now()
		up, err := s.Up(ctx)
		require.NoError(t, err, up.StdOut+up.StdErr)
		t.Logf("up with %s took %s", name, time.Since(begin).Round(time.Second))
		preview, err := s.Preview(ctx, optpreview.ExpectNoChanges())
		require.NoError(t, err, preview.StdOut)
		refresh, err := s.Refresh(ctx)
		require.NoError(t, err)
		assert.Equal(t, map[string]int{"same": (*refresh.Summary.ResourceChanges)["same"]}, *refresh.Summary.ResourceChanges,
			refresh.StdOut)

		deployments, err := api.Client.AppsV1().Deployments(metav1.NamespaceSystem).List(ctx, metav1.ListOptions{})
		require.NoError(t, err)
		var ready []string
		for _, d := range deployments.Items {
			assert.Equal(t, *d.Spec.Replicas, d.Status.AvailableReplicas, d.Name)
			ready = append(ready, d.Name)
		}
		assert.ElementsMatch(t, []string{"calico-kube-controllers", "csi-cinder-controller", name, "metrics-server",
			"snapshot-controller"}, ready)
		service, err := api.Client.CoreV1().Services(metav1.NamespaceSystem).Get(ctx, "kube-dns", metav1.GetOptions{})
		require.NoError(t, err)
		assert.Equal(t, plan.DNSService.String(), service.Spec.ClusterIP)

		cases.check(t, plan.DNS.Provider)
		plan = cases.plan(t, cluster.SkyDNS)
	}
	checkKubeControllers(t, api)

	state, err := os.ReadFile(strings.TrimPrefix(s.Workspace().GetEnvVars()["PULUMI_BACKEND_URL"], "file://") +
		"/.pulumi/stacks/kubernetes-openstack/test.json")
	require.NoError(t, err)
	assert.Contains(t, string(state), `"kubeconfig"`)
	assert.NotContains(t, string(state), "current-context")
	assert.Contains(t, string(state), "cloud.conf")
	conf, err := api.Client.CoreV1().Secrets(metav1.NamespaceSystem).Get(ctx, "cloud-config", metav1.GetOptions{})
	require.NoError(t, err)
	assert.Contains(t, string(conf.Data["cloud.conf"]), "application-credential-secret = \"application-credential\"\n")
	assert.NotContains(t, string(state), base64.StdEncoding.EncodeToString(conf.Data["cloud.conf"])[:20])
	_, key := selfSigned()
	assert.NotContains(t, string(state), base64.StdEncoding.EncodeToString([]byte(key))[:20])

	api.Stop()
	begin := time.Now()
	preview, err := s.Preview(ctx, optpreview.ExpectNoChanges())
	require.NoError(t, err, preview.StdOut)
	refresh, err := s.Refresh(ctx, optrefresh.Exclude([]string{"**$kubernetes:**"})) // cmd/resume does the same
	require.NoError(t, err, refresh.StdOut)
	destroy, err := s.Destroy(ctx)
	require.NoError(t, err, destroy.StdOut)
	t.Logf("preview, refresh and destroy without an API took %s", time.Since(begin).Round(time.Second))
	assert.NotContains(t, destroy.StdOut, "unreachable")
}

// checkKubeControllers runs kube-controllers from its image with the deployed settings and ServiceAccount, but
// without etcd's certificates. It checks that a NetworkPolicy reaches Calico's datastore.
func checkKubeControllers(t *testing.T, api *apiserver.Server) {
	t.Helper()
	deployment, err := api.Client.AppsV1().Deployments(metav1.NamespaceSystem).Get(t.Context(), "calico-kube-controllers",
		metav1.GetOptions{})
	require.NoError(t, err)
	container := deployment.Spec.Template.Spec.Containers[0]
	script := "set -eu; mkdir /status; export KUBECONFIG=/kubeconfig"
	for _, variable := range container.Env {
		if !strings.HasPrefix(variable.Name, "ETCD_") {
			script += " " + variable.Name + "=" + variable.Value
		}
	}
	script += " ETCD_ENDPOINTS=" + api.Etcd + " ETCDCTL_ENDPOINTS=" + api.Etcd + `
		resources=/calico/resources/v3/projectcalico.org
		kube-controllers >/log 2>&1 &
		for i in $(seq 240); do
			found=$(etcdctl get --prefix --keys-only $resources/networkpolicies/)
			[ -z "$found" ] && sleep 0.5 || break
		done
		echo "$found"
		etcdctl get $resources/kubecontrollersconfigurations/default
		` + strings.Join(container.ReadinessProbe.Exec.Command, " ") + ` && echo ready
		` + strings.Join(container.LivenessProbe.Exec.Command, " ") + ` && echo live
		cat /log`
	_, err = api.Client.NetworkingV1().NetworkPolicies(
		metav1.NamespaceDefault).Create(t.Context(), &networkingv1.NetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "closed"},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	image := unpack(t, "quay.io/calico/kube-controllers@v3.28.5")
	files := map[string]string{"/kubeconfig": api.As(t, "calico-kube-controllers")}
	for path, in := range map[string]string{
		"/usr/bin/kube-controllers": image + "/usr/bin/kube-controllers",
		"/usr/bin/check-status":     image + "/usr/bin/check-status", "/usr/bin/etcdctl": api.Etcdctl,
	} {
		content, err := os.ReadFile(in)
		require.NoError(t, err)
		files[path] = string(content)
	}
	out, err := guest.Run(t, files, "sh", "-c", script)
	require.NoError(t, err, out)
	for _, want := range []string{"/networkpolicies/default/knp.default.closed\n", "\nready\n", "\nlive\n",
		"Disabling periodic etcdv3 compaction", `"runningConfig":{`, `"syncLabels":"Enabled"`} {
		assert.Contains(t, out, want)
	}
	assert.NotContains(t, out, "forbidden")
}

// unpack unpacks an image of the mirror and returns the folder.
func unpack(t *testing.T, name string) string {
	t.Helper()
	index, err := layout.ImageIndexFromPath(dirs.Mirror("oci", name))
	require.NoError(t, err, "run make test")
	manifest, err := index.IndexManifest()
	require.NoError(t, err)
	image, err := index.Image(manifest.Manifests[0].Digest)
	require.NoError(t, err)
	dir, content := t.TempDir(), mutate.Extract(image)
	defer content.Close()
	tar := exec.Command("tar", "--extract", "--directory", dir)
	tar.Stdin = content
	require.NoError(t, tar.Run())
	return dir
}
