package tenancy

import (
	"testing"

	"github.com/go-viper/mapstructure/v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"

	"kubernetes-openstack/internal/field"
)

// TestSettingsYAML checks that settings in YAML read back unchanged, and that defaults are omitted.
func TestSettingsYAML(t *testing.T) {
	text, err := yaml.Marshal(settings())
	require.NoError(t, err)
	assert.Equal(t, "podCIDR: 10.244.0.0/16\n", string(text))

	s := settings()
	s.Roles, s.Exclude = map[string]Access{"member": Admin}, []string{"shop@Default"}
	s.Authorizer, s.OnProjectDelete = ABAC, DeleteNamespace
	text, err = yaml.Marshal(s)
	require.NoError(t, err)
	assert.Equal(t,
		"authorizer: abac\nexclude:\n- shop@Default\nonProjectDelete: delete\npodCIDR: 10.244.0.0/16\nroles:\n"+
			"  member: admin\n", string(text))
	var read Settings
	require.NoError(t, yaml.UnmarshalStrict(text, &read))
	assert.Equal(t, s, read)
}

// TestSettingsOfAStack decodes the settings as part of a larger struct, as package cluster does.
func TestSettingsOfAStack(t *testing.T) {
	var tenancy struct {
		Enabled  bool `mapstructure:"enabled"`
		Settings `mapstructure:",squash"`
	}
	decoder, err := mapstructure.NewDecoder(&mapstructure.DecoderConfig{Result: &tenancy, ErrorUnused: true})
	require.NoError(t, err)
	require.NoError(t, decoder.Decode(map[string]any{
		"enabled": true, "authorizer": "abac", "onProjectDelete": "delete",
		"roles": map[string]any{"member": "edit"}, "exclude": []any{"service@Default"},
	}))
	assert.Equal(t, Settings{
		Mapping:    Mapping{Roles: map[string]Access{"member": Edit}, Exclude: []string{"service@Default"}},
		Authorizer: ABAC, OnProjectDelete: DeleteNamespace,
	}, tenancy.Settings)
	assert.ErrorContains(t, decoder.Decode(map[string]any{"podCIDR": "10.0.0.0/16"}), "podCIDR", "it comes from network")
}

func TestSettingsValidate(t *testing.T) {
	assert.Empty(t, settings().Validate())
	s := settings()
	s.Authorizer, s.OnProjectDelete = RBAC, CloseNamespace
	assert.Empty(t, s.Validate())
	assert.Equal(t, field.Errors{{Path: "podCIDR",
		Message: "must be set to the IPv4 CIDR of all pods, such as 10.244.0.0/16"}}, Settings{}.Validate())
}
