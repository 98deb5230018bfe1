package main

import (
	"bytes"
	"encoding/base64"
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

// namespaces is the API's list of namespaces. Two projects are called web, and one of them is deleted. The
// names of two other projects look like a name with a domain.
const namespaces = `{"kind": "NamespaceList", "apiVersion": "v1", "items": [
	{"metadata": {
		"name": "web-default-5d1f0a3c", "labels": {"kubernetes-openstack/project": "5d1f0a3c2b7e4f6089abcdef01234567"},
		"annotations": {"kubernetes-openstack/project-name": "web", "kubernetes-openstack/domain-name": "Default"}
	}},
	{"metadata": {
		"name": "web-default-900e900e", "labels": {"kubernetes-openstack/project": "900e900e900e900e900e900e900e900e"},
		"annotations": {
			"kubernetes-openstack/project-name": "web", "kubernetes-openstack/domain-name": "Default",
			"kubernetes-openstack/closed": "deleted"
		}
	}},
	{"metadata": {
		"name": "web-b-partners-00000000", "labels": {"kubernetes-openstack/project": "00000000000000000000000000000001"},
		"annotations": {"kubernetes-openstack/project-name": "web@b", "kubernetes-openstack/domain-name": "partners"}
	}},
	{"metadata": {
		"name": "web-b-partners-11111111", "labels": {"kubernetes-openstack/project": "11111111111111111111111111111112"},
		"annotations": {"kubernetes-openstack/project-name": "web", "kubernetes-openstack/domain-name": "b@partners"}
	}}
]}`

// output returns the output of the command for a project. It replaces the API's address and authority by
// those of the golden file.
func output(t *testing.T, project string) (string, error) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(response http.ResponseWriter, request *http.Request) {
		if request.URL.String() != "/api/v1/namespaces?labelSelector=kubernetes-openstack%2Fproject" ||
			request.Header.Get("Authorization") != "Bearer of-administrators" {
			t.Errorf("%s %v", request.URL, request.Header)
		}
		response.Header().Set("Content-Type", "application/json")
		io.WriteString(response, namespaces)
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	administrators, err := clientcmd.Write(api.Config{
		Clusters:       map[string]*api.Cluster{"dev": {Server: server.URL, CertificateAuthorityData: ca}},
		AuthInfos:      map[string]*api.AuthInfo{"dev-admin": {Token: "of-administrators"}},
		Contexts:       map[string]*api.Context{"dev": {Cluster: "dev", AuthInfo: "dev-admin"}},
		CurrentContext: "dev",
	})
	require.NoError(t, err)
	var out bytes.Buffer
	err = run(t.Context(), project, bytes.NewReader(administrators), &out)
	return strings.NewReplacer(server.URL, "https://192.0.2.1:6443", base64.StdEncoding.EncodeToString(ca),
		"Q0E=").Replace(out.String()), err
}

func TestKubeconfig(t *testing.T) {
	golden, err := os.ReadFile("testdata/web.yaml")
	require.NoError(t, err)
	for _, project := range []string{"web@Default", "5d1f0a3c2b7e4f6089abcdef01234567"} {
		got, err := output(t, project)
		require.NoError(t, err)
		require.Equal(t, string(golden), got)
	}
}

// TestKubeconfigKeepsTheProxy checks that the kubeconfig connects to the API through the administrators' proxy.
func TestKubeconfigKeepsTheProxy(t *testing.T) {
	administrators, err := clientcmd.Load([]byte(`{
		clusters: [{name: dev, cluster: {server: "https://192.0.2.1:6443", proxy-url: "http://192.0.2.2:3128"}}],
		contexts: [{name: dev, context: {cluster: dev}}], current-context: dev}`))
	require.NoError(t, err)
	got := kubeconfig(*administrators, corev1.Namespace{})
	require.Equal(t, "http://192.0.2.2:3128", got.Clusters["dev"].ProxyURL)
}

func TestWrongProject(t *testing.T) {
	for project, want := range map[string]string{
		"": "--project must be NAME@DOMAIN or the ID of a project",
		"web": `--project must be NAME@DOMAIN or the ID of a project that has an open ` +
			`namespace, got "web"`,
		"web@default": `--project must be NAME@DOMAIN or the ID of a project that has an open ` +
			`namespace, got "web@default"`,
		"900e900e900e900e900e900e900e900e": `--project must be NAME@DOMAIN or the ID of a project that has an open ` +
			`namespace, got "900e900e900e900e900e900e900e900e"`,
		"web@b@partners": `--project must be the ID of a project, because "web@b@partners" is the name of several: ` +
			"00000000000000000000000000000001, 11111111111111111111111111111112",
	} {
		got, err := output(t, project)
		require.EqualError(t, err, want)
		require.Empty(t, got)
	}
	for _, in := range []string{"", "no kubeconfig", "{}"} {
		err := run(t.Context(), "web@Default", strings.NewReader(in), io.Discard)
		require.ErrorContains(t, err, "standard input must be the administrators' kubeconfig: ", in)
	}
}
