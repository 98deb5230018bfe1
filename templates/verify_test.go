package templates

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"path"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"kubernetes-openstack/cluster"
	"kubernetes-openstack/tests/guest"
)

// These tests pass the rendered files to the machines' own tools, in the machines' root filesystem.

func TestCloudInitAcceptsTheSchema(t *testing.T) {
	t.Parallel()
	for role, m := range machines() {
		t.Run(role, func(t *testing.T) {
			t.Parallel()
			config, err := configOf(m)
			require.NoError(t, err)
			out, err := guest.Run(t, map[string]string{"/user-data": string(config)},
				"cloud-init", "schema", "--config-file", "/user-data")
			require.NoError(t, err, out)
			require.Contains(t, out, "Valid")
		})
	}
}

func TestSystemdAcceptsTheUnits(t *testing.T) {
	t.Parallel()
	for role, m := range machines() {
		t.Run(role, func(t *testing.T) {
			t.Parallel()
			files := filesOf(t, m)
			var units []string
			for name := range files {
				switch {
				case path.Dir(name) == "/etc/systemd/system":
					units = append(units, name)
				case strings.HasPrefix(name, "/etc/systemd/system/"): // a drop-in is verified with its unit
					units = append(units, strings.TrimSuffix(path.Base(path.Dir(name)), ".d"))
				}
			}
			for _, a := range m.Artifacts { // downloaded later
				for _, binary := range append(a.Members, a.Name) {
					files[path.Join(a.Directory, path.Base(binary))] = "#!/bin/sh\n"
				}
			}
			for _, name := range []string{"bird", "calico-node"} { // these programs are in their own root filesystem
				files["/usr/bin/"+name] = "#!/bin/sh\n"
			}
			out, err := guest.Run(t, files, append([]string{"systemd-analyze", "verify", "--man=no"}, units...)...)
			require.NoError(t, err, out)
			require.Empty(t, out)
		})
	}
}

// filesOf returns path → content of all files of m.
func filesOf(t *testing.T, m values) map[string]string {
	files, err := m.files()
	require.NoError(t, err)
	byPath := map[string]string{}
	for _, f := range files {
		byPath[f.Path] = f.Content
	}
	return byPath
}

const member = "tool-v1-linux-amd64/tool"

// archive returns a release of a tool, packed as upstreams do, and its SHA-256.
func archive(t *testing.T) (tarball []byte, sum string) {
	var out bytes.Buffer
	zipped := gzip.NewWriter(&out)
	packed := tar.NewWriter(zipped)
	noise := make([]byte, 100_000) // more than the full disks of these tests hold
	_, err := rand.NewChaCha8([32]byte{}).Read(noise)
	require.NoError(t, err)
	content := fmt.Sprintf("#!/bin/sh\necho tool runs\nexit\n%x", noise)
	require.NoError(t, packed.WriteHeader(&tar.Header{Name: member, Mode: 0o644, Size: int64(len(content))}))
	_, err = packed.Write([]byte(content))
	require.NoError(t, err)
	require.NoError(t, packed.Close())
	require.NoError(t, zipped.Close())
	return out.Bytes(), fmt.Sprintf("%x", sha256.Sum256(out.Bytes()))
}

