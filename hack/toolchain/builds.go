package main

import (
	"strings"

	"kubernetes-openstack/cluster"
)

// build describes one folder of the cache and its contents.
type build struct {
	name     string
	programs []programs
	images   []image
	archive  archive                // archive of the folder parts; zero for none
	install  func(dir string) error // links the built folder into PULUMI_HOME or the mirror
	forTests bool                   // only tests and benchmarks need it, clusters do not
	// artifacts are the files of the folder that machines download, by the artifact's name in package cluster.
	artifacts map[string]string
}

// programs are Go binaries that one `go build` compiles from one module. The text fields of builds may contain
// {version}, {major}, {minor} and {arch}. {version} is the version of the module versionOf in go.mod, {major} and
// {minor} are its parts, and {arch} is GOARCH.
type programs struct {
	module    string            // folder of the Go module beside this file, or repository
	packages  map[string]string // Go package by the program's name
	folder    string            // folder of the programs in the build's folder
	versionOf string            // Go module whose version the programs have; "" for none
	version   string            // version, if it differs from that of versionOf or versionOf is ""
	stamps    []string          // variable=value for the linker
	tags      string            // build tags
	cgo       bool
	// complete is a script in the module's folder. It adds the files to a copy of versionOf that upstream generates and
	// its Go module lacks, and may write files for the images. "" means that the module is complete.
	complete string
}

// repository is the folder of this repository's own Go module.
const repository = "../.."

// parts is the folder of the programs that are only contents of the build's archive or images. It is removed after they
// are written.
const parts = "parts"

// builds are all builds in the order in which they run.
var builds = []build{pulumi, plugins, etcd, kubernetes, kubeadm, containerd, runc, cni, calico, coredns, skydns,
	images, metricsServer, prometheus, promtool, alertmanager, perses, cloudProvider, provisioner, attacher, resizer,
	snapshotter, registrar, livenessprobe, csiSanity, ownPrograms}

const pulumiVersion = "github.com/pulumi/pulumi/sdk/v3/go/common/version.Version={version}"

var pulumi = build{
	name:    "pulumi",
	install: linkHome("bin"),
	programs: []programs{
		{
			module:    "pulumi",
			packages:  map[string]string{"pulumi": "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi"},
			versionOf: "github.com/pulumi/pulumi/pkg/v3",
			stamps:    []string{pulumiVersion},
		},
		{ // pulumi searches for its language host in its own folder, even if it ignores PATH
			module:    "language-go",
			packages:  map[string]string{"pulumi-language-go": "github.com/pulumi/pulumi/sdk/v3/go/pulumi-language-go"},
			versionOf: "github.com/pulumi/pulumi/sdk/v3",
			stamps:    []string{pulumiVersion},
		},
	},
}

// plugins have the versions of the SDKs that call them, because the engine accepts no other versions.
var plugins = build{
	name:    "plugins",
	install: linkHome("plugins"),
	programs: []programs{
		{
			module:    "plugins",
			packages:  map[string]string{"pulumi-resource-openstack": "./pulumi-resource-openstack"},
			folder:    "resource-openstack-v{version}",
			versionOf: "github.com/pulumi/pulumi-openstack/sdk/v3",
			stamps:    []string{"main.version={version}"},
		},
		{
			module:    "plugins",
			packages:  map[string]string{"pulumi-resource-tls": "./pulumi-resource-tls"},
			folder:    "resource-tls-v{version}",
			versionOf: "github.com/pulumi/pulumi-tls/sdk/v5",
			stamps:    []string{"main.version={version}"},
		},
		{
			module:    "plugins",
			packages:  map[string]string{"pulumi-resource-kubernetes": "./pulumi-resource-kubernetes"},
			folder:    "resource-kubernetes-v{version}",
			versionOf: "github.com/pulumi/pulumi-kubernetes/sdk/v4",
			stamps:    []string{"main.version={version}"},
		},
	},
}

// In the cache and in the mirror, a file that machines download has its upstream URL without https:// as its path. The
// stamps set the Git revision of a binary to the release's tag, because only the tag is known from go.mod.

const etcdArchive = "github.com/etcd-io/etcd/releases/download/v{version}/etcd-v{version}-linux-{arch}.tar.gz"

