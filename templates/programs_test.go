package templates

import (
	"archive/tar"
	"compress/gzip"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/stretchr/testify/require"

	"kubernetes-openstack/internal/dirs"
)

// All tests together read the programs that machines download from the mirror only once.

// kubernetes returns the content of a Kubernetes binary that devcloud's machines download.
func kubernetes(t *testing.T, name string) string {
	return binary(t, dirs.Mirror("dl.k8s.io/release/v1.36.3/bin/linux/amd64", name))
}

// etcdBinaries returns path → content of the machines' etcd and etcdctl.
func etcdBinaries(t *testing.T) map[string]string {
	return release(t, dirs.Mirror("github.com/etcd-io/etcd/releases/download/v3.6.14/etcd-v3.6.14-linux-amd64.tar.gz"))
}

// containerd returns path → content of a machine with containerd's programs.
func containerd(t *testing.T, m values) map[string]string {
	files := filesOf(t, m)
	maps.Copy(files, release(t,
		dirs.Mirror("github.com/containerd/containerd/releases/download/v2.3.4/containerd-2.3.4-linux-amd64.tar.gz")))
	return files
}

// calicoctl returns path → content of calicoctl and its configuration.
func calicoctl(t *testing.T) map[string]string {
	const config = "/etc/calico/calicoctl.cfg"
	return map[string]string{
		"/usr/local/bin/calicoctl": binary(t,
			dirs.Mirror("github.com/projectcalico/calico/releases/download/v3.28.5/calicoctl-linux-amd64")),
		config: filesOf(t, controlPlaneMachine())[config],
	}
}

// program returns path → content of a program of an image, in /usr/local/bin.
func program(t *testing.T, image, name string) map[string]string {
	content, found := imageFiles(t, dirs.Mirror("oci", image))["/usr/bin/"+name]
	require.True(t, found, name)
	return map[string]string{"/usr/local/bin/" + name: content}
}

// binary returns the content of a file.
var binary = once(func(file string) (string, error) {
	content, err := os.ReadFile(file)
	return string(content), err
})

// built returns the content of a program of the working tree.
var built = once(func(source string) (string, error) {
	folder, err := os.MkdirTemp("", "")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(folder) }()
	file := filepath.Join(folder, "program")
	build := exec.Command("go", "build", "-o", file, source)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	content, err := os.ReadFile(file)
	return string(content), err
})

// release returns path in /usr/local/bin → content of the files in a .tar.gz.
var release = once(func(file string) (map[string]string, error) {
	zipped, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer func() { _ = zipped.Close() }()
	archive, err := gzip.NewReader(zipped)
	if err != nil {
		return nil, err
	}
	return unpack(archive, func(name string) string { return path.Join("/usr/local/bin", path.Base(name)) })
})

// imageFiles returns path → content of Calico's programs, confd's templates and metrics-server in an image that
// devcloud's machines pull.
var imageFiles = once(func(dir string) (map[string]string, error) {
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		return nil, err
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	image, err := index.Image(manifest.Manifests[0].Digest)
	if err != nil {
		return nil, err
	}
	content := mutate.Extract(image)
	defer func() { _ = content.Close() }()
	return unpack(content, func(name string) string {
		switch name = path.Join("/", name); {
		case strings.HasPrefix(name, "/etc/calico/confd/"), name == "/usr/sbin/bird", name == "/usr/bin/calico-node",
			name == "/usr/bin/kube-controllers", name == "/metrics-server":
			return name
		}
		return ""
	})
})

// unpack returns path → content of the files of an archive. target returns a file's path, or "" for files to
// leave out.
func unpack(archive io.Reader, target func(name string) string) (map[string]string, error) {
	files := map[string]string{}
	for entries := tar.NewReader(archive); ; {
		header, err := entries.Next()
		if err == io.EOF {
			return files, nil
		}
		if err != nil {
			return nil, err
		}
		if name := target(header.Name); name != "" && header.Typeflag == tar.TypeReg {
			var content strings.Builder
			content.Grow(int(header.Size))
			if _, err := io.Copy(&content, entries); err != nil {
				return nil, err
			}
			files[name] = content.String()
		}
	}
}

// once returns a function that caches the results of read.
func once[T any](read func(string) (T, error)) func(*testing.T, string) T {
	var results sync.Map
	return func(t *testing.T, file string) T {
		t.Helper()
		result, _ := results.LoadOrStore(file, sync.OnceValues(func() (T, error) { return read(file) }))
		content, err := result.(func() (T, error))()
		require.NoError(t, err, "run make test")
		return content
	}
}
