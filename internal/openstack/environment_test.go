package openstack

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestReadEnvironment(t *testing.T) {
	file := filepath.Join(t.TempDir(), "clouds.yaml")
	require.NoError(t, os.WriteFile(file, []byte(`clouds:
  one: {region_name: east, auth: {auth_url: "https://keystone.example.com", username: a, password: b}}
  two:
    auth: {auth_url: "https://keystone.example.com", application_credential_id: a, application_credential_secret: b}
`), 0o600))
	variable, one := Region{"west", "OS_REGION_NAME"}, Region{"east", "cloud one in clouds.yaml"}
	for _, row := range []struct {
		name string
		env  map[string]string
		want Environment
	}{
		{"nothing", nil, Environment{}},
		{"variable", map[string]string{"OS_REGION_NAME": "west"}, Environment{Provider: variable, Clients: variable}},
		{"clouds.yaml", map[string]string{"OS_CLOUD": "one"}, Environment{Provider: one, Clients: one}},
		{"both", map[string]string{"OS_CLOUD": "one", "OS_REGION_NAME": "west"},
			Environment{Provider: variable, Clients: one}},
		{"cloud without a region", map[string]string{"OS_CLOUD": "two", "OS_REGION_NAME": "west"},
			Environment{Provider: variable, Clients: variable, ApplicationCredential: true}},
		{"application credential", map[string]string{"OS_APPLICATION_CREDENTIAL_ID": "a"},
			Environment{ApplicationCredential: true}},
		{"application credential in clouds.yaml", map[string]string{"OS_CLOUD": "two"},
			Environment{ApplicationCredential: true}},
		{"unknown cloud", map[string]string{"OS_CLOUD": "three"}, Environment{}},
	} {
		t.Run(row.name, func(t *testing.T) {
			for _, name := range []string{"OS_REGION_NAME", "OS_CLOUD", "OS_APPLICATION_CREDENTIAL_ID",
				"OS_APPLICATION_CREDENTIAL_NAME"} {
				t.Setenv(name, row.env[name])
			}
			t.Setenv("OS_CLIENT_CONFIG_FILE", file)
			assert.Equal(t, row.want, ReadEnvironment())
		})
	}
}
