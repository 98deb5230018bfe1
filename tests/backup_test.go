package tests

import (
	"crypto/md5"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"kubernetes-openstack/cluster"
	"kubernetes-openstack/internal/etcdsnapshot/etcdsnapshottest"
)

const (
	credentialType = "openstack:identity/applicationCredential:ApplicationCredential"
	containerType  = "openstack:objectstorage/container:Container"
	objectType     = "openstack:objectstorage/containerObject:ContainerObject"
	instanceType   = "openstack:compute/instance:Instance"
)

// ofType returns all resources of a type.
func (r *recorder) ofType(token string) []pulumi.MockResourceArgs {
	return slices.DeleteFunc(slices.Clone(r.resources), func(res pulumi.MockResourceArgs) bool {
		return res.TypeToken != token
	})
}

// restoring returns an edit of Pulumi.dev.yaml that sets etcd.restore.
func restoring(t *testing.T, snapshot string) func(string) string {
	const backup = "      backup: {container: dev-etcd}\n"
	return replaced(t, backup, backup+"      restore: "+snapshot+"\n")
}

// TestOnlyEtcdMachinesAccessBackups checks that the credential is on no other machine, and that it allows only requests
// to the container in its own project.
func TestOnlyEtcdMachinesAccessBackups(t *testing.T) {
	t.Parallel()
	config := stackConfig(t, "../Pulumi.dev.yaml")
	r, err := run(t, "dev", config)
	require.NoError(t, err)
	c, err := cluster.Decode("dev", config["kubernetes-openstack:cluster"])
	require.NoError(t, err)
	name := c.BackupCredentialName()
	credential := r.named(credentialType, name)
	require.Equal(t, plain(credential.Inputs["name"]), name)
	for _, rule := range credential.Inputs["accessRules"].ArrayValue() {
		assert.Regexp(t, `^\{method: [A-Z]+, path: /v1/AUTH_project/dev-etcd(/\*\*)?, service: object-store\}$`, plain(rule))
	}
	assert.Len(t, credential.Inputs["accessRules"].ArrayValue(), 6)
	assert.Equal(t, "false", plain(credential.Inputs["unrestricted"]))

	for _, instance := range r.ofType(instanceType) {
		var with []string
		for _, f := range writtenFiles(t, instance) {
			if strings.Contains(f.Content, "secret of "+name) {
				with = append(with, f.Path+" "+f.Permissions)
				assert.Contains(t, f.Content, "OS_APPLICATION_CREDENTIAL_ID=ApplicationCredential/"+name+"\n")
			}
		}
		depends := strings.Contains(fmt.Sprint(instance.RegisterRPC.GetPropertyDependencies()["userData"].GetUrns()), name)
		if strings.HasPrefix(instance.Name, "dev-etcd-") {
			assert.Equal(t, []string{"/etc/etcd/backup.env 0600"}, with, instance.Name)
		} else {
			assert.Empty(t, with, instance.Name)
			assert.False(t, depends, instance.Name)
		}
	}
}

// TestContainerOnDestroy checks that a destroy keeps the container, or deletes it with its objects after all machines.
func TestContainerOnDestroy(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		onDestroy, protect    string
		retain, forced, guard bool
	}{
		"keep":           {"keep", "true", true, false, false},
		"delete":         {"delete", "false", false, true, false},
		"delete, guards": {"delete", "true", false, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, err := run(t, "dev", edited(t, "../Pulumi.dev.yaml", func(text string) string {
				text = replaced(t, "onDestroy: delete", "onDestroy: "+row.onDestroy)(text)
				return replaced(t, "    protect: false", "    protect: "+row.protect)(text)
			}))
			require.NoError(t, err)
			container := r.named(containerType, "dev-etcd")
			assert.Equal(t, row.retain, container.RegisterRPC.GetRetainOnDelete())
			assert.Equal(t, row.guard, container.RegisterRPC.GetProtect())
			assert.Equal(t, fmt.Sprint(row.forced), plain(container.Inputs["forceDestroy"]))
			// every machine depends on it
			leftovers := r.named("teardown:index:Leftovers", "dev").RegisterRPC
			assert.Contains(t, fmt.Sprint(leftovers.GetDependencies()), containerType+"::dev-etcd")
		})
	}
}

