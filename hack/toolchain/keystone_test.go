package main

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	authentication "k8s.io/api/authentication/v1beta1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	"kubernetes-openstack/internal/dirs"
	"kubernetes-openstack/internal/progress"
)

// client-keystone-auth gets the credentials from the environment variables of OpenStack's command line. The kubeconfig
// selects the project, so Keystone issues a token for this project.
func TestKubeconfigSelectsTheProjectOfTheToken(t *testing.T) {
	require.NoError(t, cloudProvider.ensure(".", progress.New(os.Stderr, "toolchain")))
	t.Setenv("PATH", pulumiHome("kubectl")+":"+os.Getenv("PATH"))
	for _, variable := range os.Environ() {
		if name, _, _ := strings.Cut(variable, "="); strings.HasPrefix(name, "OS_") {
			t.Setenv(name, "")
		}
	}
	const (
		project  = `{"project": {"id": "5d1f0a3c2b7e4f6089abcdef01234567"}}`
		password = `{"methods": ["password"], "password": {"user": {"name": "alice", "password": "secret", "domain": ` +
			`{"name": "Partners"}}}}`
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
			"OS_AUTH_TYPE": "v3applicationcredential", "OS_APPLICATION_CREDENTIAL_ID": "c4ed",
			"OS_APPLICATION_CREDENTIAL_SECRET": "secret",
		}, credential, ""},
		"application credential, with its name": {map[string]string{
			"OS_APPLICATION_CREDENTIAL_ID": "c4ed", "OS_APPLICATION_CREDENTIAL_NAME": "ci",
			"OS_APPLICATION_CREDENTIAL_SECRET": "secret",
			"OS_USERNAME":                      "alice", "OS_PROJECT_NAME": "web", "OS_PROJECT_DOMAIN_NAME": "Default",
		}, credential, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var login struct {
				Auth struct{ Identity, Scope json.RawMessage }
			}
			keystone := httptest.NewServer(http.HandlerFunc(func(response http.ResponseWriter, request *http.Request) {
				json.NewDecoder(request.Body).Decode(&login)
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

			config, err := clientcmd.LoadFromFile("../../cmd/tenant-kubeconfig/testdata/web.yaml")
			require.NoError(t, err)
			for _, cluster := range config.Clusters {
				cluster.Server, cluster.CertificateAuthorityData, cluster.InsecureSkipTLSVerify = server.URL, nil, true
			}
			for _, user := range config.AuthInfos { // unique, because client-go caches the token of equal settings
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
			require.JSONEq(t, test.identity, string(login.Auth.Identity))
			if test.scope == "" {
				require.Empty(t, login.Auth.Scope)
			} else {
				require.JSONEq(t, test.scope, string(login.Auth.Scope))
			}
		})
	}
}

// The test runs both built webhooks with a Keystone in which a user and a group have reserved names of Kubernetes. The
// answer must not contain these names as username or group.
func TestWebhooksReplaceKeystonesNames(t *testing.T) {
	log := progress.New(os.Stderr, "toolchain")
	require.NoError(t, cloudProvider.ensure(".", log))
	require.NoError(t, ownPrograms.ensure(".", log))
	version, err := cloudProvider.programs[0].programVersion(".")
	require.NoError(t, err)
	webhook, err := ownPrograms.programs[0].expand(".", ownPrograms.artifacts["keystone-webhook"])
	require.NoError(t, err)

	var unavailable atomic.Bool
	keystone := httptest.NewTLSServer(http.HandlerFunc(func(response http.ResponseWriter, request *http.Request) {
		response.Header().Set("Content-Type", "application/json")
		switch {
		case unavailable.Load():
			response.WriteHeader(http.StatusServiceUnavailable)
		case request.Header.Get("X-Auth-Token") != "good":
			response.WriteHeader(http.StatusUnauthorized)
		case request.URL.Path == "/v3/auth/tokens":
			io.WriteString(response, `{"token": {
				"user": {"id": "a11ce", "name": "system:admin", "domain": {"id": "default", "name": "Default"}},
				"project": {"id": "e4d", "name": "web"}, "roles": [{"name": "member"}]}}`)
		case request.URL.Path == "/v3/users/a11ce/groups":
			io.WriteString(response, `{"groups": [{"name": "system:masters"}], "links": {}}`)
		}
	}))
	defer keystone.Close()
	dir := t.TempDir()
	key, err := x509.MarshalPKCS8PrivateKey(keystone.TLS.Certificates[0].PrivateKey)
	require.NoError(t, err)
	for name, block := range map[string]*pem.Block{
		"certificate": {Type: "CERTIFICATE", Bytes: keystone.Certificate().Raw}, "key": {Type: "PRIVATE KEY", Bytes: key},
	} {
		write(t, filepath.Join(dir, name), string(pem.EncodeToMemory(block)))
	}
	start := func(program string, args ...string) (address string) {
		free, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		address = free.Addr().String()
		require.NoError(t, free.Close())
		server := exec.CommandContext(t.Context(), program,
			append(args, "--listen", address, "--tls-cert-file", "certificate", "--tls-private-key-file", "key")...)
		server.Dir = dir
		require.NoError(t, server.Start())
		t.Cleanup(func() { server.Process.Kill(); server.Wait() })
		return address
	}
	upstream := start(unpack(t, "registry.k8s.io/provider-os/k8s-keystone-auth@v"+version)+"/bin/k8s-keystone-auth",
		"--keystone-url", keystone.URL+"/v3", "--keystone-ca-file", "certificate")
	address := start(dirs.Mirror(webhook),
		"--upstream", "https://"+upstream+"/webhook", "--upstream-ca-file", "certificate")
	require.Eventually(t, func() bool {
		response, err := keystone.Client().Get("https://" + address + "/healthz")
		return err == nil && response.Body.Close() == nil && response.StatusCode == http.StatusOK
	}, 10*time.Second, 50*time.Millisecond)

	review := func(token string) authentication.TokenReviewStatus {
		response, err := keystone.Client().Post("https://"+address+"/webhook", "application/json", strings.NewReader(
			`{"apiVersion": "authentication.k8s.io/v1beta1", "kind": "TokenReview", "spec": {"token": "`+token+`"}}`))
		require.NoError(t, err)
		defer response.Body.Close()
		var answer authentication.TokenReview
		require.NoError(t, json.NewDecoder(response.Body).Decode(&answer))
		return answer.Status
	}
	refused := authentication.TokenReviewStatus{Error: "Keystone rejected the token or did not respond"}
	require.Equal(t, refused, review("another"))
	require.Equal(t, authentication.TokenReviewStatus{Authenticated: true, User: authentication.UserInfo{
		Username: "keystone:a11ce",
		Groups:   []string{"keystone:e4d:a11ce:member"},
		Extra: map[string]authentication.ExtraValue{
			"alpha.kubernetes.io/identity/project/id":       {"e4d"},
			"alpha.kubernetes.io/identity/project/name":     {"web"},
			"alpha.kubernetes.io/identity/roles":            {"member"},
			"alpha.kubernetes.io/identity/user/domain/id":   {"default"},
			"alpha.kubernetes.io/identity/user/domain/name": {"Default"},
			"alpha.kubernetes.io/identity/user/name":        {"system:admin"},
		},
	}}, review("good"))
	unavailable.Store(true)
	require.Equal(t, refused, review("good"))
}