var etcd = build{
	name:    "etcd",
	install: linkMirror,
	programs: []programs{{
		module: "etcd",
		packages: map[string]string{
			"etcd":    "go.etcd.io/etcd/server/v3",
			"etcdctl": "go.etcd.io/etcd/etcdctl/v3",
			"etcdutl": "go.etcd.io/etcd/etcdutl/v3",
		},
		folder:    parts,
		versionOf: "go.etcd.io/etcd/server/v3",
		stamps:    []string{"go.etcd.io/etcd/api/v3/version.GitSHA=v{version}"},
	}},
	images: []image{{ // has the tag that kubeadm requests, although etcd is another patch release
		name:   "registry.k8s.io/etcd:3.6.8-0",
		folder: "usr/local/bin",
		files:  []string{parts + "/etcd", parts + "/etcdctl", parts + "/etcdutl"},
	}},
	archive:   archive{path: etcdArchive, prefix: "etcd-v{version}-linux-{arch}/"},
	artifacts: map[string]string{"etcd": etcdArchive},
}

const kubernetesBinaries = "dl.k8s.io/release/v{version}/bin/linux/{arch}"

var kubernetes = build{
	name:    "kubernetes",
	install: linkTool("dl.k8s.io/release/*/bin/linux/*/kubectl"),
	programs: []programs{
		kubernetesPrograms("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl"),
	},
	images: []image{
		kubernetesImage("kube-apiserver"),
		kubernetesImage("kube-controller-manager"),
		kubernetesImage("kube-scheduler"),
	},
	artifacts: map[string]string{
		"kube-apiserver":          kubernetesBinaries + "/kube-apiserver",
		"kube-controller-manager": kubernetesBinaries + "/kube-controller-manager",
		"kube-scheduler":          kubernetesBinaries + "/kube-scheduler",
		"kubelet":                 kubernetesBinaries + "/kubelet",
		"kube-proxy":              kubernetesBinaries + "/kube-proxy",
		"kubectl":                 kubernetesBinaries + "/kubectl",
	},
}

// kubeadm creates the cluster with which `make bench` compares ours.
var kubeadm = build{
	name:     "kubeadm",
	install:  linkMirror,
	programs: []programs{kubernetesPrograms("kubeadm")},
	forTests: true,
}

// kubernetesPrograms returns programs of Kubernetes.
func kubernetesPrograms(names ...string) programs {
	p := programs{
		module:    "kubernetes",
		packages:  map[string]string{},
		folder:    kubernetesBinaries,
		versionOf: "k8s.io/kubernetes",
		stamps: append(
			kubernetesVersion("k8s.io/client-go/pkg/version"),
			kubernetesVersion("k8s.io/component-base/version")...,
		),
	}
	for _, name := range names {
		p.packages[name] = "k8s.io/kubernetes/cmd/" + name
	}
	return p
}

// kubernetesVersion returns the stamps of one of the two packages with Kubernetes' version. There is no stamp for the
// build date, so it is in 1970.
func kubernetesVersion(pkg string) []string {
	return []string{
		pkg + ".gitVersion=v{version}",
		pkg + ".gitMajor={major}",
		pkg + ".gitMinor={minor}",
		pkg + ".gitCommit=v{version}",
		pkg + ".gitTreeState=clean",
	}
}

// kubernetesImage returns an image that kubeadm runs as a static pod.
func kubernetesImage(name string) image {
	return image{
		name:   "registry.k8s.io/" + name + ":v{version}",
		folder: "usr/local/bin",
		files:  []string{kubernetesBinaries + "/" + name},
	}
}

const containerdArchive = "github.com/containerd/containerd/releases/download/v{version}/" +
	"containerd-{version}-linux-{arch}.tar.gz"

var containerd = build{
	name:    "containerd",
	install: linkMirror,
	programs: []programs{{
		module: "containers",
		packages: map[string]string{
			"containerd":              "github.com/containerd/containerd/v2/cmd/containerd",
			"containerd-shim-runc-v2": "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2",
			"ctr":                     "github.com/containerd/containerd/v2/cmd/ctr",
		},
		folder:    parts,
		versionOf: "github.com/containerd/containerd/v2",
		stamps: []string{
			"github.com/containerd/containerd/v2/version.Version=v{version}",
			"github.com/containerd/containerd/v2/version.Revision=v{version}",
		},
	}},
	archive:   archive{path: containerdArchive, prefix: "bin/"},
	artifacts: map[string]string{"containerd": containerdArchive},
}

const runcBinary = "github.com/opencontainers/runc/releases/download/v{version}"

