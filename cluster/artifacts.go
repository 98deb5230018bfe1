package cluster

import (
	"slices"
	"strings"

	"golang.org/x/mod/semver"
)

// Artifact is something that machines download, verify and install: a binary, or an archive of binaries.
type Artifact struct {
	Name, Version string
	URL           string
	// SHA256 of the download in hex.
	SHA256 string
	// Directory that it is installed in.
	Directory string
	// Members of the archive to install, by their base names. Without any, the download is the binary Name.
	Members []string
}

// release is where upstream publishes an artifact. In texts, {version} stands for its version. Machines are linux/amd64.
type release struct {
	name      string
	url       string
	directory string
	members   []string
	version   func(Config) string
	// roles of the machines that it is for.
	roles []Role
}

// Versions of what every node runs whatever its Kubernetes version.
const (
	containerdVersion = "2.3.4"
	runcVersion       = "1.4.3"
	cniVersion        = "1.9.1"
)

const binaries = "/usr/local/bin"

var nodes = []Role{RoleControlPlane, RoleWorker}

// releases in the order in which a machine installs them.
var releases = []release{
	{
		name:      "etcd", // on nodes for the gateway to it
		url:       "https://github.com/etcd-io/etcd/releases/download/v{version}/etcd-v{version}-linux-amd64.tar.gz",
		directory: binaries,
		members: []string{
			"etcd-v{version}-linux-amd64/etcd",
			"etcd-v{version}-linux-amd64/etcdctl",
			"etcd-v{version}-linux-amd64/etcdutl",
		},
		version: func(c Config) string { return c.Etcd.Version },
		roles:   Roles,
	},
	{
		name:      "containerd",
		url:       "https://github.com/containerd/containerd/releases/download/v{version}/containerd-{version}-linux-amd64.tar.gz",
		directory: binaries,
		members:   []string{"bin/containerd", "bin/containerd-shim-runc-v2", "bin/ctr"},
		version:   func(Config) string { return containerdVersion },
		roles:     nodes,
	},
	{
		name:      "runc",
		url:       "https://github.com/opencontainers/runc/releases/download/v{version}/runc.amd64",
		directory: binaries,
		version:   func(Config) string { return runcVersion },
		roles:     nodes,
	},
	{
		name:      "cni-plugins",
		url:       "https://github.com/containernetworking/plugins/releases/download/v{version}/cni-plugins-linux-amd64-v{version}.tgz",
		directory: "/opt/cni/bin",
		members: []string{
			"./bandwidth", "./bridge", "./firewall", "./host-local", "./loopback", "./portmap", "./ptp", "./tuning",
		},
		version: func(Config) string { return cniVersion },
		roles:   nodes,
	},
	kubernetesRelease("kubelet", nodes),
	kubernetesRelease("kube-proxy", nodes),
	kubernetesRelease("kubectl", nodes),
	kubernetesRelease("kube-apiserver", []Role{RoleControlPlane}),
	kubernetesRelease("kube-controller-manager", []Role{RoleControlPlane}),
	kubernetesRelease("kube-scheduler", []Role{RoleControlPlane}),
}

func kubernetesRelease(name string, roles []Role) release {
	return release{
		name:      name,
		url:       "https://dl.k8s.io/release/v{version}/bin/linux/amd64/" + name,
		directory: binaries,
		version:   func(c Config) string { return c.Kubernetes.Version },
		roles:     roles,
	}
}

// ArtifactNames are the artifacts there are, sorted.
func ArtifactNames() []string {
	var out []string
	for _, r := range releases {
		out = append(out, r.name)
	}
	slices.Sort(out)
	return out
}

// artifacts are what machines of a role install. One whose sha256 nobody knows has none.
func (c Config) artifacts(role Role) []Artifact {
	var out []Artifact
	for _, r := range releases {
		if slices.Contains(r.roles, role) {
			out = append(out, c.artifact(r))
		}
	}
	return out
}

func (c Config) artifact(r release) Artifact {
	version := r.version(c)
	out := Artifact{
		Name:      r.name,
		Version:   version,
		URL:       strings.ReplaceAll(r.url, "{version}", version),
		SHA256:    checksums[r.name][version],
		Directory: r.directory,
	}
	if sum := c.Artifacts.Checksums[r.name]; sum != "" {
		out.SHA256 = sum
	}
	if mirror := c.Artifacts.Mirror; mirror != "" {
		out.URL = strings.TrimSuffix(mirror, "/") + "/" + strings.TrimPrefix(out.URL, "https://")
	}
	for _, member := range r.members {
		out.Members = append(out.Members, strings.ReplaceAll(member, "{version}", version))
	}
	return out
}

// etcdFor lists the etcd minor versions that each Kubernetes minor version is run with: kubeadm's own choice, and what
// was verified here.
var etcdFor = map[string][]string{
	"1.34": {"3.6"},
	"1.35": {"3.6"},
	"1.36": {"3.6", "3.7"},
}

// etcdFloor is the first patch of each etcd minor version without a known hole in its RBAC (GHSA-xg4h-6gfc-h4m8).
var etcdFloor = map[string]string{"3.6": "3.6.14", "3.7": "3.7.1"}

// minor is the "1.36" of "1.36.4", or "" where the version is none.
func minor(version string) string {
	if strings.HasPrefix(version, "v") || strings.Count(version, ".") != 2 {
		return ""
	}
	return strings.TrimPrefix(semver.MajorMinor("v"+version), "v")
}

func older(a, b string) bool { return semver.Compare("v"+a, "v"+b) < 0 }