func TestInstallArtifacts(t *testing.T) {
	t.Parallel()
	tarball, sum := archive(t)
	binary := []byte("#!/bin/sh\necho tool runs\n" + strings.Repeat("# long\n", 20_000))
	binarySum := fmt.Sprintf("%x", sha256.Sum256(binary))
	const again = "; echo again; install-artifacts && tool"
	// a network on which no host answers
	const offline = "unshare --net sh -c 'ip link add unused type veth peer name peer; ip link set peer up; ip " +
		"link set unused up arp off; ip route add default dev unused; install-artifacts'"
	for name, test := range map[string]struct {
		statuses []int // of the mirror's first answers; then it serves the file
		binary   bool  // the download is the binary itself
		url      string
		sha256   string // in the list; the right one if empty
		member   string // the right one if empty
		script   string
		fails    bool
		requests int32
		want     []string
	}{
		"downloaded once": {
			script: "install-artifacts && tool" + again, requests: 1,
			want: []string{"tool: installed /usr/local/bin/tool\ntool runs\nagain\ntool runs\n"},
		},
		"binary, downloaded once": {
			binary: true, script: "install-artifacts && tool; ls /var/cache/artifacts" + again, requests: 1,
			want: []string{"tool: installed /usr/local/bin/tool\ntool runs\nagain\ntool runs\n"},
		},
		"mirror down twice": {
			statuses: []int{503, 503}, script: "install-artifacts && tool", requests: 3,
			want: []string{"tool runs"},
		},
		"not found": {
			statuses: []int{404}, script: "install-artifacts", fails: true, requests: 1,
			want: []string{"tool: cannot download http://127.0.0.1:", "tool.tar.gz to /var/cache/artifacts/tool-" + sum,
				"returned error: 404\n"},
		},
		"binary not found": {
			binary: true, statuses: []int{404}, script: "install-artifacts", fails: true, requests: 1,
			want: []string{"tool: cannot download http://127.0.0.1:", "/tool to /usr/local/bin/tool.part: ",
				"returned error: 404\n"},
		},
		"not found at first": {
			statuses: []int{404}, script: "install-artifacts" + again, requests: 2,
			want: []string{"again\n", "tool runs"},
		},
		"wrong checksum": {
			sha256: strings.Repeat("0", 64), script: "install-artifacts || { ls /usr/local/bin; exit 1; }", fails: true,
			requests: 1,
			want: []string{"tool: http://127.0.0.1:",
				"/tool.tar.gz has sha256 " + sum + ", expected " + strings.Repeat("0", 64) + "\n"},
		},
		"binary with the wrong checksum": {
			binary: true, sha256: strings.Repeat("0", 64), script: "install-artifacts || { ls /usr/local/bin; exit 1; }",
			fails: true, requests: 1,
			want: []string{"/tool has sha256 " + binarySum + ", expected " + strings.Repeat("0", 64) + "\n"},
		},
		"no such member": {
			member: "tool-v1-linux-amd64/other", script: "install-artifacts", fails: true, requests: 1,
			want: []string{"tool: cannot unpack tool-v1-linux-amd64/other from /var/cache/artifacts/tool-" + sum,
				"Not found in archive\n"},
		},
		"cache damaged": {
			script: "install-artifacts; echo x >/var/cache/artifacts/tool-" + sum + again, requests: 1,
			want: []string{"tool runs"},
		},
		"cache and installed damaged": {
			script:   "install-artifacts; echo x >/var/cache/artifacts/tool-" + sum + "; : >/usr/local/bin/tool" + again,
			requests: 2,
			want:     []string{"again\ntool: downloading", "tool: installed /usr/local/bin/tool\ntool runs\n"},
		},
		"installed damaged": {
			script: "install-artifacts; : >/usr/local/bin/tool" + again, requests: 1,
			want: []string{"again\ntool: installed /usr/local/bin/tool\ntool runs\n"},
		},
		"installed and sums damaged": {
			script:   "install-artifacts; : >/usr/local/bin/tool; : >/var/cache/artifacts/tool-" + sum + ".sums" + again,
			requests: 1,
			want:     []string{"again\ntool: installed /usr/local/bin/tool\ntool runs\n"},
		},
		"binary damaged": {
			binary: true, script: "install-artifacts; : >/usr/local/bin/tool" + again, requests: 2,
			want: []string{"again\ntool: downloading", "tool: installed /usr/local/bin/tool\ntool runs\n"},
		},
		"full disk under the cache": {
			script: "mkdir /var/cache/artifacts; mount -t tmpfs -o size=64k tmpfs /var/cache/artifacts; install-artifacts",
			fails:  true, requests: 1,
			want: []string{"tool: cannot ", "no space left on device: /var/cache/artifacts\n"},
		},
		"no space to unpack the archive": {
			script: "mkdir /var/cache/artifacts; mount -t tmpfs -o size=160k tmpfs /var/cache/artifacts; install-artifacts",
			fails:  true, requests: 1,
			want: []string{"tool: cannot unpack tool-v1-linux-amd64/tool from ",
				"no space left on device: /var/cache/artifacts\n"},
		},
		"full disk under the target": {
			binary: true,
			script: "mount -t tmpfs -o size=64k tmpfs /usr/local/bin; install-artifacts || { ls -A /usr/local/bin; exit 1; }",
			fails:  true, requests: 1,
			want: []string{"/tool to /usr/local/bin/tool.part: curl: (23) ", "no space left on device: /usr/local/bin\n"},
		},
		"mirror unreachable": {
			url: "http://192.0.2.1/tool.tar.gz", script: offline, fails: true,
			want: []string{"tool: cannot download http://192.0.2.1/tool.tar.gz to /var/cache/artifacts/", "curl: (28) ",
				"Timeout was reached\n"},
		},
		"mirror not running": {
			url: "http://127.0.0.1:9/tool.tar.gz", script: "install-artifacts", fails: true,
			want: []string{"tool: cannot download http://127.0.0.1:9/tool.tar.gz to ",
				"curl: (7) Failed to connect to 127.0.0.1 port 9 "},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var requests atomic.Int32
			mirror := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if n := int(requests.Add(1)); n <= len(test.statuses) {
					w.WriteHeader(test.statuses[n-1])
					return
				}
				if r.URL.Path == "/tool" {
					_, _ = w.Write(binary)
				} else {
					_, _ = w.Write(tarball)
				}
			}))
			defer mirror.Close()

			a := cluster.Artifact{Name: "tool", URL: or(test.url, mirror.URL+"/tool.tar.gz"), SHA256: or(test.sha256, sum),
				Directory: "/usr/local/bin", Members: []string{or(test.member, member)}}
			if test.binary {
				a.URL, a.SHA256, a.Members = mirror.URL+"/tool", or(test.sha256, binarySum), nil
			}
			m := values{Machine: cluster.Machine{ID: "test", Role: "test", Artifacts: []cluster.Artifact{a}}}
			out, err := guest.Run(t, filesOf(t, m), "sh", "-c", test.script)
			require.Equal(t, test.fails, err != nil, out)
			for _, want := range test.want {
				require.Contains(t, out, want)
			}
			if test.fails {
				require.NotContains(t, out, "installed")
			}
			require.Equal(t, test.requests, requests.Load(), out)
		})
	}
}

