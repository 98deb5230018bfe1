package infra

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestKubeconfig(t *testing.T) {
	got, err := kubeconfig("dev", "https://192.0.2.1:6443", "http://192.0.2.2:3128", []byte("CA"), []byte("certificate"),
		[]byte("key"))
	require.NoError(t, err)
	assert.Equal(t, `apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: Q0E=
    proxy-url: http://192.0.2.2:3128
    server: https://192.0.2.1:6443
  name: dev
contexts:
- context:
    cluster: dev
    user: dev-admin
  name: dev
current-context: dev
kind: Config
users:
- name: dev-admin
  user:
    client-certificate-data: Y2VydGlmaWNhdGU=
    client-key-data: a2V5
`, got)
}
