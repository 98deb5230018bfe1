package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/yaml"

	"kubernetes-openstack/internal/tenancy"
	"kubernetes-openstack/internal/tenantsync"
	"kubernetes-openstack/internal/tenantsync/tenantsynctest"
	"kubernetes-openstack/tests/apiserver"
)

var snapshot = tenancy.KeystoneSnapshot{
	Domains: []tenancy.Domain{{ID: "default", Name: "Default", Enabled: true}},
	Projects: []tenancy.Project{{ID: "3f2a9c1d5e6b4a7f8c9d0e1f2a3b4c5d", Name: "shop", DomainID: "default",
		Enabled: true}},
	Users: []tenancy.User{
		{ID: "a11ce", Name: "alice", DomainID: "default", Enabled: true},
		{ID: "b0b", Name: "bob", DomainID: "default", Enabled: true},
	},
	Roles: []tenancy.Role{{ID: "1", Name: "reader"}, {ID: "2", Name: "member"}, {ID: "3", Name: "admin"}},
	Assignments: []tenancy.Assignment{
		{RoleID: "1", UserID: "a11ce", ProjectID: "3f2a9c1d5e6b4a7f8c9d0e1f2a3b4c5d"},
		{RoleID: "1", UserID: "b0b", ProjectID: "3f2a9c1d5e6b4a7f8c9d0e1f2a3b4c5d"},
	},
}

// TestCommand runs the command as on a control plane.
func TestCommand(t *testing.T) {
	api := apiserver.Start(t)
	if !t.Run("lease", func(t *testing.T) { testLease(t, api.Client) }) {
		return // the other steps would wait for the Lease
	}

	o := tenantsynctest.Start(t, snapshot)
	configure(t, api.Client, o)
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	read := func(name string) string {
		text, err := os.ReadFile(file(name))
		require.NoError(t, err)
		return string(text)
	}
	require.NoError(t, os.WriteFile(file("kubeconfig"), []byte(api.Kubeconfig), 0o600))
	reload := program(t,
		fmt.Sprintf("cd %s\ntest ! -e broken\ntouch reloading\nwhile test -e hold; do sleep 0.1; done\ncat policy >loaded\n",
			dir))
	// command runs the command and returns its output.
	command := func(ctx context.Context, args ...string) (string, error) {
		var out bytes.Buffer
		err := run(ctx, append(args, "--kubeconfig", file("kubeconfig"), "--policy-file", file("policy")),
			io.MultiWriter(&out, t.Output()))
		return out.String(), err
	}

	t.Log("plan")
	out, err := command(t.Context(), "plan")
	require.NoError(t, err)
	assert.Contains(t, out, "+ namespace shop-default-3f2a9c1d (project shop@Default)\n")
	assert.Contains(t, out,
		"+ access to namespace shop-default-3f2a9c1d for group "+tenancy.Group(snapshot.Projects[0].ID, "b0b", "reader")+"\n")
	assert.NoFileExists(t, file("policy"))

	t.Log("apply, and a second apply without changes")
	out, err = command(t.Context(), "apply", "--reload", reload)
	require.NoError(t, err)
	assert.Contains(t, out, "+ namespace shop-default-3f2a9c1d (project shop@Default)\n")
	assert.Regexp(t,
		`\ntook: lease \d+\.\d s, OpenStack \d+\.\d s, Kubernetes \d+\.\d s, apply \d+\.\d s, reload \d+\.\d s\n$`, out)
	assert.Contains(t, read("loaded"), tenancy.Group(snapshot.Projects[0].ID, "b0b", "reader"))
	require.NoError(t, os.Remove(file("loaded")))
	out, err = command(t.Context(), "apply", "--reload", reload)
	require.NoError(t, err)
	assert.Regexp(t, `^took: `, out)
	assert.NoFileExists(t, file("loaded"))

	t.Log("apply removes the access of a disabled user")
	o.Change(func(k *tenancy.KeystoneSnapshot) { k.Users[1].Enabled = false })
	_, err = command(t.Context(), "apply", "--reload", reload)
	require.NoError(t, err)
	assert.Contains(t, read("loaded"), "a11ce")
	assert.NotContains(t, read("loaded"), "b0b")

	t.Log("a failed reload is an error, and the next run repeats it")
	o.Change(func(k *tenancy.KeystoneSnapshot) { k.Users[1].Enabled = true })
	require.NoError(t, os.WriteFile(file("broken"), nil, 0o600))
	_, err = command(t.Context(), "apply", "--reload", reload)
	require.ErrorContains(t, err, "the next run retries")
	require.NoError(t, os.Remove(file("broken")))
	_, err = command(t.Context(), "apply", "--reload", reload)
	require.NoError(t, err)
	assert.Contains(t, read("loaded"), "b0b")

	t.Log("a signal waits for the reload")
	o.Change(func(k *tenancy.KeystoneSnapshot) { k.Users[0].Enabled = false })
	require.NoError(t, os.Remove(file("reloading")))
	require.NoError(t, os.WriteFile(file("hold"), nil, 0o600))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		_, err := command(ctx, "apply", "--reload", reload)
		ended <- err
	}()
	require.Eventually(t, func() bool { _, err := os.Stat(file("reloading")); return err == nil }, 20*time.Second,
		50*time.Millisecond)
	cancel()
	select {
	case err := <-ended:
		t.Fatalf("apply ended before the reload: %v", err)
	case <-time.After(300 * time.Millisecond):
	}
	require.NoError(t, os.Remove(file("hold")))
	require.NoError(t, <-ended)
	assert.NotContains(t, read("loaded"), "a11ce")
	assert.NoFileExists(t, file("policy.reload"))

	t.Log("a signal before the reload ends the run, and the next run can start")
	o.Change(func(k *tenancy.KeystoneSnapshot) { k.Users[0].Enabled = true })
	before := read("policy")
	_, err = command(ctx, "apply", "--reload", reload)
	require.ErrorIs(t, err, context.Canceled)
	assert.Equal(t, before, read("policy"))
	_, err = command(t.Context(), "apply", "--reload", reload)
	require.NoError(t, err)
	assert.Contains(t, read("loaded"), "a11ce")

	t.Log("invalid settings")
	_, err = api.Client.CoreV1().ConfigMaps(metav1.NamespaceSystem).Patch(t.Context(), "tenant-sync", types.MergePatchType,
		[]byte(`{"data": {"settings.yaml": "authoriser: rbac"}}`), metav1.PatchOptions{})
	require.NoError(t, err)
	_, err = command(t.Context(), "plan")
	require.ErrorContains(t, err, `ConfigMap kube-system/tenant-sync, settings.yaml: `)
	require.ErrorContains(t, err, `"authoriser"`)
}

