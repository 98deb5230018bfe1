package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	"kubernetes-openstack/internal/progress"
)

// With the kubeconfig of a project, the plugin takes what people have in their environment for OpenStack's own command line,
// and Keystone gives it a token for that project.
func TestPeopleLogInToTheProject(t *testing.T) {
	require.NoError(t, openstack.ensure(".", progress.New(os.Stderr, "toolchain")))
	t.Setenv("PATH", home("kubectl")+":"+os.Getenv("PATH"))
	for _, variable := range os.Environ() {
		if name, _, _ := strings.Cut(variable, "="); strings.HasPrefix(name, "OS_") {
			t.Setenv(name, "")
		}
	}
	const (
		project    = `{"project": {"id": "5d1f0a3c2b7e4f6089abcdef01234567"}}`
		password   = `{"methods": ["password"], "password": {"user": {"name": "alice", "password": "secret", "domain": {"name": "Partners"}}}}`
		credential = `{"methods": ["application_credential"], "application_credential": {"id": "c4ed", "secret": "secret"}}`
	)
	for name, test := range map[string]struct {
		environment     map[string]string
		identity, scope string
	}{
		"password": {map[string]string{
			"OS_USERNAME": "alice", "OS_PASSWORD": "secret", "OS_USER_DOMAIN_NAME": "Partners",
			"OS_PROJECT_NAME": "web", "OS_PROJECT_DOMAIN_NAME": "Default",
		}, password, project},
		"password, by ID": {map[string]string{
			"OS_USERNAME": "alice", "OS_PASSWORD": "secret", "OS_USER_DOMAIN_NAME": "Partners", "OS_PROJECT_ID": "0123",
		}, password, project},
		"password, one domain": {map[string]string{
			"OS_USERNAME": "alice", "OS_PASSWORD": "secret", "OS_DOMAIN_NAME": "Partners", "OS_PROJECT_NAME": "another",
		}, password, project},
		"application credential": {map[string]string{
			"OS_AUTH_TYPE": "v3applicationcredential", "OS_APPLICATION_CREDENTIAL_ID": "c4ed", "OS_APPLICATION_CREDENTIAL_SECRET": "secret",
		}, credential, ""},
		"application credential, with its name": {map[string]string{
			"OS_APPLICATION_CREDENTIAL_ID": "c4ed", "OS_APPLICATION_CREDENTIAL_NAME": "ci", "OS_APPLICATION_CREDENTIAL_SECRET": "secret",
			"OS_USERNAME": "alice", "OS_PROJECT_NAME": "web", "OS_PROJECT_DOMAIN_NAME": "Default",
		}, credential, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var asked struct {
				Auth struct{ Identity, Scope json.RawMessage }
			}
			keystone := httptest.NewServer(http.HandlerFunc(func(response http.ResponseWriter, request *http.Request) {
				json.NewDecoder(request.Body).Decode(&asked)
				response.Header().Set("X-Subject-Token", "token-"+t.Name())
				response.WriteHeader(http.StatusCreated)
				io.WriteString(response, `{"token": {"expires_at": "2099-01-01T00:00:00.000000Z"}}`)
			}))
			defer keystone.Close()
			t.Setenv("OS_AUTH_URL", keystone.URL+"/v3")
			for name, value := range test.environment {
				t.Setenv(name, value)
			}
			bearer := ""
			server := httptest.NewTLSServer(http.HandlerFunc(func(response http.ResponseWriter, request *http.Request) {
				bearer = request.Header.Get("Authorization")
			}))
			defer server.Close()

			config, err := clientcmd.LoadFromFile("../kubeconfig/testdata/web.yaml")
			require.NoError(t, err)
			for _, cluster := range config.Clusters {
				cluster.Server, cluster.CertificateAuthorityData, cluster.InsecureSkipTLSVerify = server.URL, nil, true
			}
			for _, user := range config.AuthInfos { // client-go runs it once for all that are equal
				user.Exec.Env = append(user.Exec.Env, api.ExecEnvVar{Name: "TEST", Value: name})
			}
			client, err := clientcmd.NewDefaultClientConfig(*config, nil).ClientConfig()
			require.NoError(t, err)
			kubectl, err := rest.HTTPClientFor(client)
			require.NoError(t, err)
			response, err := kubectl.Get(server.URL)
			require.NoError(t, err)
			require.NoError(t, response.Body.Close())
			require.Equal(t, "Bearer token-"+t.Name(), bearer)
			require.JSONEq(t, test.identity, string(asked.Auth.Identity))
			if test.scope == "" {
				require.Empty(t, asked.Auth.Scope)
			} else {
				require.JSONEq(t, test.scope, string(asked.Auth.Scope))
			}
		})
	}
}
