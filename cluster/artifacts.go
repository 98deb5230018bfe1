package cluster

import (
	"slices"
	"strings"

	"golang.org/x/mod/semver"
)

// Artifact is a file that machines download, verify and install: a binary, or an archive of binaries.
type Artifact struct {
	Name, Version string
	URL           string
	// SHA256 of the download in hex.
	SHA256 string
	// Directory in which it is installed.
	Directory string
	// Members are the files to install from an archive, under their base names. If empty, the download is the binary Name.
	Members []string
}

// release describes where upstream publishes an artifact for linux/amd64. {version} in url and members is replaced by
// its version.
type release struct {
	name      string
	url       string
	directory string
	members   []string
	version   func(Config) string
	// roles of the machines that install it.
	roles []Role
	// only limits it to some clusters. nil means all clusters.
	only func(Config) bool
}

// Versions of programs that do not depend on the Kubernetes version.
const (
	containerdVersion = "2.3.4"
	runcVersion       = "1.4.3"
	cniVersion        = "1.9.1"
)

// ProgramsVersion is the version of this repository's programs, and of the release that has them.
const ProgramsVersion = "0.1.0"

// ReleaseURL is the folder of a release of this repository. A fork that publishes releases changes this line.
const ReleaseURL = "https://github.com/kubernetes-openstack/kubernetes-openstack/releases/download/v{version}"

const binDir = "/usr/local/bin"

// nodeRoles are the roles of machines that are Kubernetes nodes.
var nodeRoles = []Role{RoleControlPlane, RoleWorker}

// releases lists all artifacts in the order in which a machine installs them. The API servers come first, because all
// nodes wait for the API.
var releases = []release{
	kubernetesRelease("kube-apiserver", []Role{RoleControlPlane}),
	kubernetesRelease("kube-controller-manager", []Role{RoleControlPlane}),
	kubernetesRelease("kube-scheduler", []Role{RoleControlPlane}),
	kubernetesRelease("kubectl", []Role{RoleControlPlane}),
	ownRelease("node-approver", []Role{RoleControlPlane}, nil),
	ownRelease("etcd-join", []Role{RoleEtcd}, nil),
	ownRelease("etcd-backup", []Role{RoleEtcd}, func(c Config) bool { return c.Etcd.Backup.Container != "" }),
	{
		name:      "etcd",
		url:       "https://github.com/etcd-io/etcd/releases/download/v{version}/etcd-v{version}-linux-amd64.tar.gz",
		directory: binDir,
		members: []string{
			"etcd-v{version}-linux-amd64/etcd",
			"etcd-v{version}-linux-amd64/etcdctl",
			"etcd-v{version}-linux-amd64/etcdutl",
		},
		version: func(c Config) string { return c.Etcd.Version },
		roles:   []Role{RoleEtcd},
	},
	{
		name: "containerd",
		url: "https://github.com/containerd/containerd/releases/download/" +
			"v{version}/containerd-{version}-linux-amd64.tar.gz",
		directory: binDir,
		members:   []string{"bin/containerd", "bin/containerd-shim-runc-v2", "bin/ctr"},
		version:   func(Config) string { return containerdVersion },
		roles:     nodeRoles,
	},
	{
		name:      "runc",
		url:       "https://github.com/opencontainers/runc/releases/download/v{version}/runc.amd64",
		directory: binDir,
		version:   func(Config) string { return runcVersion },
		roles:     nodeRoles,
	},
	{
		name: "cni-plugins",
		url: "https://github.com/containernetworking/plugins/releases/download/" +
			"v{version}/cni-plugins-linux-amd64-v{version}.tgz",
		directory: "/opt/cni/bin",
		members: []string{
			"./bandwidth", "./bridge", "./firewall", "./host-local", "./loopback", "./portmap", "./ptp", "./tuning",
		},
		version: func(Config) string { return cniVersion },
		roles:   nodeRoles,
	},
	{
		name:      "calicoctl",
		url:       "https://github.com/projectcalico/calico/releases/download/v{version}/calicoctl-linux-amd64",
		directory: binDir,
		version:   func(c Config) string { return c.Calico.Version },
		roles:     nodeRoles,
	},
	kubernetesRelease("kubelet", nodeRoles),
	kubernetesRelease("kube-proxy", nodeRoles),
	ownRelease("keystone-webhook", []Role{RoleControlPlane}, hasTenancy),
	ownRelease("tenant-sync", []Role{RoleControlPlane}, hasTenancy),
	ownRelease("machine-metrics", Roles, func(c Config) bool { return c.Monitoring.Enabled }),
}

