package tenancy

import (
	"fmt"
	"strings"
	"testing"
	"testing/quick"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
)

func TestNewNamespaceName(t *testing.T) {
	const id = "3f2a9c1d5e6b4a7f8c9d0e1f2a3b4c5d"
	for _, test := range []struct{ name, domain, id, want string }{
		{"shop", "Default", id, "shop-default-3f2a9c1d"},
		{"Shop (EU)", "Acme, Inc.", id, "shop-eu-acme-inc-3f2a9c1d"},
		{"kube-system", "Default", id, "project-kube-system-default-3f2a9c1d"},
		{"kube", "", id, "project-kube-3f2a9c1d"},
		{"default", "", id, "default-3f2a9c1d"},
		{"магазин", "日本", id, "project-3f2a9c1d"},
		{"", "", id, "project-3f2a9c1d"},
		{"---", "...", id, "project-3f2a9c1d"},
		{"shop\x00\n../", "\"", id, "shop-3f2a9c1d"},
		{strings.Repeat("a", 300), "Default", id, strings.Repeat("a", 54) + "-3f2a9c1d"},
		{strings.Repeat("a", 53) + "-", "b", id, strings.Repeat("a", 53) + "-3f2a9c1d"},
		{"shop-default-3f2a9c1d", "Default", "00000000000000000000000000000001", "shop-default-3f2a9c1d-default-00000000"},
		// IDs in a format that Keystone does not use
		{"shop", "Default", "3F2A9C1D5E6B4A7F8C9D0E1F2A3B4C5D", "shop-default-511fa3b5"},
		{"shop", "Default", "1", "shop-default-6b86b273"},
	} {
		got := newNamespaceName(Project{ID: test.id, Name: test.name}, test.domain, nil)
		assert.Equal(t, test.want, got)
		assert.Empty(t, validation.IsDNS1123Label(got))
	}
}

// TestTakenNamespaceNames checks that a name gets more digits of the ID while shorter names are taken.
func TestTakenNamespaceNames(t *testing.T) {
	p, taken := Project{ID: "3f2a9c1d5e6b4a7f8c9d0e1f2a3b4c5d", Name: "shop"}, map[string]bool{}
	for _, want := range []string{
		"shop-d-3f2a9c1d", "shop-d-3f2a9c1d5e6b4a7f", "shop-d-3f2a9c1d5e6b4a7f8c9d0e1f",
		"shop-d-3f2a9c1d5e6b4a7f8c9d0e1f2a3b4c5d", "",
	} {
		got := newNamespaceName(p, "d", taken)
		assert.Equal(t, want, got)
		taken[got] = true
	}
	k := cloud()
	k.Projects = []Project{{ID: p.ID, Name: "shop", DomainID: "D", Enabled: true}}
	var existing []corev1.Namespace
	for name := range taken {
		existing = append(existing, namespace(name, ""))
	}
	_, err := NewPlan(k, settings(), existing)
	assert.EqualError(t, err, fmt.Sprintf("1 error:\n  namespaces: no free namespace name for project %s: "+
		"label an existing namespace with %s=%[1]s", p.ID, ProjectLabel))
}

// TestNewNamespaceNameIsValid checks the names of projects with random names and IDs.
func TestNewNamespaceNameIsValid(t *testing.T) {
	check := func(name, domain, id string) bool {
		p, taken := Project{ID: id, Name: name}, map[string]bool{}
		for range 4 {
			got := newNamespaceName(p, domain, taken)
			if len(validation.IsDNS1123Label(got)) > 0 || isReserved(got) || got == "default" || taken[got] {
				t.Errorf("%q of %q", got, p.ID)
			}
			taken[got] = true
		}
		return !t.Failed()
	}
	require.NoError(t, quick.Check(check, &quick.Config{MaxCount: 5000}))
}