// runc is linked dynamically, unlike upstream's, because a static binary would change with each update of the host's
// libc.
var runc = build{
	name:    "runc",
	install: linkMirror,
	programs: []programs{{
		module:    "containers",
		packages:  map[string]string{"runc.{arch}": "github.com/opencontainers/runc"},
		folder:    runcBinary,
		versionOf: "github.com/opencontainers/runc",
		stamps:    []string{"main.gitCommit=v{version}"},
		tags:      "seccomp",
		cgo:       true,
	}},
	artifacts: map[string]string{"runc": runcBinary + "/runc.{arch}"},
}

const cniArchive = "github.com/containernetworking/plugins/releases/download/v{version}/" +
	"cni-plugins-linux-{arch}-v{version}.tgz"

var cni = build{
	name:    "cni-plugins",
	install: linkMirror,
	programs: []programs{{
		module: "containers",
		packages: map[string]string{
			"bandwidth":  "github.com/containernetworking/plugins/plugins/meta/bandwidth",
			"bridge":     "github.com/containernetworking/plugins/plugins/main/bridge",
			"firewall":   "github.com/containernetworking/plugins/plugins/meta/firewall",
			"host-local": "github.com/containernetworking/plugins/plugins/ipam/host-local",
			"loopback":   "github.com/containernetworking/plugins/plugins/main/loopback",
			"portmap":    "github.com/containernetworking/plugins/plugins/meta/portmap",
			"ptp":        "github.com/containernetworking/plugins/plugins/main/ptp",
			"tuning":     "github.com/containernetworking/plugins/plugins/meta/tuning",
		},
		folder:    parts,
		versionOf: "github.com/containernetworking/plugins",
		stamps:    []string{"github.com/containernetworking/plugins/pkg/utils/buildversion.BuildVersion=v{version}"},
	}},
	archive:   archive{path: cniArchive, prefix: "./"},
	artifacts: map[string]string{"cni-plugins": cniArchive},
}

const calicoModule = "github.com/projectcalico/calico"

// calicoVersion is the release of the commit in go.mod. The Go module proxy has the release only as a pseudo-version.
const calicoVersion = "3.28.5"

const calicoctlBinary = "github.com/projectcalico/calico/releases/download/v{version}"

// calico builds upstream's images and calicoctl. The differences are in docs/contributing/images.md.
var calico = build{
	name:    "calico",
	install: linkMirror,
	programs: []programs{
		{
			module: "calico",
			packages: map[string]string{
				"calico-node":      calicoModule + "/node/cmd/calico-node",
				"calico":           calicoModule + "/cni-plugin/cmd/calico",
				"install":          calicoModule + "/cni-plugin/cmd/install",
				"kube-controllers": calicoModule + "/kube-controllers/cmd/kube-controllers",
				"check-status":     calicoModule + "/kube-controllers/cmd/check-status",
			},
			folder:    parts,
			versionOf: calicoModule,
			version:   calicoVersion,
			stamps: []string{
				"main.VERSION=v{version}",
				calicoModule + "/node/pkg/lifecycle/startup.VERSION=v{version}",
				calicoModule + "/node/buildinfo.GitVersion=v{version}",
				calicoModule + "/node/buildinfo.GitRevision=v{version}",
			},
		},
		{
			module:    "calico",
			packages:  map[string]string{"calicoctl-linux-{arch}": calicoModule + "/calicoctl/calicoctl"},
			folder:    calicoctlBinary,
			versionOf: calicoModule,
			version:   calicoVersion,
			stamps: []string{
				"main.VERSION=v{version}",
				calicoModule + "/calicoctl/calicoctl/commands.VERSION=v{version}",
				calicoModule + "/calicoctl/calicoctl/commands.GIT_REVISION=v{version}",
				calicoModule + "/calicoctl/calicoctl/commands/common.VERSION=v{version}",
			},
		},
	},
	images: []image{
		{
			name:    "quay.io/calico/node:v{version}",
			recipe:  "node",
			folder:  "usr/bin",
			files:   []string{parts + "/calico-node"},
			env:     []string{"SVDIR=/etc/service/enabled"},
			command: []string{"start_runit"},
		},
		{
			name:    "quay.io/calico/cni:v{version}",
			folder:  "opt/cni/bin",
			files:   []string{parts + "/calico", parts + "/install"},
			links:   []string{"calico-ipam"}, // the program selects its function by its own file name
			command: []string{"/opt/cni/bin/install"},
		},
		{
			name:           "quay.io/calico/kube-controllers:v{version}",
			folder:         "usr/bin",
			files:          []string{parts + "/kube-controllers", parts + "/check-status"},
			writableFolder: "status",
			user:           "999",
			entrypoint:     []string{"/usr/bin/kube-controllers"},
		},
	},
	artifacts: map[string]string{"calicoctl": calicoctlBinary + "/calicoctl-linux-{arch}"},
}