func kubernetesRelease(name string, roles []Role) release {
	return release{
		name:      name,
		url:       "https://dl.k8s.io/release/v{version}/bin/linux/amd64/" + name,
		directory: binDir,
		version:   func(c Config) string { return c.Kubernetes.Version },
		roles:     roles,
	}
}

// ownRelease describes a program of this repository.
func ownRelease(name string, roles []Role, only func(Config) bool) release {
	return release{
		name:      name,
		url:       ReleaseURL + "/" + name,
		directory: binDir,
		version:   func(Config) string { return ProgramsVersion },
		roles:     roles,
		only:      only,
	}
}

func hasTenancy(c Config) bool { return c.Tenancy.Enabled }

// ArtifactNames returns the names of all artifacts, sorted.
func ArtifactNames() []string {
	var out []string
	for _, r := range releases {
		out = append(out, r.name)
	}
	slices.Sort(out)
	return out
}

// UpstreamSHA256 returns the pinned sha256 of the file that is published as this version of an artifact. It returns ""
// if no sha256 is pinned.
func UpstreamSHA256(artifact, version string) string { return checksums[artifact][version] }

// artifacts returns the artifacts that machines of a role install. SHA256 is empty if it is neither pinned nor
// configured.
func (c Config) artifacts(role Role) []Artifact {
	var out []Artifact
	for _, r := range releases {
		if slices.Contains(r.roles, role) && (r.only == nil || r.only(c)) {
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
		SHA256:    UpstreamSHA256(r.name, version),
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

// etcdVersions lists the supported etcd minor versions of each Kubernetes minor version: the one that kubeadm installs,
// and those that this project has tested.
var etcdVersions = map[string][]string{
	"1.34": {"3.6"},
	"1.35": {"3.6"},
	"1.36": {"3.6", "3.7"},
}

// oldestEtcdPatch is the first patch of each etcd minor version that fixes a vulnerability in RBAC
// (GHSA-xg4h-6gfc-h4m8).
var oldestEtcdPatch = map[string]string{"3.6": "3.6.14", "3.7": "3.7.1"}

// minor returns "1.36" for "1.36.4", or "" if version is not the version of a release.
func minor(version string) string {
	v := "v" + version
	if semver.Canonical(v) != v || semver.Prerelease(v) != "" {
		return ""
	}
	return strings.TrimPrefix(semver.MajorMinor(v), "v")
}

// older reports whether version a is older than version b.
func older(a, b string) bool { return semver.Compare("v"+a, "v"+b) < 0 }

// checksums contains the sha256 of upstream's files by artifact and version. They come from the files that upstream
// publishes with its releases: SHA256SUMS (etcd), *.sha256 (Kubernetes, CNI plugins) and *.sha256sum (containerd,
// runc), as listed by kops. Those of Calico are the ones that kubespray lists. Those of this repository's programs come
// from `make release`.
var checksums = map[string]map[string]string{
	"etcd": {
		"3.6.14": "ffe840ff9295808e88cce2794a18a5ac87f12a5203c8314d0bf6aa119b41bac5",
	},
	"kube-apiserver": {
		"1.36.0": "8116b8f13d1c8bbbbba0599fff1a27959f2a13b6cbb18c4efad5f9777c0a839c",
		"1.36.1": "9b4dba0a5b945f1fe0ce18f47535c5ff0c46ae384f9222047bce39fe91b6023e",
		"1.36.2": "6770be17296ef36b656ad84e52b043007fb9a47ba0445c224097323291b1b33b",
		"1.36.3": "1f217d397234a6d065da663c6e086fdb02c0f0de97a0758ff3e6f3956f4ef8ab",
	},
	"kube-controller-manager": {
		"1.36.0": "b15888043ee37302ce8fef36af5ae2b8470b3eba22a034d3573479daff33f6f0",
		"1.36.1": "41a41cd08f8035661848e883479816d5e65f832a461c004840eb2cd54998af08",
		"1.36.2": "6332e45474baf6362f50394d8f7c6002274db04d68fe51dbe2229ef5c0b21e3c",
		"1.36.3": "7edfe976d5a06c7a702d653e914095f4a732a04bb2139115b6a6eba6a9b781c7",
	},
	"kube-scheduler": {
		"1.36.0": "0804ad35fb7b2fb11bb1f27b9cc3ab113b323fb5fc0e12e3b27fc4d6a7f43c54",
		"1.36.1": "37729fdcd47c791cbebe413951150f58d36e05cbc759ad77e5cf66196fccbec8",
		"1.36.2": "0cc42da3170baf459a534a3802640d7374381ca679e5cfb647e64f36ad318d3d",
		"1.36.3": "b8955d4518c902110b50a825364339b1fb673822518ce0ba081a69ed634f8eee",
	},
	"kubelet": {
		"1.36.0": "d857082946c28493e8fdc52227feabd962e0e0900b6c6e4f6510168043b79dd4",
		"1.36.1": "7efa1780c73d9fb3a464002864e582eb2d15aa691e475eaae323093d08feae14",
		"1.36.2": "3ba68cb4f0906053c08ab843131d5cec559cf8c718dbd679950a078b306abbb4",
		"1.36.3": "46707a53209f826ad0f0d62371ac69cd00e78fd9a8176cf5f6f87f18f7f8b718",
	},
	"kube-proxy": {
		"1.36.0": "940c1cdb9e2fd5b14077e3a92759e8864068d78bdf3f0bafc7675aa63d810fd1",
		"1.36.1": "8d8bac4775f466e0056eb5af491508fd05000945c8754aa040f91128b581544f",
		"1.36.2": "6588b915ab48baab68440ac1490358b434dcb7bdce076a468b805ee26fd4e048",
		"1.36.3": "f1b5eb4462df9d98751264c6256628d90fdc72ba8e9a8025d1f75674f078f254",
	},
	"kubectl": {
		"1.36.0": "123d8c8844f46b1244c547fffb3c17180c0c26dac9890589fe7e67763298748e",
		"1.36.1": "629d3f410e09bf49b64ae7079f7f0bda1191efed311f7d37fdbab0ad5b0ec2b7",
		"1.36.2": "1e9045ec32bea85da43de85f0065358529ea7c7a152eca78154fba5b58c27d82",
		"1.36.3": "ebbd080e7c2e275093b55915722043257eb24004363e20acb3c4d71919f88336",
	},
	"containerd": {
		"2.3.4": "9d68969855fbf676cdb8ed758e420fb048d61f984f61de3e53eddfebe484d168",
	},
	"runc": {
		"1.4.3": "f6ae8efc0fa40079e1475e97cbe9d1bd3f106a28d6af78a11d9f1bd565515e60",
	},
	"cni-plugins": {
		"1.9.1": "b98f74a0f8522f0a83867178729c1aa70f2158f90c45a2ca8fa791db1c76b303",
	},
	"calicoctl": {
		"3.28.5": "fe4702ce171045728b6c37b2c01e6f903780997aea7e695b35735754eeeeaf64",
	},
	"etcd-backup": {
		"0.1.0": "2cee73aa425c713b3d1b65fde9e7b0e2ad45916577ddf91344357953cf0c12b6",
	},
	"etcd-join": {
		"0.1.0": "78b5c9835030734ad27c351ee72e2c88975321664560edb99425aa8012fd5a65",
	},
	"keystone-webhook": {
		"0.1.0": "b1dae8725d91f00856ab81f0e0916cf43bc61325fcfb04fcf55b5ab22d2e7a26",
	},
	"machine-metrics": {
		"0.1.0": "002d45a08d31f0619925754ea732fe22054ce1dc2129a10a7b36b2c3c19903c6",
	},
	"node-approver": {
		"0.1.0": "9e681f8c4e1054ff01d0449adc9d23cb90a40c0629a87135a645a1a30354301a",
	},
	"tenant-sync": {
		"0.1.0": "26b7141a09e21e085cbd119ba111d5899816e2cc471350e97e0c22e937cee5aa",
	},
}
