package templates

import (
	"encoding/base64"
	"encoding/hex"
	"maps"
	"slices"
	"strings"

	"kubernetes-openstack/cluster"
)

// Inputs holds the values of a machine's user-data that are not in the Plan, because only other resources
// provide them.
type Inputs struct {
	// VolumeID is the Cinder volume that keeps the data of an etcd member.
	VolumeID string
	// PKI has the contents of the machine's PKI files, in the order of cluster.Machine.PKI.
	PKI []string
	// WorkerToken and ControlPlaneToken are the tokens with which kubelets of these roles join the cluster.
	WorkerToken, ControlPlaneToken Token
	// EncryptionKey is 32 bytes in hexadecimal digits.
	EncryptionKey string
	// BackupID and BackupSecret are the application credential with which etcd machines write snapshots to object storage.
	BackupID, BackupSecret string
	// SSHKey is the public key of the operators. It is empty if Nova has a key pair.
	SSHKey string
}

// Token is a secret of 64 hexadecimal digits. The first 22 digits are a bootstrap token:
// https://kubernetes.io/docs/reference/access-authn-authz/bootstrap-tokens/
type Token string

// ID returns the public part of the bootstrap token, 6 characters.
func (t Token) ID() string { return string(t[:6]) }

// Secret returns the secret part of the bootstrap token, 16 characters.
func (t Token) Secret() string { return string(t[6:22]) }

// String returns the whole bootstrap token: id.secret.
func (t Token) String() string { return t.ID() + "." + t.Secret() }

// values are the values of the templates: the Plan, one machine of it, and the machine's inputs.
type values struct {
	Plan cluster.Plan
	cluster.Machine
	Inputs Inputs
}

// NodeLabels returns the labels that kubelet sets on its own Node: key=value,…
func (v values) NodeLabels() string {
	var labels []string
	for _, key := range slices.Sorted(maps.Keys(v.Labels)) {
		labels = append(labels, key+"="+v.Labels[key])
	}
	return strings.Join(labels, ",")
}

// curlQuotes escapes the characters with a meaning in a quoted value of curl's configuration.
var curlQuotes = strings.NewReplacer(`\`, `\\`, `"`, `\"`)

// CurlUser returns the credentials of the mirror as a quoted value of curl's configuration.
func (v values) CurlUser() string {
	a := v.Plan.Artifacts
	return `"` + curlQuotes.Replace(a.Username+":"+string(a.Password)) + `"`
}

// EncryptionKey returns the key with which the API server encrypts Secrets in etcd, in base64.
func (v values) EncryptionKey() (string, error) {
	key, err := hex.DecodeString(v.Inputs.EncryptionKey)
	return base64.StdEncoding.EncodeToString(key), err
}

// registryMirror has the values of the templates in a folder {registry}. URL is the server from which nodes
// pull the registry's images, instead of from the registry itself.
type registryMirror struct{ Registry, URL string }

// registryMirrors returns all mirrors, sorted by registry.
func (v values) registryMirrors() []registryMirror {
	var mirrors []registryMirror
	for _, registry := range slices.Sorted(maps.Keys(v.Plan.Artifacts.RegistryMirrors)) {
		url := strings.TrimSuffix(v.Plan.Artifacts.RegistryMirrors[registry], "/")
		mirrors = append(mirrors, registryMirror{registry, url})
	}
	return mirrors
}