// coredns has the version that kubeadm requests.
var coredns = build{
	name:    "coredns",
	install: linkMirror,
	programs: []programs{{
		module:    "coredns",
		packages:  map[string]string{"coredns": "kubernetes-openstack/hack/toolchain/coredns"},
		folder:    parts,
		versionOf: "github.com/coredns/coredns",
		stamps:    []string{"github.com/coredns/coredns/coremain.GitCommit=v{version}"},
	}},
	images: []image{{
		name:       "registry.k8s.io/coredns/coredns:v{version}",
		files:      []string{parts + "/coredns"},
		user:       "65532",
		entrypoint: []string{"/coredns"},
	}},
}

// skydnsVersion is the release of kube-dns whose images this build replaces. The module proxy does not have its module.
const skydnsVersion = "1.26.7"

// skydns contains the SkyDNS server from its module with our own backend, and our replacements for the other programs
// of kube-dns. The differences are in docs/contributing/images.md.
var skydns = build{
	name:    "skydns",
	install: linkMirror,
	programs: []programs{{
		module:    "skydns",
		packages:  map[string]string{"kube-dns": "./kube-dns", "dnsmasq-nanny": "./dnsmasq-nanny", "sidecar": "./sidecar"},
		folder:    parts,
		versionOf: "github.com/skynetservices/skydns",
		version:   skydnsVersion,
	}},
	images: []image{
		{
			name:       "registry.k8s.io/dns/k8s-dns-kube-dns:{version}",
			files:      []string{parts + "/kube-dns"},
			entrypoint: []string{"/kube-dns"},
		},
		{
			name:       "registry.k8s.io/dns/k8s-dns-dnsmasq-nanny:{version}",
			recipe:     "dnsmasq-nanny/rootfs",
			files:      []string{parts + "/dnsmasq-nanny"},
			entrypoint: []string{"/dnsmasq-nanny"},
		},
		{
			name:       "registry.k8s.io/dns/k8s-dns-sidecar:{version}",
			files:      []string{parts + "/sidecar"},
			entrypoint: []string{"/sidecar"},
		},
	},
}

var metricsServer = build{
	name:    "metrics-server",
	install: linkMirror,
	programs: []programs{{
		module:    "metrics-server",
		packages:  map[string]string{"metrics-server": "sigs.k8s.io/metrics-server/cmd/metrics-server"},
		folder:    parts,
		versionOf: "sigs.k8s.io/metrics-server",
		stamps:    kubernetesVersion("k8s.io/client-go/pkg/version"),
	}},
	images: []image{{
		name:       "registry.k8s.io/metrics-server/metrics-server:v{version}",
		files:      []string{parts + "/metrics-server"},
		user:       "65534",
		entrypoint: []string{"/metrics-server"},
	}},
}

// prometheusVersion is the release of the module's version 0.316.0, because upstream's modules have version 0.
const prometheusVersion = "3.16.0"

// prometheus has no web UI, because its module does not contain the UI's files.
var prometheus = build{
	name:    "prometheus",
	install: linkMirror,
	programs: []programs{{
		module:    "prometheus",
		packages:  map[string]string{"prometheus": "github.com/prometheus/prometheus/cmd/prometheus"},
		folder:    parts,
		versionOf: "github.com/prometheus/prometheus",
		version:   prometheusVersion,
		stamps:    monitoringVersion,
		tags:      prometheusTags,
	}},
	images: []image{{
		name:       "quay.io/prometheus/prometheus:v{version}",
		folder:     "bin",
		files:      []string{parts + "/prometheus"},
		user:       "65534",
		entrypoint: []string{"/bin/prometheus"},
	}},
	forTests: true, // the development cluster runs without monitoring
}

