package templates

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"
)

// machines is one machine of each role, complete but with placeholders for keys.
func machines() map[string]Machine {
	secret := func(path string, mode fs.FileMode) File {
		return File{Path: path, Content: "-----BEGIN placeholder-----\n" + filepath.Base(path) + "\n-----END placeholder-----\n", Mode: mode}
	}
	etcd := Machine{
		Hostname: "dev-etcd-0",
		Role:     "etcd",
		Artifacts: []Artifact{{
			Name:    "etcd",
			URL:     "http://192.0.2.1/github.com/etcd-io/etcd/releases/download/v3.6.14/etcd-v3.6.14-linux-amd64.tar.gz",
			SHA256:  "ffe840ff9295808e88cce2794a18a5ac87f12a5203c8314d0bf6aa119b41bac5",
			Install: []string{"etcd-v3.6.14-linux-amd64/etcd", "etcd-v3.6.14-linux-amd64/etcdctl"},
		}},
		Etcd: &Etcd{
			Name:           "dev-etcd-0",
			Address:        "10.0.0.10",
			VolumeID:       "4f1c0d9e-2b7a-4c55-9e2e-0123456789ab",
			InitialCluster: "dev-etcd-0=https://10.0.0.10:2380,dev-etcd-1=https://10.0.0.11:2380,dev-etcd-2=https://10.0.0.12:2380",
			Token:          "dev",
			Endpoints:      "https://10.0.0.10:2379,https://10.0.0.11:2379,https://10.0.0.12:2379",
		},
	}
	for _, name := range []string{"ca", "server", "peer", "client"} {
		etcd.Secrets = append(etcd.Secrets, secret("/etc/etcd/pki/"+name+".crt", 0o644))
		if name != "ca" {
			etcd.Secrets = append(etcd.Secrets, secret("/etc/etcd/pki/"+name+".key", 0o600))
		}
	}
	return map[string]Machine{
		"etcd": etcd,
		"control-plane": {
			Hostname: "dev-control-plane-0",
			Role:     "control-plane",
			Secrets:  []File{secret("/etc/kubernetes/pki/ca.crt", 0o644), secret("/etc/kubernetes/pki/apiserver.key", 0o600)},
		},
		"worker": {Hostname: "dev-worker-0", Role: "worker", Secrets: []File{secret("/etc/kubernetes/pki/ca.crt", 0o644)}},
	}
}

// TestGolden compares what each role's machine gets with testdata/<role>.yaml; UPDATE_GOLDEN=1 rewrites them.
func TestGolden(t *testing.T) {
	for role, m := range machines() {
		t.Run(role, func(t *testing.T) {
			got, err := CloudConfig(m)
			require.NoError(t, err)
			golden := filepath.Join("testdata", role+".yaml")
			if os.Getenv("UPDATE_GOLDEN") != "" {
				require.NoError(t, os.MkdirAll("testdata", 0o755))
				require.NoError(t, os.WriteFile(golden, got, 0o644))
			}
			want, err := os.ReadFile(golden)
			require.NoError(t, err)
			require.Equal(t, string(want), string(got), "intended? UPDATE_GOLDEN=1 go test ./templates, and read the diff")
		})
	}
}

// knownKeys are the top-level keys that we use, each looked up in cloud-init's documentation: its own schema check lets a
// misspelt one pass.
var knownKeys = []string{"fqdn", "hostname", "manage_etc_hosts", "preserve_hostname", "runcmd", "write_files"}

func TestCloudConfigKeysAndFiles(t *testing.T) {
	for role, m := range machines() {
		t.Run(role, func(t *testing.T) {
			text, err := CloudConfig(m)
			require.NoError(t, err)
			require.True(t, strings.HasPrefix(string(text), "#cloud-config\n"))
			var keys map[string]any
			require.NoError(t, yaml.Unmarshal(text, &keys))
			for key := range keys {
				require.Contains(t, knownKeys, key)
			}

			var config cloudConfig
			require.NoError(t, yaml.UnmarshalStrict(text, &config))
			modes := map[string]string{}
			for _, f := range config.WriteFiles {
				require.NotContains(t, modes, f.Path, "written twice")
				modes[f.Path] = f.Permissions
				require.NotContains(t, f.Path, ".tmpl")
				require.NotContains(t, f.Content, "<no value>")
				require.Truef(t, strings.HasSuffix(f.Content, "\n"), "%s does not end in a newline", f.Path)
			}
			require.Equal(t, "0755", modes["/usr/local/sbin/first-boot"])
			require.Equal(t, "0644", modes["/etc/sysctl.d/90-kubernetes.conf"])
			for _, secret := range m.Secrets {
				require.Equal(t, fmt.Sprintf("%04o", secret.Mode), modes[secret.Path])
			}
		})
	}
}