// TestInstallArtifactsReportsAllFailures checks that a failed artifact does not prevent the installation of
// others.
func TestInstallArtifactsReportsAllFailures(t *testing.T) {
	t.Parallel()
	tarball, sum := archive(t)
	mirror := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/tool" {
			w.WriteHeader(http.StatusNotFound)
		}
		_, _ = w.Write(tarball)
	}))
	defer mirror.Close()
	m := values{Machine: cluster.Machine{ID: "test", Role: "test"}}
	for _, name := range []string{"first", "tool", "last"} {
		m.Artifacts = append(m.Artifacts, cluster.Artifact{Name: name, URL: mirror.URL + "/" + name, SHA256: sum,
			Directory: "/opt/bin", Members: []string{member}})
	}
	out, err := guest.Run(t, filesOf(t, m), "sh", "-c",
		`install-artifacts; echo "exit: $?"; echo installed: $(ls /run/artifacts); wait-for-artifact tool`)
	require.NoError(t, err, out)
	require.Contains(t, out, "tool: installed /opt/bin/tool\n")
	require.Contains(t, out, "exit: 1\ninstalled: tool\n")
	require.Regexp(t, `(?m)^first: cannot download http://127.0.0.1:\d+/first .* 404$`, out)
	require.Regexp(t, `(?m)^last: cannot download http://127.0.0.1:\d+/last .* 404$`, out)
}

func or(s, fallback string) string {
	if s == "" {
		return fallback
	}
	return s
}

// TestMirrorCredentials checks that curl sends the credentials to the mirror, and not to the host of a redirect.
func TestMirrorCredentials(t *testing.T) {
	t.Parallel()
	tarball, sum := archive(t)
	const password = `pa ss"\:#word`
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, _, sent := r.BasicAuth(); sent {
			w.WriteHeader(http.StatusForbidden)
		}
		_, _ = w.Write(tarball)
	}))
	defer other.Close()
	mirror := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if name, sent, _ := r.BasicAuth(); name != "machines" || sent != password {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		http.Redirect(w, r, other.URL, http.StatusFound)
	}))
	defer mirror.Close()
	m := values{Machine: cluster.Machine{ID: "test", Role: "test", Artifacts: []cluster.Artifact{{Name: "tool",
		URL: mirror.URL + "/tool", SHA256: sum, Directory: "/opt/bin", Members: []string{member}}}}}
	m.Plan.Artifacts = cluster.Artifacts{Mirror: mirror.URL, Username: "machines", Password: password}
	files, err := m.files()
	require.NoError(t, err)
	modes := map[string]fs.FileMode{}
	for _, f := range files {
		modes[f.Path] = f.Mode
	}
	require.Equal(t, fs.FileMode(0o600), modes["/etc/artifacts/.curlrc"])
	for _, want := range []string{"tool: installed", "401"} {
		script := "export $(sed -n s/^Environment=//p /etc/systemd/system/artifacts.service.d/credentials.conf)\n"
		if want == "401" {
			script = "" // without the drop-in
		}
		out, err := guest.Run(t, filesOf(t, m), "sh", "-c", script+"install-artifacts")
		require.Equal(t, want != "401", err == nil, out)
		require.Contains(t, out, want)
		require.NotContains(t, out, "word")
	}
	m.Plan.Artifacts.Username, m.Plan.Artifacts.Password = "", ""
	require.NotContains(t, filesOf(t, m), "/etc/artifacts/.curlrc")
}