// promtool checks the alerts in tests.
var promtool = build{
	name:    "promtool",
	install: linkMirror,
	programs: []programs{{
		module:    "prometheus",
		packages:  map[string]string{"promtool": "github.com/prometheus/prometheus/cmd/promtool"},
		folder:    "devcloud.test", // a name that is not published
		versionOf: "github.com/prometheus/prometheus",
		version:   prometheusVersion,
		stamps:    monitoringVersion,
		tags:      prometheusTags,
	}},
	forTests: true,
}

// prometheusTags leave out all service discoveries except Kubernetes, files and HTTP. The clients of clouds take most
// of the time of a complete build.
const prometheusTags = "remove_all_sd,enable_kubernetes_sd"

// monitoringVersion are the stamps of the programs whose version is in Prometheus' common package.
var monitoringVersion = []string{
	"github.com/prometheus/common/version.Version={version}",
	"github.com/prometheus/common/version.Revision=v{version}",
}

// alertmanager has an API, but no web UI.
var alertmanager = build{
	name:    "alertmanager",
	install: linkMirror,
	programs: []programs{{
		module:    "alertmanager",
		packages:  map[string]string{"alertmanager": "github.com/prometheus/alertmanager/cmd/alertmanager"},
		folder:    parts,
		versionOf: "github.com/prometheus/alertmanager",
		stamps:    monitoringVersion,
		complete:  "complete.sh",
	}},
	images: []image{{
		name:       "quay.io/prometheus/alertmanager:v{version}",
		folder:     "bin",
		files:      []string{parts + "/alertmanager"},
		user:       "65534",
		entrypoint: []string{"/bin/alertmanager"},
	}},
	forTests: true, // the development cluster runs without monitoring
}

// perses has the web UI of its module, and plugins from npm.
var perses = build{
	name:    "perses",
	install: linkMirror,
	programs: []programs{{
		module:    "perses",
		packages:  map[string]string{"perses": "github.com/perses/perses/cmd/perses"},
		folder:    parts,
		versionOf: "github.com/perses/perses",
		stamps:    monitoringVersion,
		complete:  "complete.sh",
	}},
	images: []image{{
		name:       "docker.io/persesdev/perses:v{version}",
		folder:     "bin",
		files:      []string{parts + "/perses"},
		tree:       parts + "/tree",
		user:       "65532",
		entrypoint: []string{"/bin/perses"},
	}},
	forTests: true, // the development cluster runs without monitoring
}

// images contains the images that belong to no other build.
var images = build{
	name:    "images",
	install: linkMirror,
	programs: []programs{{
		module:   "images",
		packages: map[string]string{"pause": "./pause"},
		folder:   parts,
	}},
	images: []image{
		{
			name:    "registry.k8s.io/pause:3.10.2",
			files:   []string{parts + "/pause"},
			command: []string{"/pause"},
		},
		{ // a workload for tests, under a name that is not published
			name:   "devcloud.test/busybox:1.35",
			folder: "bin",
			files:  []string{"/bin/busybox"}, // Debian's busybox-static
			links: strings.Fields("awk base64 basename cat chmod chown cp cut date dd df dirname du echo env expr false find " +
				"grep gzip head hostname httpd id ip kill ln ls md5sum mkdir mount mv nc netstat nslookup ping printf ps pwd " +
				"readlink rm sed seq sh sha256sum sleep sort stat sync tail tar tee test time timeout top touch tr true " +
				"uname uniq wc wget which xargs yes"),
			command: []string{"sh"},
		},
	},
}

const cloudProviderModule = "k8s.io/cloud-provider-openstack"

const cloudProviderBinaries = "github.com/kubernetes/cloud-provider-openstack/releases/download"

// cloudProvider connects a cluster with OpenStack: nodes with instances, volumes with Cinder and users with Keystone.
var cloudProvider = build{
	name:    "cloud-provider-openstack",
	install: linkTool(cloudProviderBinaries + "/*/client-keystone-auth"),
	programs: []programs{
		cloudProviderPrograms(parts, "openstack-cloud-controller-manager", "cinder-csi-plugin", "k8s-keystone-auth"),
		cloudProviderPrograms(cloudProviderBinaries+"/v{version}", "client-keystone-auth"),
	},
	images: []image{
		{
			name:    "registry.k8s.io/provider-os/openstack-cloud-controller-manager:v{version}",
			folder:  "bin",
			files:   []string{parts + "/openstack-cloud-controller-manager"},
			command: []string{"/bin/openstack-cloud-controller-manager"},
		},
		{
			name:    "registry.k8s.io/provider-os/cinder-csi-plugin:v{version}",
			recipe:  "cinder-csi-plugin",
			folder:  "usr/bin", // in Debian, /bin is a link to it
			files:   []string{parts + "/cinder-csi-plugin"},
			command: []string{"/bin/cinder-csi-plugin"},
		},
		{
			name:    "registry.k8s.io/provider-os/k8s-keystone-auth:v{version}",
			folder:  "bin",
			files:   []string{parts + "/k8s-keystone-auth"},
			command: []string{"/bin/k8s-keystone-auth"},
		},
	},
}