// TestRestore checks that an object is restored without an upload, and that only members of etcd have its name.
func TestRestore(t *testing.T) {
	t.Parallel()
	r, err := run(t, "dev", edited(t, "../Pulumi.dev.yaml", restoring(t, "dev-20270131T120000Z.db")))
	require.NoError(t, err)
	assert.Empty(t, r.ofType(objectType))
	requireRestore(t, r, "dev-20270131T120000Z.db")
}

// requireRestore checks the name of the snapshot in the metadata and in the user-data of all instances.
func requireRestore(t *testing.T, r *recorder, name string) {
	t.Helper()
	for _, instance := range r.ofType(instanceType) {
		settings := ""
		for _, f := range writtenFiles(t, instance) {
			if f.Path == "/etc/etcd/backup.env" {
				settings = f.Content
			}
		}
		metadata := plain(instance.Inputs["metadata"])
		if strings.HasPrefix(instance.Name, "dev-etcd-") {
			assert.Equal(t, "{cluster: dev, members: 3, restore: "+name+", role: etcd}", metadata)
			assert.Contains(t, settings, "\nRESTORE="+name+"\n")
		} else {
			assert.NotContains(t, metadata, "restore", instance.Name)
		}
	}
}

// TestRestoreFromAFile checks that a local snapshot is uploaded before the machines change, and that it stays in the
// container.
func TestRestoreFromAFile(t *testing.T) {
	t.Parallel()
	content := etcdsnapshottest.New(4)
	file := filepath.Join(t.TempDir(), "saved.db")
	require.NoError(t, os.WriteFile(file, content, 0o600))
	r, err := run(t, "dev", edited(t, "../Pulumi.dev.yaml", restoring(t, file)))
	require.NoError(t, err)
	name := fmt.Sprintf("saved-%.4x.db", sha256.Sum256(content))
	object := r.named(objectType, name)
	assert.Equal(t, fmt.Sprintf("map[containerName:{dev-etcd} etag:{%x} name:{%s} source:{%s}]", md5.Sum(content), name,
		file), fmt.Sprint(object.Inputs))
	assert.True(t, object.RegisterRPC.GetRetainOnDelete())
	assert.Contains(t, fmt.Sprint(r.named("teardown:index:Leftovers", "dev").RegisterRPC.GetDependencies()), "::"+name)
	requireRestore(t, r, name)

	// another snapshot at the same path is another object, so it is restored, too
	content = etcdsnapshottest.New(5)
	require.NoError(t, os.WriteFile(file, content, 0o600))
	r = &recorder{}
	require.NoError(t, runWith(r, "dev", edited(t, "../Pulumi.dev.yaml", restoring(t, file)), &watcher{}, true))
	other := fmt.Sprintf("saved-%.4x.db", sha256.Sum256(content))
	assert.NotEqual(t, name, other)
	assert.Equal(t, other, r.named(objectType, other).Name)
	requireRestore(t, r, other)
}

// TestUnusableSnapshots checks that a preview reports a file that is not a snapshot, before it declares any resource.
func TestUnusableSnapshots(t *testing.T) {
	t.Parallel()
	content := etcdsnapshottest.New(4)
	altered := slices.Clone(content)
	altered[len(altered)/2]++
	folder := t.TempDir()
	for name, row := range map[string]struct {
		content []byte
		size    int64 // of a sparse file
		want    string
	}{
		"missing.db": {nil, 0, "open %s: no such file or directory: correct the path, or set etcd.restore to the " +
			"name of the object"},
		"truncated.db": {content[:len(content)-512], 0, "%s: truncated: it has 15904 bytes, but must have 16416"},
		"altered.db":   {altered, 0, "%s: altered: the SHA-256 of its database is "},
		"text.db":      {[]byte("text"), 0, "%s: not a snapshot of etcd: it has 4 bytes"},
		"large.db": {content, 5<<30 + 1, "%s must have at most 5368709120 bytes, but has 5368709121: " +
			"run `swift upload --use-slo --segment-size`, and set etcd.restore to the name of the object"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(folder, name)
			if row.content != nil {
				require.NoError(t, os.WriteFile(file, row.content, 0o600))
			}
			if row.size > 0 {
				require.NoError(t, os.Truncate(file, row.size))
			}
			r := &recorder{}
			err := runWith(r, "dev", edited(t, "../Pulumi.dev.yaml", restoring(t, file)), &watcher{}, true)
			assert.ErrorContains(t, err, "kubernetes-openstack:cluster has 1 error:\n"+
				"  etcd.restore: cannot upload the snapshot: "+fmt.Sprintf(row.want, file))
			assert.Empty(t, r.resources)
		})
	}
}
