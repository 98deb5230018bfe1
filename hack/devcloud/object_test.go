//go:build e2e

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/servers"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/applicationcredentials"
	"github.com/gophercloud/gophercloud/v2/openstack/objectstorage/v1/containers"
	"github.com/gophercloud/gophercloud/v2/openstack/objectstorage/v1/objects"
	"github.com/stretchr/testify/require"
)

// TestE2EObjects uses Swift of the running cloud in its own project, and removes everything that it creates.
func TestE2EObjects(t *testing.T) {
	skipUnchanged(t)
	c := connect(t, "objects")
	swift := objectStorage(t, c.client)
	for _, name := range []string{"backups", "others"} {
		c.createContainer(swift, name)
	}

	c.step("an object is written, listed and read", func() {
		upload(t, swift, "backups", "a folder/object", "content")
		require.Equal(t, "content", download(t, swift, "backups", "a folder/object"))
		require.Equal(t, []string{"a folder/object"}, list(t, swift, "backups"))
	})

	c.step("a static large object consists of its segments", func() {
		uploadLarge(t, swift, "backups", "large", "first, ", "second")
		require.Equal(t, "first, second", download(t, swift, "backups", "large"))
		require.Equal(t, []string{"a folder/object", "large", "large-0", "large-1"}, list(t, swift, "backups"))
		err := objects.Delete(t.Context(), swift, "backups", "large", objects.DeleteOpts{MultipartManifest: "delete"}).Err
		require.True(t, gophercloud.ResponseCodeIs(err, http.StatusOK), err) // gophercloud expects another one
		require.Equal(t, []string{"a folder/object"}, list(t, swift, "backups"))
	})

	write := func(swift *gophercloud.ServiceClient, container string) error {
		return objects.Create(t.Context(), swift, container, "new",
			objects.CreateOpts{Content: strings.NewReader("new")}).Err
	}
	read := func(swift *gophercloud.ServiceClient, container string) error {
		result := objects.Download(t.Context(), swift, container, "new", nil)
		_, err := result.ExtractContent()
		return err
	}
	status := func(err error, code int) {
		t.Helper()
		require.True(t, gophercloud.ResponseCodeIs(err, code), "the status must be %d, got %v", code, err)
	}
	login := func(opts applicationcredentials.CreateOpts) *gophercloud.ProviderClient {
		client, err := openstack.AuthenticatedClient(t.Context(), c.createCredential(opts))
		require.NoError(t, err)
		return client
	}
	c.step("access rules limit an application credential to one container", func() {
		every := objectStorage(t, login(applicationcredentials.CreateOpts{Name: "every"}))
		require.NoError(t, write(every, "others"))

		container, err := url.Parse(swift.Endpoint + "backups")
		require.NoError(t, err)
		rule := applicationcredentials.AccessRule{Service: "object-store", Method: "GET", Path: container.Path}
		rules := []applicationcredentials.AccessRule{rule}
		rule.Path += "/**"
		for _, rule.Method = range []string{"DELETE", "GET", "HEAD", "PUT"} {
			rules = append(rules, rule)
		}
		client := login(applicationcredentials.CreateOpts{Name: "backups", AccessRules: rules})
		backups := objectStorage(t, client)
		require.NoError(t, write(backups, "backups"))
		require.NoError(t, read(backups, "backups"))
		uploadLarge(t, backups, "backups", "large", "first, ", "second")
		require.Equal(t, "first, second", download(t, backups, "backups", "large"))
		require.Contains(t, list(t, backups, "backups"), "new")
		require.NoError(t, objects.Delete(t.Context(), backups, "backups", "new", nil).Err)

		status(write(backups, "others"), http.StatusUnauthorized)
		status(read(backups, "others"), http.StatusUnauthorized)
		_, err = containers.List(backups, nil).AllPages(t.Context())
		status(err, http.StatusUnauthorized)
		status(containers.Create(t.Context(), backups, "third", nil).Err, http.StatusUnauthorized)
		nova, err := openstack.NewComputeV2(client, inRegion)
		require.NoError(t, err)
		_, err = servers.List(nova, nil).AllPages(t.Context())
		status(err, http.StatusUnauthorized)

		// A rule does not limit the source of a copy.
		require.NoError(t, objects.Create(t.Context(), backups, "backups", "copy",
			objects.CreateOpts{Content: strings.NewReader(""), CopyFrom: "others/new", NoETag: true}).Err)
		require.Equal(t, "new", download(t, backups, "backups", "copy"))
	})

	c.step("readers read, and nobody else has access", func() {
		reader := objectStorage(t, login(applicationcredentials.CreateOpts{Name: "reader",
			Roles: []applicationcredentials.Role{{Name: "reader"}}}))
		require.NoError(t, read(reader, "others"))
		status(write(reader, "others"), http.StatusForbidden)
		stranger := objectStorage(t, tenantClient(t, t.Context())) // a member of another project
		stranger.Endpoint = swift.Endpoint
		status(read(stranger, "others"), http.StatusForbidden)
		anonymous, err := openstack.NewClient(identityURL)
		require.NoError(t, err)
		status(read(&gophercloud.ServiceClient{ProviderClient: anonymous, Endpoint: swift.Endpoint}, "others"),
			http.StatusUnauthorized)
	})

	c.step("machines use the internal endpoint", func() {
		internal, err := openstack.NewObjectStorageV1(c.client,
			gophercloud.EndpointOpts{Region: region, Availability: gophercloud.AvailabilityInternal})
		require.NoError(t, err)
		require.Contains(t, internal.Endpoint, externalGateway)
		output, err := c.record.enter("ip", "netns", "exec", router, "curl", "--silent", "--show-error", "--fail",
			"--header", "X-Auth-Token: "+c.client.Token(), internal.Endpoint+"backups/a%20folder/object").CombinedOutput()
		require.NoError(t, err, "%s", output)
		require.Equal(t, "content", string(output))
	})
}

