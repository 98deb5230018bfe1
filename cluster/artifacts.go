package cluster

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"golang.org/x/mod/semver"
)

// Artifact is something that machines download, verify and install.
type Artifact struct {
	Name, Version string
	URL           string
	// SHA256 of the file in hex.
	SHA256 string
	// Install lists the files of the archive that go to /usr/local/bin.
	Install []string
}

// release is where upstream publishes an artifact: %[1]s stands for its version. Machines are linux/amd64.
type release struct {
	url     string
	install []string
	// sums are upstream's sha256 by version: from etcd's SHA256SUMS.
	sums map[string]string
}

var releases = map[string]release{
	"etcd": {
		url: "https://github.com/etcd-io/etcd/releases/download/v%[1]s/etcd-v%[1]s-linux-amd64.tar.gz",
		install: []string{
			"etcd-v%[1]s-linux-amd64/etcd",
			"etcd-v%[1]s-linux-amd64/etcdctl",
			"etcd-v%[1]s-linux-amd64/etcdutl",
		},
		sums: map[string]string{"3.6.14": "ffe840ff9295808e88cce2794a18a5ac87f12a5203c8314d0bf6aa119b41bac5"},
	},
}

// ArtifactNames are the artifacts there are, sorted.
func ArtifactNames() []string { return slices.Sorted(maps.Keys(releases)) }

// artifact is one artifact in one version, as this configuration gets it.
func (a Artifacts) artifact(name, version string) Artifact {
	r := releases[name]
	out := Artifact{Name: name, Version: version, URL: fmt.Sprintf(r.url, version), SHA256: r.sums[version]}
	if sum := a.Checksums[name]; sum != "" {
		out.SHA256 = sum
	}
	if a.Mirror != "" {
		out.URL = strings.TrimSuffix(a.Mirror, "/") + "/" + strings.TrimPrefix(out.URL, "https://")
	}
	for _, file := range r.install {
		out.Install = append(out.Install, fmt.Sprintf(file, version))
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
