package review

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestTouched(t *testing.T) {
	all := []string{"staging", "prod"}
	for file, want := range map[string][]string{
		"Pulumi.prod.yaml":                     {"prod"},
		"Pulumi.dev.yaml":                      nil, // not in the list of stacks
		"Pulumi.yaml":                          all,
		"main.go":                              all,
		"go.sum":                               all,
		"templates/etcd/etcd.service":          all,
		"k8s/manifests/coredns.yaml":           all,
		"policy/organisation.go":               all,
		"cluster/plan_test.go":                 nil,
		"internal/review/testdata/comment.md":  nil,
		"internal/review/testdata/a.json":      nil,
		"examples/Pulumi.prod.yaml":            nil,
		"docs/architecture.svg":                nil,
		"hack/devcloud/main.go":                nil,
		"tests/testdata/e2e.yaml":              nil,
		".github/workflows/clusters.yml":       nil,
		".gitlab-ci.yml":                       nil,
		"README.md":                            nil,
		"Makefile":                             nil,
		"LICENSE":                              nil,
		"cmd/pulumi-resource-teardown/main.go": all,
	} {
		assert.Equal(t, want, Touched([]string{"README.md", file}, all), file)
	}
}
