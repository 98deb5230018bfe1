package main

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// exceptions lists modules whose version in a folder differs from that in the other folders. A prefix of modules ends
// with a slash.
var exceptions = []struct {
	folder, reason string
	modules        []string
}{
	{"alertmanager", "Alertmanager requires newer versions than Pulumi, and another automemlimit than Prometheus",
		[]string{"github.com/KimMachineGun/automemlimit", "github.com/aws/", "github.com/mdlayher/",
			"github.com/prometheus/alertmanager", "github.com/prometheus/common",
		}},
	{"calico", "Calico 3.28 requires Kubernetes 1.29 and its modules", []string{
		"github.com/Microsoft/hcsshim", "github.com/containernetworking/", "github.com/emicklei/go-restful/v3",
		"github.com/google/gnostic-models", "github.com/vishvananda/netlink", "go.etcd.io/etcd/", "k8s.io/", "sigs.k8s.io/",
	}},
	{"kubernetes", "Kubernetes does not compile with a newer CSI, and its version of CEL is part of its API", []string{
		"github.com/container-storage-interface/spec", "github.com/google/cel-go",
	}},
	{"language-go", "the last version of the language host that the module proxy serves",
		[]string{"github.com/pulumi/pulumi/sdk/v3"}},
	{"lint", "actionlint does not compile with a newer version", []string{"go.yaml.in/yaml/v4"}},
	{"metrics-server", "metrics-server requires a newer version than Kubernetes", []string{"golang.org/x/exp"}},
	{"prometheus", "Prometheus requires newer versions than Pulumi, containerd, Calico and metrics-server", []string{
		"cloud.google.com/go/", "github.com/Azure/", "github.com/AzureAD/", "github.com/aws/", "github.com/edsrzf/mmap-go",
		"github.com/golang/snappy", "github.com/google/pprof", "github.com/google/s2a-go", "github.com/googleapis/",
		"github.com/mdlayher/", "github.com/pb33f/", "github.com/prometheus/", "github.com/shurcooL/httpfs",
		"go.opentelemetry.io/collector/", "go.uber.org/atomic", "google.golang.org/api",
	}},
	{"perses", "Perses requires newer versions than Pulumi's plugins", []string{
		"github.com/huandu/xstrings", "github.com/olekukonko/tablewriter", "github.com/shopspring/decimal",
	}},
	{"plugins", "the API of tablewriter 1 differs from that of pulumi's 0.0.5",
		[]string{"github.com/olekukonko/tablewriter"}},
	{"pulumi", "the last version of pulumi that the module proxy serves", []string{
		"github.com/pulumi/inflector", "github.com/pulumi/pulumi/",
	}},
	{"runner", "Gitea's runner requires newer versions than the language host and containerd, and an older yaml", []string{
		"github.com/docker/docker-credential-helpers", "github.com/fatih/color", "github.com/go-git/",
		"github.com/opencontainers/selinux", "github.com/skeema/knownhosts", "github.com/xeipuuv/gojsonpointer",
		"go.yaml.in/yaml/v4",
	}},
	{"storage", "external-attacher requires etcd 3.7", []string{"go.etcd.io/etcd/"}},
}

// A package with two versions is compiled twice.
func TestModulesShareVersions(t *testing.T) {
	files, err := filepath.Glob("*/go.mod")
	require.NoError(t, err)
	versions := map[string]map[string][]string{} // by module and version, the folders
	for _, file := range append(files, "../../go.mod") {
		folder := filepath.Dir(file)
		mod, err := programs{module: folder}.goMod(".")
		require.NoError(t, err)
		used := map[string]string{}
		for _, require := range mod.Require {
			used[require.Mod.Path] = require.Mod.Version
		}
		for _, replace := range mod.Replace {
			if _, ok := used[replace.Old.Path]; ok {
				used[replace.Old.Path] = replace.New.Version
				if replace.New.Path != replace.Old.Path {
					delete(used, replace.Old.Path)
				}
			}
		}
		for module, version := range used {
			if versions[module] == nil {
				versions[module] = map[string][]string{}
			}
			versions[module][version] = append(versions[module][version], folder)
		}
	}
	needed := map[string]bool{}
	for _, module := range slices.Sorted(maps.Keys(versions)) {
		if len(versions[module]) == 1 {
			continue
		}
		shared := maps.Clone(versions[module])
		for version, folders := range versions[module] {
			shared[version] = slices.DeleteFunc(slices.Clone(folders), func(folder string) bool {
				for _, e := range exceptions {
					for _, excepted := range e.modules {
						if e.folder == folder &&
							(module == excepted || strings.HasSuffix(excepted, "/") && strings.HasPrefix(module, excepted)) {
							needed[folder+" "+excepted] = true
							return true
						}
					}
				}
				return false
			})
			if len(shared[version]) == 0 {
				delete(shared, version)
			}
		}
		assert.LessOrEqual(t, len(shared), 1,
			"%s has several versions: %v. Require the newest in each folder, or add an exception", module, shared)
	}
	for _, e := range exceptions {
		for _, module := range e.modules {
			assert.True(t, needed[e.folder+" "+module], "%s in %s: remove the exception, because all versions are equal",
				module, e.folder)
		}
	}
}
