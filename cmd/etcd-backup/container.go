package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/config"
	"github.com/gophercloud/gophercloud/v2/openstack/objectstorage/v1/objects"
	"github.com/gophercloud/gophercloud/v2/pagination"
)

// container is a container of Swift.
type container struct {
	client      *gophercloud.ServiceClient
	name        string
	segmentSize int64 // bytes
}

// segments is the prefix of the names of all segments. The name of the snapshot and a number follow.
const segments = "segments/"

// connect logs in with the application credential.
func connect(ctx context.Context, getenv func(string) string) (*container, error) {
	for _, name := range []string{
		"BACKUP_CONTAINER", "OS_AUTH_URL", "OS_APPLICATION_CREDENTIAL_ID", "OS_APPLICATION_CREDENTIAL_SECRET",
	} {
		if getenv(name) == "" {
			return nil, fmt.Errorf("%s: must be set", name)
		}
	}
	secure := &tls.Config{MinVersion: tls.VersionTLS12}
	if file := getenv("OS_CACERT"); file != "" {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("OS_CACERT: %w", err)
		}
		secure.RootCAs = x509.NewCertPool()
		if !secure.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("OS_CACERT: %s must contain a certificate", file)
		}
	}
	provider, err := config.NewProviderClient(ctx, gophercloud.AuthOptions{
		IdentityEndpoint:            getenv("OS_AUTH_URL"),
		ApplicationCredentialID:     getenv("OS_APPLICATION_CREDENTIAL_ID"),
		ApplicationCredentialSecret: getenv("OS_APPLICATION_CREDENTIAL_SECRET"),
		AllowReauth:                 true,
	}, config.WithTLSConfig(secure))
	if err != nil {
		return nil, fmt.Errorf("log in to OpenStack with the application credential %s: %w",
			getenv("OS_APPLICATION_CREDENTIAL_ID"), reason(err))
	}
	client, err := openstack.NewObjectStorageV1(provider, gophercloud.EndpointOpts{
		Region: getenv("OS_REGION_NAME"), Availability: gophercloud.Availability(getenv("OS_INTERFACE")),
	})
	if err != nil {
		return nil, fmt.Errorf("find Swift in region %q, interface %q: %w",
			getenv("OS_REGION_NAME"), getenv("OS_INTERFACE"), err)
	}
	return &container{client: client, name: getenv("BACKUP_CONTAINER"), segmentSize: 1 << 30}, nil
}

// list returns the names of the objects that begin with prefix, sorted.
func (c *container) list(ctx context.Context, prefix string) ([]string, error) {
	names, _, err := c.listAndCount(ctx, prefix)
	return names, err
}

// listAndCount also returns the number of all objects of the container.
func (c *container) listAndCount(ctx context.Context, prefix string) (names []string, count int, err error) {
	headers := map[string]string{"Accept": "application/json", "X-Newest": "true"} // of all replicas
	pages := objects.List(c.client, c.name, objects.ListOpts{Prefix: prefix}).WithPageCreator(
		func(r pagination.PageResult) pagination.Page {
			p := listPage{objects.ObjectPage{MarkerPageBase: pagination.MarkerPageBase{PageResult: r}}, &count}
			p.Owner = p
			return p
		})
	pages.Headers = headers
	err = pages.EachPage(ctx, func(_ context.Context, page pagination.Page) (bool, error) {
		found, err := objects.ExtractNames(page.(listPage).ObjectPage)
		names = append(names, found...)
		return true, err
	})
	if err != nil {
		return nil, 0, fmt.Errorf("list container %s: %w", c.name, reason(err))
	}
	return names, count, nil
}

// listPage is a page of a list. gophercloud accepts a page of HTML, and one without content, as an empty list. A proxy
// can respond so in place of Swift, and then a container with snapshots would seem empty.
type listPage struct {
	objects.ObjectPage
	count *int // of all objects of the container
}

// IsEmpty returns an error if Swift did not create the page.
func (p listPage) IsEmpty() (empty bool, err error) {
	kind, count := p.Header.Get("Content-Type"), p.Header.Get("X-Container-Object-Count")
	if *p.count, err = strconv.Atoi(count); err != nil || p.StatusCode != http.StatusOK ||
		!strings.HasPrefix(kind, "application/json") {
		return false, fmt.Errorf("the response is not a list of Swift: HTTP status %d, Content-Type %q, "+
			"X-Container-Object-Count %q from %s", p.StatusCode, kind, count, &p.URL)
	}
	return p.ObjectPage.IsEmpty()
}

// upload creates the object name.
func (c *container) upload(ctx context.Context, name string, file io.ReaderAt, size int64,
	metadata map[string]string) error {
	type segment struct {
		Path string `json:"path"`
		ETag string `json:"etag"`
		Size int64  `json:"size_bytes"`
	}
	var manifest []segment
	for offset := int64(0); offset < size; offset += c.segmentSize {
		part := io.NewSectionReader(file, offset, min(c.segmentSize, size-offset))
		object := fmt.Sprintf("%s%s/%08d", segments, name, len(manifest))
		// Swift compares the ETag of the request with the content
		created, err := objects.Create(ctx, c.client, c.name, object, objects.CreateOpts{Content: part}).Extract()
		if err != nil {
			return c.failed("upload", object, err)
		}
		manifest = append(manifest, segment{"/" + c.name + "/" + object, strings.Trim(created.ETag, `"`), part.Size()})
	}
	text, err := json.Marshal(manifest)
	if err != nil {
		return err
	}
	_, err = objects.Create(ctx, c.client, c.name, name, objects.CreateOpts{
		Content: bytes.NewReader(text), ContentType: "application/octet-stream", Metadata: metadata,
		MultipartManifest: "put", NoETag: true, // it would be that of the whole object
	}).Extract()
	return c.failed("upload", name, err)
}

// errNotFound is the error if an object does not exist.
var errNotFound = errors.New("does not exist")

// head returns the size and the metadata of an object.
func (c *container) head(ctx context.Context, name string) (size int64, metadata map[string]string, err error) {
	got := objects.Get(ctx, c.client, c.name, name, objects.GetOpts{Newest: true})
	header, err := got.Extract()
	if err != nil {
		return 0, nil, c.failed("read", name, err)
	}
	metadata, err = got.ExtractMetadata()
	return header.ContentLength, metadata, err
}

// download writes an object to a file. It returns an error if the object ends early.
func (c *container) download(ctx context.Context, name string, file io.Writer) error {
	got := objects.Download(ctx, c.client, c.name, name, nil)
	if got.Err != nil {
		return c.failed("download", name, got.Err)
	}
	n, err := io.Copy(file, got.Body)
	if err := errors.Join(err, got.Body.Close()); err != nil {
		return fmt.Errorf("download %s: after %d bytes: %w", name, n, err)
	}
	return nil
}

// remove deletes an object. It does not delete the segments of a manifest.
func (c *container) remove(ctx context.Context, name string) error {
	err := objects.Delete(ctx, c.client, c.name, name, nil).Err
	if gophercloud.ResponseCodeIs(err, http.StatusNotFound) {
		return nil
	}
	return c.failed("delete", name, err)
}

// failed describes the error of a request for an object.
func (c *container) failed(action, object string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s %s in container %s: %w", action, object, c.name, reason(err))
}

// reason returns the cause of a failed request in one line.
func reason(err error) error {
	var response gophercloud.ErrUnexpectedResponseCode
	switch {
	case !errors.As(err, &response):
		return err
	case response.Actual == http.StatusNotFound:
		return errNotFound
	}
	return fmt.Errorf("HTTP status %d from %s", response.Actual, response.URL)
}
