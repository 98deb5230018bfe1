//go:build e2e

package tests

import (
	"crypto/md5"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gophercloud/gophercloud/v2"
	gopherstack "github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/servers"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/applicationcredentials"
	"github.com/gophercloud/gophercloud/v2/openstack/objectstorage/v1/accounts"
	"github.com/gophercloud/gophercloud/v2/openstack/objectstorage/v1/containers"
	swift "github.com/gophercloud/gophercloud/v2/openstack/objectstorage/v1/objects"
	"github.com/pulumi/pulumi/sdk/v3/go/auto"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optpreview"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"kubernetes-openstack/cluster"
	"kubernetes-openstack/infra"
	"kubernetes-openstack/internal/etcdsnapshot/etcdsnapshottest"
)

// TestE2EBackupStorage checks the object storage of etcd's backups with the real engine, Keystone and Swift: the
// requests that the credential of the etcd machines allows, its rotation, the upload of a local snapshot, and a destroy
// that keeps or deletes the container with static large objects in it.
func TestE2EBackupStorage(t *testing.T) {
	t.Parallel()
	skipUnchanged(t)
	file := ownProject(t, "backup")
	clouds, err := os.ReadFile(file)
	require.NoError(t, err)
	openstack := connect(t, file)
	user := openstack.clients["object-store"]
	before := openstack.inventory(t)
	plan := smallPlan(t, cluster.CoreDNS)
	plan.Name, plan.Rules = "backup", nil
	plan.Etcd.Backup = cluster.Backup{Container: "backup-etcd"}
	plan.Storage.OnDestroy, plan.Protect = cluster.Keep, false
	var snapshot *infra.Snapshot
	s := newStack(t, func(ctx *pulumi.Context) error {
		security, err := infra.NewSecurity(ctx, plan)
		if err != nil {
			return err
		}
		project, err := infra.NewProject(ctx, plan, security)
		if err != nil {
			return err
		}
		backup, err := infra.NewBackup(ctx, plan, security, snapshot)
		if err != nil {
			return err
		}
		id, secret := backup.Credential(cluster.RoleEtcd)
		ctx.Export("id", id)
		ctx.Export("secret", secret)
		_, err = infra.NewLeftovers(ctx, plan, &infra.Network{}, security, &infra.PKI{}, backup, project)
		return err
	}, projectIn(t, string(clouds)), auto.Pulumi(pulumiCommand(t)))
	setEnv(t, s, map[string]string{"OS_CLOUD": "devcloud"})
	up := func(t *testing.T) (login func() (*gophercloud.ProviderClient, error)) {
		t.Helper()
		result, err := s.Up(t.Context())
		require.NoError(t, err, result.StdOut)
		refresh, err := s.Refresh(t.Context())
		require.NoError(t, err, refresh.StdOut)
		preview, err := s.Preview(t.Context(), optpreview.ExpectNoChanges())
		require.NoError(t, err, preview.StdOut)
		return func() (*gophercloud.ProviderClient, error) {
			return gopherstack.AuthenticatedClient(t.Context(), gophercloud.AuthOptions{
				IdentityEndpoint:            user.IdentityBase + "v3/",
				ApplicationCredentialID:     result.Outputs["id"].Value.(string),
				ApplicationCredentialSecret: result.Outputs["secret"].Value.(string),
			})
		}
	}
	content := func(t *testing.T, name string) string {
		t.Helper()
		got := swift.Download(t.Context(), user, "backup-etcd", name, nil)
		require.NoError(t, got.Err)
		text, err := io.ReadAll(got.Body)
		require.NoError(t, err)
		return string(text)
	}

	var login func() (*gophercloud.ProviderClient, error)
	step(t, "the credential allows only requests to its container", func(t *testing.T) {
		login = up(t)
		ctx := t.Context()
		for _, name := range []string{"other", "backup-etcd2"} {
			require.NoError(t, containers.Create(ctx, user, name, nil).Err)
			require.NoError(t, swift.Create(ctx, user, name, "theirs", swift.CreateOpts{
				Content: strings.NewReader("secret")}).Err)
		}
		machine, err := login()
		require.NoError(t, err)
		endpoint := gophercloud.EndpointOpts{Availability: gophercloud.AvailabilityPublic}
		storage, err := gopherstack.NewObjectStorageV1(machine, endpoint)
		require.NoError(t, err)
		nova, err := gopherstack.NewComputeV2(machine, endpoint)
		require.NoError(t, err)
		keystone, err := gopherstack.NewIdentityV3(machine, endpoint)
		require.NoError(t, err)
		put := func(container, name, text string) error {
			return swift.Create(ctx, storage, container, name, swift.CreateOpts{Content: strings.NewReader(text)}).Err
		}
		list := func(container string) error {
			_, err := swift.List(storage, container, nil).AllPages(ctx)
			return err
		}
		manifest := func(segment string) error {
			text := fmt.Sprintf(`[{"path": "/%s", "etag": "%x"}]`, segment, md5.Sum([]byte("part")))
			return swift.Create(ctx, storage, "backup-etcd", "large.db", swift.CreateOpts{
				Content: strings.NewReader(text), MultipartManifest: "put", NoETag: true,
			}).Err
		}
		listServers := func() error {
			_, err := servers.List(nova, nil).AllPages(ctx)
			return err
		}
		for _, row := range []struct {
			request string
			allowed bool
			err     error
		}{
			{"create an object", true, put("backup-etcd", "small.db", "hello")},
			{"create a segment", true, put("backup-etcd", "segments/large.db/0", "part")},
			{"create a static large object", true, manifest("backup-etcd/segments/large.db/0")},
			{"read the metadata of a large object", true, swift.Get(ctx, storage, "backup-etcd", "large.db", nil).Err},
			{"read a large object", true, swift.Download(ctx, storage, "backup-etcd", "large.db", nil).Err},
			{"list the container", true, list("backup-etcd")},
			{"read the metadata of the container", true, containers.Get(ctx, storage, "backup-etcd", nil).Err},
			{"delete an object", true, swift.Delete(ctx, storage, "backup-etcd", "small.db", nil).Err},

			{"list another container", false, list("other")},
			{"list a container whose name begins the same", false, list("backup-etcd2")},
			{"read an object of another container", false, swift.Download(ctx, storage, "other", "theirs", nil).Err},
			{"create an object in another container", false, put("backup-etcd2", "x", "x")},
			{"delete an object of another container", false, swift.Delete(ctx, storage, "backup-etcd2", "theirs", nil).Err},
			{"write metadata of an object", false, swift.Update(ctx, storage, "backup-etcd", "large.db", nil).Err},
			{"create a container", false, containers.Create(ctx, storage, "new", nil).Err},
			{"publish the container", false, containers.Update(ctx, storage, "backup-etcd",
				containers.UpdateOpts{ContainerRead: new(".r:*")}).Err},
			{"delete the container", false, containers.Delete(ctx, storage, "backup-etcd").Err},
			{"list the containers", false, accounts.Get(ctx, storage, nil).Err},
			{"list instances", false, listServers()},
			{"create another credential", false, applicationcredentials.Create(ctx, keystone, openstack.user,
				applicationcredentials.CreateOpts{Name: "more"}).Err},
		} {
			if row.allowed {
				assert.NoError(t, row.err, row.request)
			} else {
				assert.True(t, gophercloud.ResponseCodeIs(row.err, http.StatusUnauthorized) ||
					gophercloud.ResponseCodeIs(row.err, http.StatusForbidden), "%s: %v", row.request, row.err)
			}
		}
		for _, name := range []string{"other", "backup-etcd2"} {
			require.NoError(t, swift.Delete(ctx, user, name, "theirs", nil).Err)
			require.NoError(t, containers.Delete(ctx, user, name).Err)
		}
	})
	step(t, "another name replaces the credential", func(t *testing.T) {
		plan.OpenStack.Credential = "2"
		next := up(t)
		_, err := login()
		assert.Error(t, err)
		_, err = next()
		assert.NoError(t, err)
		assert.Len(t, openstack.credentials(t), 1)
	})
	step(t, "a credential that resume has adopted is replaced", func(t *testing.T) {
		for _, resource := range resources(t, s) {
			if urn, _, _ := strings.Cut(resource, " "); strings.Contains(urn, credentialType) {
				out, err := pulumiOf(s, "state", "taint", "--yes", urn).CombinedOutput()
				require.NoError(t, err, string(out))
			}
		}
		_, err := up(t)()
		assert.NoError(t, err)
		assert.Len(t, openstack.credentials(t), 1)
	})
	step(t, "a local snapshot is uploaded, another one at the same path too, and both are kept", func(t *testing.T) {
		saved := filepath.Join(t.TempDir(), "saved.db")
		for i, name := range []string{"saved-1.db", "saved-2.db"} {
			text := etcdsnapshottest.New(4 + i)
			require.NoError(t, os.WriteFile(saved, text, 0o600))
			snapshot = &infra.Snapshot{Path: saved, MD5: fmt.Sprintf("%x", md5.Sum(text)), Name: name}
			up(t)
			assert.Equal(t, string(text), content(t, name))
		}
		snapshot = nil
		up(t)
		assert.NotEmpty(t, content(t, "saved-1.db"))
		assert.NotEmpty(t, content(t, "saved-2.db"))
	})
	step(t, "a destroy keeps the container, and the next up has its objects", func(t *testing.T) {
		destroy, err := s.Destroy(t.Context())
		require.NoError(t, err, destroy.StdOut)
		assert.Equal(t, []string{"container backup-etcd"}, openstack.createdSince(t, before))
		up(t)
		assert.Equal(t, "part", content(t, "large.db"))
	})
	step(t, "a destroy deletes the container and all objects", func(t *testing.T) {
		plan.Storage.OnDestroy = cluster.Delete
		up(t)
		destroy, err := s.Destroy(t.Context())
		require.NoError(t, err, destroy.StdOut)
		assert.Equal(t, before, slices.Sorted(slices.Values(openstack.inventory(t))))
	})
}
