package main

// A build is one folder of the cache, made of programs.
type build struct {
	name     string
	programs []program
	pack     string                 // the folder in it that becomes a tarball, "" for none
	place    func(dir string) error // puts the built folder to use
}

// A program is one Go binary. In texts, {version} is the version of versionOf in the module's go.mod, {arch} is GOARCH.
type program struct {
	module    string // folder beside this file
	pkg       string
	path      string // in the build's folder
	versionOf string // Go module, of which the program is a part or the counterpart
	stamp     string // variable=value for the linker
}

var builds = []build{pulumi, plugins, etcd}

const pulumiVersion = "github.com/pulumi/pulumi/sdk/v3/go/common/version.Version={version}"

var pulumi = build{
	name:  "pulumi",
	place: linkHome("bin"),
	programs: []program{
		{
			module:    "pulumi",
			pkg:       "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi",
			path:      "pulumi",
			versionOf: "github.com/pulumi/pulumi/pkg/v3",
			stamp:     pulumiVersion,
		},
		{ // beside pulumi, which finds it there even where it ignores PATH
			module:    "language-go",
			pkg:       "github.com/pulumi/pulumi/sdk/v3/go/pulumi-language-go",
			path:      "pulumi-language-go",
			versionOf: "github.com/pulumi/pulumi/sdk/v3",
			stamp:     pulumiVersion,
		},
	},
}

// The plugins have the version of the SDK that calls them: the engine takes no other.
var plugins = build{
	name:  "plugins",
	place: linkHome("plugins"),
	programs: []program{
		{
			module:    "plugins",
			pkg:       "./pulumi-resource-openstack",
			path:      "resource-openstack-v{version}/pulumi-resource-openstack",
			versionOf: "github.com/pulumi/pulumi-openstack/sdk/v3",
			stamp:     "main.version={version}",
		},
		{
			module:    "plugins",
			pkg:       "./pulumi-resource-tls",
			path:      "resource-tls-v{version}/pulumi-resource-tls",
			versionOf: "github.com/pulumi/pulumi-tls/sdk/v5",
			stamp:     "main.version={version}",
		},
	},
}

const (
	// The address of upstream's tarball, which is also its place in the mirror.
	etcdRelease = "github.com/etcd-io/etcd/releases/download/v{version}/etcd-v{version}-linux-{arch}"
	// The binaries tell a Git revision: the tag is one that stays true when go.mod moves.
	etcdRevision = "go.etcd.io/etcd/api/v3/version.GitSHA=v{version}"
)

var etcd = build{
	name:  "etcd",
	pack:  etcdRelease,
	place: linkMirror,
	programs: []program{
		etcdProgram("go.etcd.io/etcd/server/v3", "etcd"),
		etcdProgram("go.etcd.io/etcd/etcdctl/v3", "etcdctl"),
		etcdProgram("go.etcd.io/etcd/etcdutl/v3", "etcdutl"),
	},
}

func etcdProgram(pkg, name string) program {
	return program{module: "etcd", pkg: pkg, path: etcdRelease + "/" + name, versionOf: pkg, stamp: etcdRevision}
}