func objectStorage(t *testing.T, client *gophercloud.ProviderClient) *gophercloud.ServiceClient {
	t.Helper()
	swift, err := openstack.NewObjectStorageV1(client, inRegion)
	require.NoError(t, err)
	return swift
}

// createContainer creates a container, which is deleted with its objects at the end.
func (c *cloud) createContainer(swift *gophercloud.ServiceClient, name string) {
	require.NoError(c, containers.Create(c.Context(), swift, name, nil).Err)
	c.atEnd(func(ctx context.Context) error {
		for _, object := range list(c.T, swift, name) {
			if err := objects.Delete(ctx, swift, name, object, nil).Err; err != nil {
				return err
			}
		}
		return containers.Delete(ctx, swift, name).Err
	})
}

func upload(t *testing.T, swift *gophercloud.ServiceClient, container, name, content string) {
	t.Helper()
	require.NoError(t, objects.Create(t.Context(), swift, container, name,
		objects.CreateOpts{Content: strings.NewReader(content)}).Err)
}

// uploadLarge creates a static large object and its segments, which are <name>-0, <name>-1 and so on.
func uploadLarge(t *testing.T, swift *gophercloud.ServiceClient, container, name string, contents ...string) {
	t.Helper()
	type segment struct {
		Path string `json:"path"`
	}
	var segments []segment
	for i, content := range contents {
		part := fmt.Sprintf("%s-%d", name, i)
		upload(t, swift, container, part, content)
		segments = append(segments, segment{container + "/" + part})
	}
	manifest, err := json.Marshal(segments)
	require.NoError(t, err)
	require.NoError(t, objects.Create(t.Context(), swift, container, name, objects.CreateOpts{
		Content: bytes.NewReader(manifest), MultipartManifest: "put",
		NoETag: true, // Swift would compare it with the segments' checksums
	}).Err)
}

func download(t *testing.T, swift *gophercloud.ServiceClient, container, name string) string {
	t.Helper()
	result := objects.Download(t.Context(), swift, container, name, nil)
	content, err := result.ExtractContent()
	require.NoError(t, err)
	return string(content)
}

// list returns the names of the objects in a container, sorted.
func list(t *testing.T, swift *gophercloud.ServiceClient, container string) []string {
	t.Helper()
	pages, err := objects.List(swift, container, nil).AllPages(context.Background())
	require.NoError(t, err)
	names, err := objects.ExtractNames(pages)
	require.NoError(t, err)
	return names
}