// configure creates the ConfigMap and the Secret, as Pulumi does.
func configure(t *testing.T, client kubernetes.Interface, o *tenantsynctest.OpenStack) {
	t.Helper()
	settings, err := yaml.Marshal(tenancy.Settings{Authorizer: tenancy.ABAC,
		PodCIDR: netip.MustParsePrefix("10.244.0.0/16")})
	require.NoError(t, err)
	cloud, err := yaml.Marshal(tenantsync.Cloud{
		AuthURL: o.AuthURL, CA: o.CA, Region: tenantsynctest.Region, Interface: tenantsynctest.Interface,
		Username: tenantsynctest.Username, UserDomain: "Default", Password: tenantsynctest.Password,
	})
	require.NoError(t, err)
	meta := metav1.ObjectMeta{Name: "tenant-sync"}
	configMap := &corev1.ConfigMap{ObjectMeta: meta, Data: map[string]string{"settings.yaml": string(settings)}}
	_, err = client.CoreV1().ConfigMaps(metav1.NamespaceSystem).Create(t.Context(), configMap, metav1.CreateOptions{})
	require.NoError(t, err)
	secret := &corev1.Secret{ObjectMeta: meta, Data: map[string][]byte{"cloud.yaml": cloud}}
	_, err = client.CoreV1().Secrets(metav1.NamespaceSystem).Create(t.Context(), secret, metav1.CreateOptions{})
	require.NoError(t, err)
}

// testLease checks the Lease with two machines, "a" and "b".
func testLease(t *testing.T, client kubernetes.Interface) {
	leaseOf := func(holder string) *lease {
		l, err := newLease(client)
		require.NoError(t, err)
		// A renewal waits for the disk, which can take seconds beside other tests. A read does not wait.
		l.holder, l.duration, l.retryInterval = holder, 10*time.Second, 300*time.Millisecond
		return l
	}
	a, b := leaseOf("a"), leaseOf("b")
	ctxA, signal := context.WithCancel(t.Context())
	_, releaseA, err := a.acquire(ctxA, io.Discard)
	require.NoError(t, err)
	signal() // a signal does not end a reload, so it must not end the renewal

	t.Log("b waits while a holds the Lease")
	ctx, cancel := context.WithTimeout(t.Context(), b.duration*4/3)
	defer cancel()
	var out bytes.Buffer
	_, _, err = b.acquire(ctx, &out)
	require.Error(t, err)
	require.Error(t, ctx.Err())
	assert.Equal(t, "waiting for a, which holds the Lease\n", out.String())

	t.Log("b acquires the Lease soon after a releases it")
	time.AfterFunc(300*time.Millisecond, releaseA)
	begin := time.Now()
	heldB, releaseB, err := b.acquire(t.Context(), io.Discard)
	require.NoError(t, err)
	assert.Less(t, time.Since(begin), b.duration)
	require.Error(t, a.renew(t.Context()))

	t.Log("held ends when another process acquires the Lease")
	_, err = b.client.Patch(t.Context(), leaseName, types.MergePatchType, []byte(`{"spec": {"holderIdentity": "c"}}`),
		metav1.PatchOptions{})
	require.NoError(t, err)
	<-heldB.Done()
	require.ErrorIs(t, context.Cause(heldB), errLost)
	releaseB()

	t.Log("the Lease of a dead holder expires after its duration")
	begin = time.Now()
	_, releaseA, err = a.acquire(t.Context(), io.Discard)
	require.NoError(t, err)
	assert.Greater(t, time.Since(begin), a.duration)
	releaseA()
}