func TestWrongMachineIsAnError(t *testing.T) {
	for name, test := range map[string]struct {
		breakIt func(*Machine)
		want    string
	}{
		"no hostname":       {func(m *Machine) { m.Hostname = "" }, "without a hostname"},
		"value missing":     {func(m *Machine) { m.Etcd.Token = "" }, `etcd/etc/etcd/etcd.env.tmpl:6:34: executing "etcd/etc/etcd/etcd.env.tmpl" at <.Etcd.Token>: map has no entry for key "Token"`},
		"file twice":        {func(m *Machine) { m.Secrets = append(m.Secrets, m.Secrets[0]) }, "/etc/etcd/pki/ca.crt is written twice"},
		"secret over unit":  {func(m *Machine) { m.Secrets[0].Path = "/etc/systemd/system/etcd.service" }, "/etc/systemd/system/etcd.service is written twice"},
		"relative path":     {func(m *Machine) { m.Secrets[0].Path = "etc/ca.crt" }, `"etc/ca.crt" is not an absolute, clean path`},
		"checksum":          {func(m *Machine) { m.Artifacts[0].SHA256 = "ffe8" }, `artifact etcd: "ffe8" is not a sha256`},
		"blank in URL":      {func(m *Machine) { m.Artifacts[0].URL = "http://mirror/a b" }, `artifact etcd: "http://mirror/a b" is not one word`},
		"newline in member": {func(m *Machine) { m.Artifacts[0].Install[0] = "etcd\nevil" }, `artifact etcd: "etcd\nevil" is not one word`},
	} {
		t.Run(name, func(t *testing.T) {
			m := machines()["etcd"]
			test.breakIt(&m)
			_, err := UserData(m)
			require.ErrorContains(t, err, test.want)
		})
	}
}

func TestRenderNamesTheBrokenTemplate(t *testing.T) {
	tree := fstest.MapFS{"system/etc/broken.tmpl": {Data: []byte("{{.Hostname")}}
	_, err := render(tree, "system", machines()["worker"])
	require.ErrorContains(t, err, "system/etc/broken.tmpl")
}

func TestUserDataBudget(t *testing.T) {
	noise := make([]byte, 60_000)
	source := rand.NewChaCha8([32]byte{})
	_, err := source.Read(noise)
	require.NoError(t, err)
	m := machines()["worker"]
	m.Secrets = append(m.Secrets,
		File{Path: "/etc/small", Content: "small\n", Mode: 0o644},
		File{Path: "/etc/big", Content: base64.StdEncoding.EncodeToString(noise), Mode: 0o644})
	_, err = UserData(m)
	require.ErrorContains(t, err, "user-data of dev-worker-0: ")
	require.ErrorContains(t, err, " bytes gzipped, 49151 are allowed; biggest files: /etc/big (80000 bytes), /")
}

func TestUserDataFitsNova(t *testing.T) {
	for role, m := range machines() {
		data, err := UserData(m)
		require.NoError(t, err)
		require.LessOrEqual(t, len(data), 65_535)
		t.Logf("%s: %d of 65535 characters", role, len(data))
		again, err := UserData(m)
		require.NoError(t, err)
		require.Equal(t, data, again)
	}
}

// TestCompressionIsPinned fails when the compressor changes, as it may with a new Go: user-data would differ though its
// content is the same, and every machine of every cluster would be replaced. Do not just put in the new sum.
func TestCompressionIsPinned(t *testing.T) {
	packed, err := compress([]byte(strings.Repeat("hostname: dev-etcd-0\nmanage_etc_hosts: localhost\n", 1000)))
	require.NoError(t, err)
	require.Equal(t, "9d86273b3146929b1ea45ecd5518f87d57351091c7fbe269eb3986f9b1ded9e6", fmt.Sprintf("%x", sha256.Sum256(packed)))
}
