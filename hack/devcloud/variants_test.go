package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestParseVariants(t *testing.T) {
	for list, want := range map[string][]string{
		"":                                  nil,
		"no-serials":                        {"no-serials"},
		"no-serials,no-resolver,no-serials": {"no-resolver", "no-serials"},
	} {
		if got, err := parseVariants(list); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v %v", list, got, err)
		}
	}
	_, err := parseVariants("no-serials,fast")
	if err == nil || !strings.Contains(err.Error(), `no-serials`) || !strings.HasSuffix(err.Error(), `, got "fast"`) {
		t.Error(err)
	}
}

// TestAppendVariant checks that a file of a variant extends the file of the default cloud, or is a new one.
func TestAppendVariant(t *testing.T) {
	etc := t.TempDir()
	if err := unpack(configs, "etc", etc); err != nil {
		t.Fatal(err)
	}
	names, err := parseVariants("no-resolver,proxy")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if err := appendVariant(name, etc); err != nil {
			t.Fatal(err)
		}
	}
	for file, want := range map[string][]string{
		"neutron/dhcp-agent.ini":   {"dhcp_driver = ", "\n\n[DEFAULT]\ndnsmasq_config_file = "},
		"neutron/no-resolver.conf": {"\nport=0\n"},
		"dnsmasq/dnsmasq.conf":     {"\nno-resolv\n", "\nhost-record=proxy.devcloud.test,"},
	} {
		content, err := os.ReadFile(filepath.Join(etc, file))
		for _, text := range want {
			if err != nil || !strings.Contains(string(content), text) {
				t.Errorf("%s: %v\n%s", file, err, content)
			}
		}
	}
}