// cloudProviderPrograms returns programs of cloud-provider-openstack.
func cloudProviderPrograms(folder string, names ...string) programs {
	p := programs{
		module:    "storage",
		packages:  map[string]string{},
		folder:    folder,
		versionOf: cloudProviderModule,
		stamps: []string{
			cloudProviderModule + "/pkg/version.Version=v{version}",
			"k8s.io/component-base/version.gitVersion=v{version}",
		},
	}
	for _, name := range names {
		p.packages[name] = cloudProviderModule + "/cmd/" + name
	}
	return p
}

const csiModule = "github.com/kubernetes-csi/"

// The sidecars of a CSI driver, and the controller of snapshots.
var (
	provisioner   = sidecars("external-provisioner/v5", "csi-provisioner")
	attacher      = sidecars("external-attacher/v4", "csi-attacher")
	resizer       = sidecars("external-resizer", "csi-resizer")
	snapshotter   = sidecars("external-snapshotter/v8", "csi-snapshotter", "snapshot-controller")
	registrar     = standIn("csi-node-driver-registrar", "2.15.0")
	livenessprobe = standIn("livenessprobe", "2.17.0")
)

// sidecars returns the build of programs of one module. It follows the conventions of the CSI community: each program
// has an image with its name.
func sidecars(module string, names ...string) build {
	p := programs{
		module:    "storage",
		packages:  map[string]string{},
		folder:    parts,
		versionOf: csiModule + module,
		stamps:    []string{"main.version=v{version}"},
	}
	b := build{name: names[0], install: linkMirror}
	for _, name := range names {
		p.packages[name] = csiModule + module + "/cmd/" + name
		b.images = append(b.images, image{
			name:       "registry.k8s.io/sig-storage/" + name + ":v{version}",
			files:      []string{parts + "/" + name},
			entrypoint: []string{"/" + name},
		})
	}
	b.programs = []programs{p}
	return b
}

// standIn returns the build of our replacement for a sidecar that the module proxy refuses to serve. The version is
// that in cloud-provider-openstack's manifests.
func standIn(name, version string) build {
	b := sidecars("csi-lib-utils", name)
	b.programs[0].packages[name] = "./" + name
	b.programs[0].version = version
	return b
}

// csiSanity is the CSI community's test suite for drivers. Our tests download it from the mirror to a machine.
var csiSanity = build{
	name:    "csi-sanity",
	install: linkMirror,
	programs: []programs{{
		module:    "storage",
		packages:  map[string]string{"csi-sanity": "./csi-sanity"},
		folder:    "devcloud.test", // a name that is not published
		versionOf: csiModule + "csi-test/v5",
		stamps:    []string{"main.version=v{version}"},
	}},
	forTests: true,
}

var ownBinaries = strings.TrimPrefix(cluster.ReleaseURL, "https://")

// ownPrograms are the programs of this repository that machines run.
var ownPrograms = build{
	name:    "kubernetes-openstack",
	install: linkMirror,
	programs: []programs{{
		module: repository,
		packages: map[string]string{
			"etcd-backup":      "./cmd/etcd-backup",
			"etcd-join":        "./cmd/etcd-join",
			"keystone-webhook": "./cmd/keystone-webhook",
			"machine-metrics":  "./cmd/machine-metrics",
			"node-approver":    "./cmd/node-approver",
			"tenant-sync":      "./cmd/tenant-sync",
		},
		folder:  ownBinaries,
		version: cluster.ProgramsVersion,
	}},
	artifacts: map[string]string{
		"etcd-backup":      ownBinaries + "/etcd-backup",
		"etcd-join":        ownBinaries + "/etcd-join",
		"keystone-webhook": ownBinaries + "/keystone-webhook",
		"machine-metrics":  ownBinaries + "/machine-metrics",
		"node-approver":    ownBinaries + "/node-approver",
		"tenant-sync":      ownBinaries + "/tenant-sync",
	},
}
